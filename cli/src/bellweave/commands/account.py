"""Logging in and out, and how the stack stands."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import httpx
import typer

from bellweave.session import Session, log_in
from bellweave.show.network import stack_table
from bellweave.show.tables import NOTHING, facts
from bellweave.toolbox import Json, Toolbox, tools_of
from bellweave.trouble import Refused, Unreachable

_READY_LIMIT_S = 3.0


def login(
    ctx: typer.Context,
    user: Annotated[str | None, typer.Argument(help="Name at the issuer, such as acme-admin.")] = None,
    user_option: Annotated[str | None, typer.Option("--user", help="The same as the argument.")] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="BELLWEAVE_PASSWORD", help="Asked for when left out; a local stack's is known."),
    ] = None,
    client_secret: Annotated[
        str | None,
        typer.Option(envvar="BELLWEAVE_CLIENT_SECRET", help="Log in as the client itself, not as a user."),
    ] = None,
    client_id: Annotated[str | None, typer.Option(help="Of this command at the issuer.")] = None,
    issuer: Annotated[str | None, typer.Option(help="URL of the OIDC issuer.")] = None,
    as_json: Json = False,
) -> None:
    """Get a token from the OIDC issuer and keep it for the next commands.

    On a local stack: bellweave login acme-admin (or globex-admin, operator, billing, auditor).
    """
    tools = tools_of(ctx)
    where = issuer or tools.places.issuer
    if where is None:
        raise Unreachable.because("no OIDC issuer is known", "start a stack (make up) or give --issuer URL")
    client = client_id or tools.places.client_id
    name = user or user_option
    if client_secret is not None:
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": client_secret}
    else:
        if name is None:
            raise typer.BadParameter("say who you are, such as acme-admin", ctx, param_hint="USER")
        found = password or _known_password(tools, name, where) or _asked_password(tools, name)
        form = {"grant_type": "password", "client_id": client, "username": name, "password": found}
    tools.check_private(where)
    session = log_in(tools.http, where, name or client, form, tools.now_s())
    tools.sessions.save(session)
    tools.show(_about(session), lambda: facts("Logged in", [("who", session.who), ("at", where)]))


def _known_password(tools: Toolbox, user: str, issuer: str) -> str | None:
    """A local stack's own; never for another issuer."""
    stack = tools.stack
    if stack is None or (stack.document.get("issuer") or {}).get("url") != issuer:
        return None
    return stack.password_of(user)


def _asked_password(tools: Toolbox, user: str) -> str:
    if tools.as_json or not sys.stdin.isatty():
        raise Refused.because(f"no password for {user}", "set BELLWEAVE_PASSWORD, or run this in a terminal")
    return str(typer.prompt(f"password of {user}", hide_input=True, err=True))


def logout(ctx: typer.Context, as_json: Json = False) -> None:
    """Forget the token."""
    tools = tools_of(ctx)
    tools.sessions.forget()
    if tools.as_json:
        tools.tell({"logged_in": False})


def whoami(ctx: typer.Context, as_json: Json = False) -> None:
    """Show who is logged in."""
    tools = tools_of(ctx)
    session = tools.session
    if session is None:
        raise Refused.because("you are not logged in", "log in: bellweave login USER")
    left_s = session.expires_at_s - tools.now_s()
    shown = "expired" if left_s <= 0 else f"{left_s / 60:.0f} min"
    tools.show(_about(session), lambda: facts("Session", [("who", session.who), ("valid for", shown)]))


def _about(session: Session) -> dict[str, Any]:
    """Without the token."""
    return {
        "user": session.user,
        "issuer": session.issuer,
        "tenant": session.tenant,
        "roles": sorted(session.roles),
        "expires_at_s": session.expires_at_s,
    }


def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Show every process and service: addresses, process ids, and whether it is ready.

    With --json everything about a local stack, its users' and devices' credentials included. Exit status 1 if
    something is not ready, 3 if there is no stack.
    """
    tools = tools_of(ctx)
    places = tools.places.all()
    if not places:
        raise Unreachable.because("no stack is known here", "start one: make up")
    ready = {name: _readiness(tools, url) for name, url in places.items()}
    document = _document(tools, ready)
    rows = [(one, _said(ready.get(one["name"]))) for one in _processes(tools, places)]
    title = "Services"
    if tools.stack is not None:
        title = f"{tools.stack.root.resolve()}: {document['phase']}"
    tools.show(document, lambda: stack_table(title, rows))
    running = tools.stack is None or document["phase"] == "ready"
    if not running or any(one["status"] != "ready" for one in ready.values()):
        raise typer.Exit(1)


def _document(tools: Toolbox, ready: dict[str, Any]) -> dict[str, Any]:
    """The status file, corrected where its supervisor is gone, with what each service says of itself."""
    if tools.stack is None:
        return {"apis": tools.places.all(), "readiness": ready}
    found = dict(tools.stack.document)
    if not tools.stack.is_supervised:
        found["phase"] = "stopped"
    return {**found, "apis": tools.places.all(), "readiness": ready}


def _processes(tools: Toolbox, places: dict[str, str]) -> list[dict[str, Any]]:
    stack = tools.stack
    known = list(stack.document.get("processes", [])) if stack else []
    if stack is not None and not stack.is_supervised:
        known = [{**one, "state": "stopped", "pid": None} for one in known if one["state"] != "external"]
    names = {one["name"] for one in known}
    elsewhere = [
        {"name": name, "kind": "service", "state": "external", "address": url}
        for name, url in places.items()
        if name not in names
    ]
    return known + elsewhere


def _readiness(tools: Toolbox, url: str) -> dict[str, Any]:
    """What `/readyz` says: status and faults; "unreachable" when nothing does."""
    try:
        answer = tools.http.get(url.removesuffix("/api/v1") + "/readyz", timeout=_READY_LIMIT_S)
        return dict(answer.json())
    except (httpx.HTTPError, ValueError) as error:
        return {"status": "unreachable", "faults": {"http": str(error) or type(error).__name__}}


def _said(ready: dict[str, Any] | None) -> str:
    if ready is None:
        return NOTHING
    if ready["status"] == "ready":
        return "yes"
    return "; ".join(f"{name}: {fault}" for name, fault in ready.get("faults", {}).items()) or "no"
