"""Usage and invoices as CSV (RFC 4180), written piece by piece: memory does not grow with their number."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from bms.api.shapes import InvoiceView, LineView, UsageItem, show_usage
from bms.ports import UsageView

MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def usage_csv(batches: AsyncIterator[Sequence[UsageView]]) -> StreamingResponse:
    """One row per record, oldest first."""

    async def pieces() -> AsyncIterator[str]:
        columns = list(UsageItem.model_fields)
        yield _rows([columns])
        async for batch in batches:
            yield _rows(_cells(show_usage(view), columns) for view in batch)

    return _download(pieces(), "usage.csv")


def invoice_csv(invoice: InvoiceView) -> StreamingResponse:
    """One row per line, each with the invoice's number, tenant, period and currency; the total is last."""

    async def pieces() -> AsyncIterator[str]:
        columns = list(LineView.model_fields)
        yield _rows([["number", "tenant", "period_start", "period_end", "currency", *columns]])
        head = _cells(invoice, ["number", "tenant", "period_start", "period_end", "currency"])
        yield _rows([*head, *_cells(line, columns)] for line in invoice.lines)
        yield _rows([[*head, "Total", *[""] * (len(columns) - 2), invoice.total]])

    return _download(pieces(), f"{invoice.number}.csv")


def _download(pieces: AsyncIterator[str], name: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=MEDIA_TYPE, headers=headers)


def _rows(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _cells(shown: BaseModel, columns: Iterable[str]) -> list[str]:
    values = shown.model_dump(mode="json")
    return [_cell(values[column]) for column in columns]


def _cell(value: object) -> str:
    """Text that a spreadsheet would take for a formula is quoted; nothing else is altered."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else str(value)
