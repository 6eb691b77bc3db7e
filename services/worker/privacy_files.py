"""How privacy cases look from outside, and the file that a merchant gives to a customer."""

import io
import zipfile
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from libs.common.db import connection, database_away_named
from libs.common.errors import ShopbusError
from services.worker import cases_store, metrics
from services.worker.privacy import Privacy

Json = dict[str, Any]

_SHOWN = (
    *(
        "id",
        "kind",
        "status",
        "shop",
        "request_id",
        "requested_at",
        "opened_at",
        "due_at",
        "ready_at",
        "ended_at",
    ),
    *("reason", "repeats"),
)
_PAGES = Environment(loader=PackageLoader("services.worker"), autoescape=True, undefined=StrictUndefined)


class NoSuchCase(ShopbusError):
    """There is no such privacy case."""


class NothingToGive(ShopbusError):
    """The case has no file: it is not a data request, not ready yet, or its file was given and deleted."""


async def page(
    privacy: Privacy, before: UUID, limit: int, *, kind: str | None, status: str | None, shop: str | None
) -> list[Json]:
    """Cases that match, the newest first."""
    async with connection(privacy.pool, privacy.timeout) as conn:
        with database_away_named():
            rows = await cases_store.page(conn, before, kind, status, shop, limit)
    return [_short(row) for row in rows]


async def show(privacy: Privacy, identifier: UUID, shop: str | None) -> Json:
    """One case of this shop, or of any where it is None; raises `NoSuchCase`."""
    async with connection(privacy.pool, privacy.timeout) as conn:
        with database_away_named():
            case = await cases_store.case(conn, identifier)
            if case is None or (shop is not None and case["shop"] != shop):
                raise NoSuchCase
            steps = await cases_store.steps(conn, [identifier])
    return _full(case, steps)


async def export(privacy: Privacy, identifier: UUID, shop: str | None) -> bytes:
    """The file of a data request as a zip; raises `NoSuchCase` or `NothingToGive`. The first time ends the case."""
    case = await show(privacy, identifier, shop)
    async with connection(privacy.pool, privacy.timeout) as conn:
        with database_away_named():
            items = [
                item for part in await cases_store.items(conn, identifier) for item in orjson.loads(part)
            ]
            row = await cases_store.case(conn, identifier)
            if row is None or row["subject"] is None or case["status"] not in {"ready", "done"}:
                raise NothingToGive
            file = _zipped(case, orjson.loads(row["subject"]), items)
            if await cases_store.deliver(conn, identifier, privacy.clock.now()):
                metrics.PRIVACY_ENDED.labels("data_request", "done").inc()
    return file


def _short(row: asyncpg.Record) -> Json:
    return {name: row[name] for name in _SHOWN}


def _full(row: asyncpg.Record, steps: list[asyncpg.Record]) -> Json:
    return {
        **_short(row),
        "steps": [
            {
                "service": step["service"],
                "asked_at": step["asked_at"],
                "answered_at": step["answered_at"],
                "rows": orjson.loads(step["rows"]) if step["rows"] else None,
            }
            for step in steps
        ],
        "receipt": orjson.loads(row["receipt"]) if row["receipt"] else None,
    }


def _zipped(case: Json, subject: Json, items: list[Json]) -> bytes:
    """JSON for programs, a page for people."""
    customer = {name: subject[name] for name in ("customer_id", "email", "phone")}
    whole = {"case": case, "customer": customer, "items": items}
    written = orjson.dumps(whole, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z)
    readable = _PAGES.get_template("data_request.html").render(
        case=case, customer=customer, items=_readable(items)
    )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.json", written)
        archive.writestr("data.html", readable)
    return made.getvalue()


def _readable(items: list[Json]) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(item["table"], [(name, _words(value)) for name, value in _flat("", item)]) for item in items]


def _flat(path: str, value: object) -> list[tuple[str, object]]:
    """Every single value under its path, such as `body.customer.email`; what is empty is left out."""
    if isinstance(value, dict):
        pairs = [
            (f"{path}.{key}" if path else str(key), inner) for key, inner in value.items() if key != "table"
        ]
    elif isinstance(value, list):
        pairs = [(f"{path}.{number}", inner) for number, inner in enumerate(value, start=1)]
    else:
        return [] if value is None or value == "" else [(path, value)]
    return [found for key, inner in pairs for found in _flat(key, inner)]


def _words(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
