"""`watch`: an order or a service, live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from rich.console import Group
from rich.live import Live

from bellweave.doors import Door, Told
from bellweave.show.services import commit_tree, links_table, reasons, service_facts
from bellweave.toolbox import Json, Toolbox, tools_of
from bellweave.trouble import Refused
from bellweave.watching import FINAL_ORDER, FINAL_SERVICE, Story, followed

_SEEN_BY_LOOKING = ("open", "service", "link", "state")


def watch(ctx: typer.Context, watched: str, as_json: Json = False) -> None:
    """Follow an order until its end, or a service until you press Ctrl-C.

    With --json one event a line.
    """
    tools = tools_of(ctx)
    sms = tools.door("sms")
    if watched.startswith("ord_"):
        watch_order(tools, sms, watched)
    else:
        watch_service(tools, sms, watched)


def watch_order(tools: Toolbox, sms: Door, order_id: str) -> None:
    """Until the order is active, refused or failed. Raises Refused with the order's problem."""
    sms.get(f"/orders/{order_id}")
    story = _story(tools)

    def is_over(told: Told) -> bool:
        if told.event in _SEEN_BY_LOOKING and story.service_id is not None:
            _look(sms, story, story.service_id)
        return story.order_state in FINAL_ORDER

    _follow(tools, story, followed(sms, f"/orders/{order_id}/events"), is_over)
    if story.order_state in ("refused", "failed", "cancelled"):
        nothing = {"title": str(story.order_state), "detail": f"the order was {story.order_state}"}
        raise Refused(story.problem or nothing, f"bellweave order show {order_id} tells all steps")
    if not tools.as_json and story.service_id is not None:
        found = sms.items(f"/services/{story.service_id}/links")
        tools.show(None, lambda: Group(links_table(found), *reasons(found)))


def watch_service(tools: Toolbox, sms: Door, service_id: str) -> None:
    """Until the service is terminated or the user has seen enough."""
    service = sms.get(f"/services/{service_id}")
    if not tools.as_json:
        found = sms.items(f"/services/{service_id}/links")
        tools.show(None, lambda: Group(service_facts(service), links_table(found)))
    story = _story(tools)

    def is_over(told: Told) -> bool:
        if told.event in _SEEN_BY_LOOKING:
            _look(sms, story, service_id)
        return story.service_state in FINAL_SERVICE

    news = (told for told in followed(sms, "/events") if told.event == "open" or _is_about(told, service_id))
    with suppress(KeyboardInterrupt):
        _follow(tools, story, news, is_over)


def _story(tools: Toolbox) -> Story:
    return Story(scale=tools.stack.clock_scale if tools.stack else 1.0)


def _is_about(told: Told, service_id: str) -> bool:
    return told.data.get("service_id") == service_id


def _look(sms: Door, story: Story, service_id: str) -> None:
    """How the service stands now, whatever was told."""
    try:
        service = sms.get(f"/services/{service_id}")
    except Refused as error:
        if error.problem.get("status") == 404:  # a refused order's service is gone
            return
        raise
    story.see_service(service, sms.items(f"/services/{service_id}/links"))


def _follow(tools: Toolbox, story: Story, news: Iterator[Told], is_over: Callable[[Told], bool]) -> None:
    """Take in and show each event, as JSON, as a line, or in a live view, until `is_over`."""
    with _screen(tools, story) as live:
        for told in news:
            line = story.hear(told)
            if tools.as_json:
                if told.event != "open":
                    tools.tell({"event": told.event, "data": told.data})
            elif live is None and line is not None:
                tools.out.print(line)
            if is_over(told):
                break
    if live is None and story.members and not tools.as_json:
        tools.out.print(commit_tree(story.members))


@contextmanager
def _screen(tools: Toolbox, story: Story) -> Iterator[Any]:
    """A live view in a terminal; None elsewhere."""
    if tools.as_json or not tools.out.is_terminal:
        yield None
        return
    with Live(get_renderable=story.render, console=tools.out, refresh_per_second=6) as live:
        yield live
