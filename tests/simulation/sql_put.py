"""The statements of `libs.common.outbox.put_store`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from libs.common.outbox import put_store
from tests.simulation.database_heap import Steps, Transaction, Values
from tests.simulation.sql import NOTHING, Answer, Places, outbox_row, record_type

KEY = ("key", "shop")
_Id = record_type("id")
_Known = record_type("key", "shop", "id")


def put(places: Places, tx: Transaction, *args: Any) -> Steps[Answer]:
    messages, bodies, rows, holder, lease = args
    stored = yield from _store(places, tx, orjson.loads(messages), bodies)
    for row in orjson.loads(rows):
        message_id = UUID(row["id"])
        if message_id in stored:
            free_from = tx.now + timedelta(seconds=row["delay"]) if row["delay"] > 0 else None
            leasing = (
                {"holder": holder, "leased_until": tx.now + lease}
                if row["leased"]
                else {"leased_until": free_from}
            )
            yield from tx.insert(
                places.outbox, outbox_row(row["destination"], row["lane"], message_id, tx, **leasing)
            )
    return [_Id((message_id,)) for message_id in stored]


def _store(
    places: Places, tx: Transaction, messages: Sequence[Values], bodies: Sequence[bytes]
) -> Steps[list[UUID]]:
    stored: list[UUID] = []
    for values in sorted(map(_with_body, messages, bodies), key=_by_key):
        new = yield from tx.insert_new(places.messages, {**values, "created_at": tx.now}, KEY)
        stored += [values["id"]] if new else []
    return stored


def _with_body(message: Values, body: bytes) -> Values:
    time = datetime.fromisoformat(message["time"])
    return {**message, "id": UUID(message["id"]), "time": time, "body": body}


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
