"""The services' public APIs as the demo uses them: one `Door` per service and user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from bellweave_local.state import Status

_LIMIT_S = 15.0
_STREAM_LIMIT_S = 90.0


class StepFailed(Exception):
    """Something that the demo shows is not so."""


class Door:
    """One service's API under one user's token. A problem document ends the step with its sentence."""

    def __init__(self, base_url: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {token}"}, timeout=_LIMIT_S
        )

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        return self._answer(self._http.get(path, params=params))

    def post(self, path: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        return self._answer(self._http.post(path, json=body, headers=headers))

    def delete(self, path: str) -> dict[str, Any]:
        return self._answer(self._http.delete(path))

    def items(self, path: str, **params: str | int) -> list[dict[str, Any]]:
        """All items of a list, page by page."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self.get(path, **params, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page.get("next")
            if not cursor:
                return found

    def follow(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events as (event, data), until the server ends the stream."""
        timeout = httpx.Timeout(_LIMIT_S, read=_STREAM_LIMIT_S)
        with self._http.stream("GET", path, timeout=timeout) as response:
            if response.is_error:
                response.read()
                self._answer(response)
            event = "message"
            for line in response.iter_lines():
                if line.startswith("event:"):
                    event = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    yield event, json.loads(line.removeprefix("data:"))
                elif not line:
                    event = "message"

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            try:
                problem = response.json()
                text = problem.get("detail") or problem.get("title") or response.text
            except ValueError:
                text = response.text[:200]
            raise StepFailed(f"{response.request.method} {response.request.url.path}: {text}")
        return dict(response.json())

    def close(self) -> None:
        self._http.close()


class Doors:
    """All doors that the story goes through."""

    def __init__(self, status: Status) -> None:
        if status.issuer is None:
            raise StepFailed("the local issuer is not running")
        self._status = status
        self._tokens: dict[str, str] = {}
        self.orders = self._door("sms.main", "acme-admin")
        self.billing = self._door("bms.main", "billing")
        self.nms = {name: self._door(name, "operator") for name in status.apis if name.startswith("nms.")}
        self.ems = {name: self._door(name, "operator") for name in status.apis if name.startswith("ems.")}

    def _door(self, instance: str, user: str) -> Door:
        return Door(self._status.apis[instance], self._token(user))

    def _token(self, name: str) -> str:
        issuer = self._status.issuer
        assert issuer is not None
        if name not in self._tokens:
            user = next(user for user in issuer.users if user.name == name)
            form = {
                "grant_type": "password",
                "client_id": issuer.client_id,
                "username": user.name,
                "password": user.password,
            }
            answer = httpx.post(issuer.token_endpoint, data=form, timeout=_LIMIT_S)
            if answer.is_error:
                raise StepFailed(f"{name} cannot log in: {answer.text[:200]}")
            self._tokens[name] = answer.json()["access_token"]
        return self._tokens[name]

    def close(self) -> None:
        for door in (self.orders, self.billing, *self.nms.values(), *self.ems.values()):
            door.close()
