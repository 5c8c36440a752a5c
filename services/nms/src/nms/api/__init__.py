"""The operator's door: REST and server-sent events under /api/v1, role operator only.

`app` puts the router into the HTTP server. Bodies in, use case or read, shapes out; no rule lives here.
"""

from nms.api.routes import router

__all__ = ["router"]
