"""What the doors show says what it means."""

from __future__ import annotations

from datetime import datetime
from typing import get_args

from sms.api import shapes


def test_every_time_says_on_which_clock_it_is() -> None:
    views = [
        view for view in vars(shapes).values() if isinstance(view, type) and issubclass(view, shapes.Body)
    ]
    times = {
        f"{view.__name__}.{name}": field.description
        for view in views
        for name, field in view.model_fields.items()
        if field.annotation is datetime or datetime in get_args(field.annotation)
    }
    assert times
    assert set(times.values()) == {"domain time", "real time"}, times
