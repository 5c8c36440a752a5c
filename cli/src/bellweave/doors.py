"""One service's REST API: requests, pages and event streams, with errors that say what to do.

Commands go through a `Door`; it renders nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from bellweave.session import Session
from bellweave.trouble import Refused, Trouble, Unreachable, hint_for

Json = dict[str, Any]

LIMIT_S = 30.0
_QUIET_S = 60.0  # streams send a comment every 15 seconds
_PAGE = 200
_TRIES = 3
_PAUSE_S = 0.3


@dataclass(frozen=True)
class Told:
    """One server-sent event."""

    event: str
    data: Json
    event_id: str | None = None


@dataclass
class _Frame:
    """An event being received, line by line (WHATWG server-sent events)."""

    event: str = "message"
    data: list[str] = field(default_factory=list)
    event_id: str | None = None

    def take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self.event = value
        elif name == "data":
            self.data.append(value)
        elif name == "id":
            self.event_id = value

    def told(self) -> Told | None:
        if not self.data:
            return None
        data = json.loads("\n".join(self.data))
        return Told(self.event, data if isinstance(data, dict) else {"value": data}, self.event_id)


class Door:
    """`base` ends in /api/v1; `session` None: not logged in."""

    def __init__(self, http: httpx.Client, instance: str, base: str, session: Session | None) -> None:
        self.instance = instance
        self.base = base
        self._http = http
        self._session = session

    def get(self, path: str, **params: Any) -> Json:
        return dict(self._json(self.send("GET", path, params=params)))

    def text(self, path: str, **params: Any) -> Iterator[str]:
        """A download, piece by piece."""
        with self._opened(path, params) as response:
            try:
                yield from response.iter_text()
            except httpx.TransportError as error:
                raise self._unreachable(error) from error

    def post(self, path: str, body: Json, *, key: str | None = None) -> Json:
        """With an idempotency `key` it is sent again when the answer is lost."""
        headers = {"Idempotency-Key": key} if key else {}
        return dict(self._json(self.send("POST", path, json=body, headers=headers, again=key is not None)))

    def send(self, method: str, path: str, *, again: bool = False, **asked: Any) -> httpx.Response:
        """Raises Refused with the service's problem document, Unreachable when there is no answer.

        Reads, and what is idempotent by `again`, are tried three times.
        """
        response, _ = self._answer(method, path, again=again, **asked)
        self._check(response)
        return response

    def remove(self, path: str) -> None:
        """Delete what is gone afterwards: when an answer was lost, that it is gone already is success."""
        response, lost = self._answer("DELETE", path)
        if not (lost and response.status_code == HTTPStatus.NOT_FOUND):
            self._check(response)

    def _answer(
        self, method: str, path: str, *, again: bool = False, **asked: Any
    ) -> tuple[httpx.Response, bool]:
        """The answer, and whether an earlier one may have been lost."""
        tries = _TRIES if again or method in ("GET", "DELETE") else 1
        headers = {**self._headers(), **asked.pop("headers", {})}
        asked["params"] = _given(asked.get("params"))
        for left in range(tries - 1, -1, -1):
            try:
                response = self._http.request(
                    method, self.base + path, headers=headers, timeout=LIMIT_S, **asked
                )
                return response, left < tries - 1
            except httpx.TransportError as error:
                if not left:
                    raise self._unreachable(error) from error
                time.sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    def items(self, path: str, *, most: int | None = None, **params: Any) -> list[Json]:
        """A list's items, page by page; at most `most` of them."""
        found: list[Json] = []
        cursor: str | None = None
        while True:
            limit = _PAGE if most is None else min(_PAGE, most - len(found))
            page = self.get(path, **params, limit=limit, cursor=cursor)
            found += page["items"]
            cursor = page.get("next")
            if not cursor or (most is not None and len(found) >= most):
                return found

    def follow(self, path: str, after: str | None = None) -> Iterator[Told]:
        """Server-sent events after event id `after`, until the service ends the stream.

        The first is `open`, ours: the stream stands, so what happened before can be read now.
        Raises Unreachable when the line breaks: follow again after the last id."""
        headers = {"Last-Event-ID": after} if after else {}
        with self._opened(path, {}, headers) as response:
            frame = _Frame()
            yield Told("open", {})
            try:
                for line in response.iter_lines():
                    if line:
                        frame.take(line)
                    else:
                        told, frame = frame.told(), _Frame()
                        if told is not None:
                            yield told
            except httpx.TransportError as error:
                raise self._unreachable(error) from error

    def _opened(self, path: str, params: Json, headers: dict[str, str] | None = None) -> _Stream:
        request = self._http.build_request(
            "GET",
            self.base + path,
            params=_given(params),
            headers={**self._headers(), **(headers or {})},
            timeout=httpx.Timeout(LIMIT_S, read=_QUIET_S),
        )
        try:
            response = self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            response.read()
            response.close()
        self._check(response)
        return _Stream(response)

    def _headers(self) -> dict[str, str]:
        return {} if self._session is None else {"Authorization": f"Bearer {self._session.token}"}

    def _check(self, response: httpx.Response) -> None:
        if not response.is_error:
            return
        try:
            problem = dict(response.json())
        except ValueError:
            problem = {"title": f"Status {response.status_code}", "detail": response.text[:500]}
        problem.setdefault("status", response.status_code)
        raise Refused(problem, hint_for(problem, self._session.who if self._session else None))

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise Refused.because(f"{self.instance} answered something that is not JSON") from error

    def _unreachable(self, error: httpx.TransportError) -> Trouble:
        reason = str(error) or type(error).__name__
        return Unreachable.because(
            f"{self.instance} at {self.base} does not answer: {reason}",
            "bellweave status shows what runs; make up starts a local stack",
        )


class _Stream:
    """Closes the response at the end of a `with` block."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __enter__(self) -> httpx.Response:
        return self._response

    def __exit__(self, *_: object) -> None:
        self._response.close()


def _given(params: Json | None) -> Json:
    return {name: value for name, value in (params or {}).items() if value is not None}
