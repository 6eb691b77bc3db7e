"""The statements of `libs.common.outbox.put_store`."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson

from libs.common.outbox import put_store
from tests.simulation.database_heap import Steps, Transaction, Values
from tests.simulation.sql import NOTHING, Answer, Places, outbox_row, record_type

_COLUMNS = (
    "id", "type", "shop", "key", "time", "subject", "dataschema", "content_type", "traceparent", "correlation_id",
    "headers", "body",
)  # fmt: skip
KEY = ("key", "shop")
_Id = record_type("id")
_Known = record_type("key", "shop", "id")


def put(places: Places, tx: Transaction, *args: Any) -> Steps[Answer]:
    holder, lease = args[17:]
    stored = yield from _store(places, tx, args[:12])
    for message_id, destination, lane, leased, delay in zip(*args[12:17], strict=True):
        if message_id in stored:
            free_from = tx.now + timedelta(seconds=delay) if delay > 0 else None
            leasing = (
                {"holder": holder, "leased_until": tx.now + lease} if leased else {"leased_until": free_from}
            )
            yield from tx.insert(places.outbox, outbox_row(destination, lane, message_id, tx, **leasing))
    return [_Id((message_id,)) for message_id in stored]


def _store(places: Places, tx: Transaction, columns: Sequence[Sequence[Any]]) -> Steps[list[UUID]]:
    stored = []
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]
    for values in sorted(rows, key=_by_key):
        headers = None if values["headers"] is None else orjson.loads(values["headers"])
        message = {**values, "headers": headers, "created_at": tx.now}
        if (yield from tx.insert_new(places.messages, message, KEY)):
            stored.append(values["id"])
    return stored


def _by_key(values: Values) -> tuple[bool, str, str]:
    """ORDER BY key, shop: NULL comes last."""
    return values["key"] is None, values["key"] or "", values["shop"]


def delay(
    places: Places, tx: Transaction, source: str, message_id: UUID, lane: str, wait: timedelta
) -> Steps[Answer]:
    yield from tx.insert(
        places.scheduled,
        {
            "source": source, "message_id": message_id, "lane": lane, "due_at": tx.now + wait, "reason": "delay",
            "attempt": 0, "log": None,
        },
    )  # fmt: skip
    return NOTHING


def end_external(
    places: Places, tx: Transaction, destination: str, lane: str, ids: Sequence[UUID]
) -> Steps[Answer]:
    for row in [places.outbox.find(tx, destination, lane, one) for one in sorted(set(ids))]:
        if row is not None and (yield from tx.lock(row)) is not None:
            tx.delete(row)
    return NOTHING


def known(places: Places, tx: Transaction, keys: Sequence[str | None], shops: Sequence[str]) -> Answer:
    found = [places.messages.find_by(KEY, tx, *pair) for pair in zip(keys, shops, strict=True)]
    messages = [row.seen_by(tx) for row in found if row is not None]
    return [_Known((m["key"], m["shop"], m["id"])) for m in messages if m is not None]


def count_duplicates(places: Places, tx: Transaction, counter: str, number: int) -> Steps[Answer]:
    yield from tx.upsert(
        places.duplicates,
        {"counter": counter, "total": number},
        lambda there: {"total": there["total"] + number},
    )
    return NOTHING


def free(places: Places, tx: Transaction, holder: str, destination: str, lane: str, since: UUID) -> Answer:
    mine = [
        row
        for row, values in places.outbox.rows(tx)
        if values["destination"] == destination
        and values["lane"] == lane
        and values["id"] >= since
        and values["holder"] == holder
        and tx.try_lock(row)
    ]
    return [_Id((tx.update(row, holder=None, leased_until=None)["id"],)) for row in mine]


def notify(_: Places, tx: Transaction, channels: Sequence[str], payloads: Sequence[str]) -> Answer:
    tx.notices.update(dict.fromkeys(zip(channels, payloads, strict=True)))
    return NOTHING


STATEMENTS = {
    "PUT": (put_store.PUT, put),
    "DELAY": (put_store.DELAY, delay),
    "END_EXTERNAL": (put_store.END_EXTERNAL, end_external),
    "KNOWN": (put_store.KNOWN, known),
    "COUNT_DUPLICATES": (put_store.COUNT_DUPLICATES, count_duplicates),
    "FREE": (put_store.FREE, free),
    "NOTIFY": (put_store.NOTIFY, notify),
}
