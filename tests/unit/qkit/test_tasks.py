"""Tasks end, whatever a library does to a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from qkit.tasks import end, together


class Deaf:
    """Misses the first cancellations, as `wait_for` on Python 3.11 may, and then hears."""

    def __init__(self, misses: int = 1) -> None:
        self.left = misses
        self.begun = asyncio.Event()
        self.ended = False

    async def run(self) -> None:
        try:
            while True:
                self.begun.set()
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    if not self.left:
                        raise
                    self.left -= 1
        finally:
            self.ended = True


async def test_a_task_that_misses_a_cancellation_is_cancelled_again() -> None:
    deaf = Deaf()
    task = asyncio.create_task(deaf.run())
    await deaf.begun.wait()
    await end([task])
    assert deaf.ended


@pytest.mark.parametrize("impatient", [1, 3])
async def test_what_runs_together_ends_together_though_one_is_deaf(impatient: int) -> None:
    deaf, other = Deaf(), Deaf(0)
    task = asyncio.create_task(together(deaf.run(), other.run()))
    await deaf.begun.wait()
    for _ in range(impatient):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert deaf.ended
    assert other.ended


async def test_one_that_fails_ends_the_others_and_is_told() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    other = Deaf()
    with pytest.raises(ValueError, match="broken"):
        await together(other.run(), fail())
    assert other.ended or not other.begun.is_set()
