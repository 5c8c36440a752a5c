"""What a process tells about itself: JSON logs without secrets, W3C trace context, Prometheus metrics.

`service.run` sets logging and tracing up once per process; libraries only take loggers and tracers. Metrics
live in a registry that is handed around, never in a global one.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECRET = re.compile(
    r"pass(word|wd|phrase)?s?$|password|secret|token|authorization|cookie|private|credential|api_?key"
)
_IN_TEXT = re.compile(
    r"(?i)(password|passwd|passphrase|secret|token|authorization|cookie|api_?key)([\"']?\s*[=:]\s*[\"']?)"
    r"((?:bearer|basic)\s+)?\S+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{16,}")
_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_IN_URL = re.compile(r"(://[^/\s:@]*:)\S+@")
_REDACTED = "[redacted]"


def redact(_: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: no value under a telling name, no password inside a text."""
    for name, value in entry.items():
        if not name.startswith("_"):  # structlog's own, which is not written
            entry[name] = _redacted(name, value)
    return entry


def _redacted(name: str, value: Any) -> Any:
    if _SECRET.search(name.lower()):
        return _REDACTED
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted("", item) for item in value]
    return _without_secrets(value if isinstance(value, str) else repr(value))  # as it would be written


def _without_secrets(text: str) -> str:
    text = _IN_URL.sub(rf"\1{_REDACTED}@", text)
    text = _IN_TEXT.sub(rf"\1\2{_REDACTED}", text)
    return _JWT.sub(_REDACTED, _BEARER.sub(rf"\1\2{_REDACTED}", text))


def _add_trace(_: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        entry["trace_id"] = format(context.trace_id, "032x")
    return entry


def set_up(name: str, level: str = "info") -> None:
    """Log JSON lines to stderr as `name` and record spans. Once per process, from its main."""
    chain: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*chain, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "nats", "asyncio", "asyncssh", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=name)
    trace.set_tracer_provider(TracerProvider(resource=Resource({"service.name": name})))


class _Headers(Getter[Mapping[str, str]]):
    """Header lookup without regard to case."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        value = next((v for k, v in carrier.items() if k.lower() == key), None)
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return list(carrier)


def inject_trace(headers: MutableMapping[str, str]) -> None:
    """Write `traceparent` (and `tracestate`) of the current span into `headers`."""
    TraceContextTextMapPropagator().inject(headers)


def current_traceparent() -> str | None:
    headers: dict[str, str] = {}
    inject_trace(headers)
    return headers.get("traceparent")


@contextmanager
def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, headers: Mapping[str, str] | None = None
) -> Iterator[Span]:
    """A span named `name`, child of what `headers` carry, or of the current span without headers."""
    parent = None if headers is None else TraceContextTextMapPropagator().extract(headers, getter=_Headers())
    tracer = trace.get_tracer("qkit")
    with tracer.start_as_current_span(name, context=parent, kind=kind, record_exception=False) as current:
        try:
            yield current
        except BaseException as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


class Metrics:
    """The counters that qkit keeps. A service adds its own to `registry`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        seconds = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
        self.http_requests = Counter(
            "bellweave_http_requests",
            "HTTP requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.http_seconds = Histogram(
            "bellweave_http_request_seconds",
            "Time to answer an HTTP request",
            ["method", "route"],
            buckets=seconds,
            registry=self.registry,
        )
        self.bus_requests = Histogram(
            "bellweave_bus_request_seconds",
            "Time of a bus request",
            ["side", "operation", "outcome"],
            buckets=seconds,
            registry=self.registry,
        )
        self.events_published = Counter(
            "bellweave_events_published", "Events published", registry=self.registry
        )
        self.events_consumed = Counter(
            "bellweave_events_consumed",
            "Events by what became of them",
            ["source", "outcome"],
            registry=self.registry,
        )
        self.outbox_waiting = Gauge(
            "bellweave_outbox_waiting", "Events numbered but not yet published", registry=self.registry
        )
        self.loop_runs = Histogram(
            "bellweave_loop_run_seconds",
            "Time of one reconcile run",
            ["loop", "outcome"],
            buckets=seconds,
            registry=self.registry,
        )
