"""The HTTP side of every service: one way to say errors, pages, versions and idempotency."""

from qkit.http.app import Health, make_app, serve
from qkit.http.idempotency import Idempotency, idempotency
from qkit.http.paging import Page, PageParams, page_params
from qkit.http.problems import problem_of, status_of
from qkit.http.versions import check_if_match, etag_of

__all__ = [
    "Health",
    "Idempotency",
    "Page",
    "PageParams",
    "check_if_match",
    "etag_of",
    "idempotency",
    "make_app",
    "page_params",
    "problem_of",
    "serve",
    "status_of",
]
