"""The statements of `libs.common.outbox.end_store`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from libs.common.outbox import end_store
from tests.simulation.database_heap import Steps, Table, Transaction, Values
from tests.simulation.sql import NOTHING, Answer, Places, outbox_row, record_type

_MessageId = record_type("message_id")
_Lane = record_type("lane")
_MOST_ATTEMPTS = 30000
_SAID = ("type", "shop", "outcome", "handler", "route", "created_at", "started_at")


def _deleted(table: Table, tx: Transaction, *key: Any) -> Steps[Values | None]:
    """DELETE … RETURNING of one row."""
    row = table.find(tx, *key)
    if row is None or (yield from tx.lock(row)) is None:
        return None
    return tx.delete(row)


def _deleted_at(table: Table, tx: Transaction, attempt: int, *key: Any) -> Steps[Values | None]:
    """The same, where the row is at this attempt, before and after it was waited for."""
    row = table.find(tx, *key)
    if row is None or (row.seen_by(tx) or {}).get("attempt") != attempt:
        return None
    values = yield from tx.lock(row)
    return None if values is None or values["attempt"] != attempt else tx.delete(row)


def end_one(
    places: Places, tx: Transaction, destination: str, lane: str, message_id: UUID, source: str, *said: Any
) -> Steps[Answer]:
    gone = yield from _deleted(places.outbox, tx, destination, lane, message_id)
    if gone is None:
        return NOTHING
    yield from tx.insert(places.history, _history(places, gone, source, said))
    return [_MessageId((message_id,))]


def _history(places: Places, gone: Values, source: str, said: Sequence[Any]) -> Values:
    return {
        "message_id": gone["id"], "attempts": gone["attempt"] + 1, "log": gone["log"], "lane": gone["lane"],
        "source": source, "finished_at": places.server.now(), **dict(zip(_SAID, said, strict=True)),
    }  # fmt: skip


def end_many(
    places: Places, tx: Transaction, destination: str, lane: str, ids: Sequence[UUID], source: str, said: str
) -> Steps[Answer]:
    live = yield from tx.lock_all(places.outbox.find(tx, destination, lane, one) for one in sorted(set(ids)))
    gone = {values["id"]: values for values in map(tx.delete, live)}
    ended = [one for one in map(_told, orjson.loads(said)) if one["id"] in gone]
    for one in ended:
        values = _history(places, gone[one["id"]], source, [one[name] for name in _SAID])
        yield from tx.insert(places.history, values)
    return [_MessageId((one["id"],)) for one in ended]


def _told(one: Values) -> Values:
    times = {name: datetime.fromisoformat(one[name]) for name in ("created_at", "started_at")}
    return {**one, **times, "id": UUID(one["id"])}


def schedule(
    places: Places, tx: Transaction, destination: str, lane: str, message_id: UUID, source: str, wait: timedelta,
    reason: str, counted: int, entry: str | None, most: int, attempt: int,
) -> Steps[Answer]:  # fmt: skip
    gone = yield from _deleted_at(places.outbox, tx, attempt, destination, lane, message_id)
    if gone is None:
        return NOTHING
    log = gone["log"]
    if entry is not None:
        log = (log or [])[1 if len(log or []) >= most else 0 :] + orjson.loads(entry)
    yield from tx.insert(
        places.scheduled,
        {
            "source": source, "message_id": message_id, "lane": lane, "due_at": tx.now + wait, "reason": reason,
            "attempt": min(gone["attempt"] + counted, _MOST_ATTEMPTS), "log": log,
        },
    )  # fmt: skip
    return [_MessageId((message_id,))]


def fail(
    places: Places, tx: Transaction, destination: str, lane: str, message_id: UUID, source: str, kind: str, shop: str,
    reason: str, error: str, entry: str, created_at: datetime, attempt: int,
) -> Steps[Answer]:  # fmt: skip
    gone = yield from _deleted_at(places.outbox, tx, attempt, destination, lane, message_id)
    if gone is None:
        return NOTHING
    yield from tx.insert(
        places.failed,
        {
            "source": source, "message_id": message_id, "type": kind, "shop": shop, "lane": lane, "reason": reason,
            "error": error, "attempts": gone["attempt"] + 1, "log": (gone["log"] or []) + orjson.loads(entry),
            "created_at": created_at, "failed_at": places.server.now(),
        },
    )  # fmt: skip
    return [_MessageId((message_id,))]


def replay_failed(
    places: Places, tx: Transaction, source: str, message_id: UUID, destination: str
) -> Steps[Answer]:
    back = yield from _deleted(places.failed, tx, source, message_id)
    if back is None:
        return NOTHING
    return (yield from _returned(places, tx, destination, back, log=back["log"]))


def replay_done(
    places: Places, tx: Transaction, source: str, message_id: UUID, destination: str
) -> Steps[Answer]:
    row = places.history.find(tx, message_id)
    if row is None or (row.seen_by(tx) or {}).get("source") != source:
        return NOTHING
    back = yield from _deleted(places.history, tx, message_id)
    if back is None:
        return NOTHING
    entry = {
        "started_at": back["started_at"].isoformat(), "finished_at": back["finished_at"].isoformat(), "error": None,
        "route": back["route"], "outcome": back["outcome"],
    }  # fmt: skip
    return (yield from _returned(places, tx, destination, back, log=[*(back["log"] or []), entry]))


def rush(places: Places, tx: Transaction, source: str, message_id: UUID, destination: str) -> Steps[Answer]:
    back = yield from _deleted(places.scheduled, tx, source, message_id)
    if back is None:
        return NOTHING
    return (yield from _returned(places, tx, destination, back, attempt=back["attempt"], log=back["log"]))


def _returned(places: Places, tx: Transaction, destination: str, back: Values, **kept: Any) -> Steps[Answer]:
    values = outbox_row(destination, back["lane"], back["message_id"], tx, **kept)
    yield from tx.insert(places.outbox, values)
    return [_Lane((back["lane"],))]


STATEMENTS = {
    "END_ONE": (end_store.END_ONE, end_one),
    "END_MANY": (end_store.END_MANY, end_many),
    "SCHEDULE": (end_store.SCHEDULE, schedule),
    "FAIL": (end_store.FAIL, fail),
    "REPLAY_FAILED": (end_store.REPLAY_FAILED, replay_failed),
    "REPLAY_DONE": (end_store.REPLAY_DONE, replay_done),
    "RUSH": (end_store.RUSH, rush),
}
