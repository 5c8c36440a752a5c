"""ETags made of version numbers, and If-Match against them."""

from __future__ import annotations

from qmodel.errors import Invalid, PreconditionFailed


def etag_of(version: int) -> str:
    """The strong entity tag of a version."""
    return f'"{version}"'


def check_if_match(header: str | None, version: int) -> None:
    """Raises PreconditionFailed unless `header` is absent, `*`, or names `version`; Invalid if malformed."""
    if header is None or header.strip() == "*":
        return
    # A weak tag is well-formed, and never equal in the strong comparison that RFC 9110 asks for here.
    tags = [tag.strip() for tag in header.split(",") if not tag.strip().startswith('W/"')]
    if not all(len(tag) >= 2 and tag[0] == tag[-1] == '"' for tag in tags):
        raise Invalid("If-Match takes entity tags in double quotes", where="If-Match")
    if etag_of(version) not in tags:
        raise PreconditionFailed("it has changed since you read it: read it again", current=etag_of(version))
