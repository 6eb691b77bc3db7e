"""The statements of `libs.common.outbox.claim_store`."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs.common.outbox import claim_store
from tests.simulation.database_heap import Row, Steps, Transaction, Values
from tests.simulation.sql import NOTHING, Answer, Places, outbox_row, record_type

_OF_ROW = ("lane", "deliveries", "suspicions", "attempt")
_OF_MESSAGE = (
    "id", "type", "shop", "time", "subject", "dataschema", "content_type", "traceparent", "correlation_id", "body",
)  # fmt: skip
_Occupied = record_type("lane")
_Claimed = record_type(*_OF_ROW, *_OF_MESSAGE)
_TakenOver = record_type("id", "deliveries", "suspicions", "attempt")
_Suspicions = record_type("suspicions")
_Seconds = record_type("extract")
_Writable = record_type("writable")
_MOST_DELIVERIES = 1000


def brokered(values: Values) -> bool:
    """LIKE 'broker:%' of the holder."""
    return (values["holder"] or "").startswith("broker:")


def claim(
    places: Places, tx: Transaction, destination: str, lane: str, after: UUID, limit: int, holder: str,
    lease: timedelta, early: timedelta,
) -> Answer:  # fmt: skip
    def claimable(values: Values) -> bool:
        until = values["leased_until"]
        return values["id"] > after and (
            until is None or until < tx.now + (early if brokered(values) else timedelta(0))
        )

    taken: list[Values] = []
    for row, values in _in_lane(places, tx, destination, lane):
        if len(taken) == limit:
            break
        if claimable(values) and tx.try_lock(row):
            deliveries = min(values["deliveries"] + 1, _MOST_DELIVERIES)
            taken.append(tx.update(row, holder=holder, leased_until=tx.now + lease, deliveries=deliveries))
    return _with_messages(places, tx, taken)


def occupied(places: Places, tx: Transaction, destination: str, lanes: Sequence[str]) -> Answer:
    return [_Occupied((lane,)) for lane in lanes if _in_lane(places, tx, destination, lane)]


def _in_lane(places: Places, tx: Transaction, destination: str, lane: str) -> list[tuple[Row, Values]]:
    """The rows of a lane in the order of their ids."""
    rows = [
        entry
        for entry in places.outbox.rows(tx)
        if entry[1]["destination"] == destination and entry[1]["lane"] == lane
    ]
    return sorted(rows, key=lambda entry: entry[1]["id"])


def _with_messages(places: Places, tx: Transaction, rows: Iterable[Values]) -> Answer:
    answer = []
    for values in rows:
        found = places.messages.find(tx, values["id"])
        if found is not None and (message := found.seen_by(tx)) is not None:
            answer.append(
                _Claimed((*(values[name] for name in _OF_ROW), *(message[name] for name in _OF_MESSAGE)))
            )
    return answer


def move_due(
    places: Places, tx: Transaction, source: str, limit: int, destination: str, holder: str, lease: timedelta,
    lanes: Sequence[str],
) -> Steps[Answer]:  # fmt: skip
    due = [
        (row, values)
        for row, values in places.scheduled.rows(tx)
        if values["source"] == source and values["due_at"] <= tx.now and values["lane"] in lanes
    ]
    locked: list[Row] = []
    for row, _ in sorted(due, key=lambda entry: entry[1]["due_at"]):
        if len(locked) == limit:
            break
        if tx.try_lock(row):
            locked.append(row)
    moved = []
    for row in locked:
        gone = tx.delete(row)
        values = outbox_row(
            destination, gone["lane"], gone["message_id"], tx, holder=holder, leased_until=tx.now + lease,
            deliveries=1, attempt=gone["attempt"], log=gone["log"],
        )  # fmt: skip
        moved.append((yield from tx.insert(places.outbox, values)))
    return _with_messages(places, tx, moved)


def next_due(places: Places, tx: Transaction, sources: Sequence[str], lanes: Sequence[str]) -> Answer:
    waits = [
        (values["due_at"] - tx.now).total_seconds()
        for _, values in places.scheduled.rows(tx)
        if values["source"] in sources and values["lane"] in lanes
    ]
    return [_Seconds((min(waits, default=None),))]


def _change(
    places: Places, tx: Transaction, destination: str, lane: str, ids: Sequence[UUID],
    wanted: Callable[[Values], bool], change: Callable[[Values], dict[str, Any]],
) -> list[Values]:  # fmt: skip
    """Changes those of the rows that are wanted and that nobody has locked."""
    changed = []
    for message_id in sorted(set(ids)):
        row = places.outbox.find(tx, destination, lane, message_id)
        values = None if row is None else row.seen_by(tx)
        if row is not None and values is not None and wanted(values) and tx.try_lock(row):
            changed.append(tx.update(row, **change(values)))
    return changed


def _nobodys(tx: Transaction, holder: str) -> Callable[[Values], bool]:
    """Rows that no other consumer holds by now."""
    return lambda values: (
        values["holder"] is None
        or values["holder"] == holder
        or brokered(values)
        or (values["leased_until"] is not None and values["leased_until"] < tx.now)
    )


def renew(
    places: Places, tx: Transaction, destination: str, lane: str, ids: Sequence[UUID], holder: str, lease: timedelta
) -> Answer:  # fmt: skip
    _change(
        places, tx, destination, lane, ids, _nobodys(tx, holder),
        lambda _: {"holder": holder, "leased_until": tx.now + lease},
    )  # fmt: skip
    return NOTHING


def give_back(
    places: Places, tx: Transaction, destination: str, lane: str, ids: Sequence[UUID], holder: str, unharmed: bool
) -> Answer:  # fmt: skip
    def freed(values: Values) -> dict[str, Any]:
        if values["holder"] != holder or not unharmed:
            return {"holder": None, "leased_until": None}
        fewer = max(values["deliveries"] - 1, 0)
        return {"holder": None, "leased_until": None, "deliveries": fewer, "suspicions": 0}

    _change(places, tx, destination, lane, ids, lambda v: v["holder"] == holder or brokered(v), freed)
    return NOTHING


def take_over(
    places: Places, tx: Transaction, destination: str, lane: str, ids: Sequence[UUID], holder: str, lease: timedelta,
    counted: int,
) -> Answer:  # fmt: skip
    taken = _change(
        places, tx, destination, lane, ids, _nobodys(tx, holder),
        lambda values: {
            "holder": holder, "leased_until": tx.now + lease,
            "deliveries": min(values["deliveries"] + counted, _MOST_DELIVERIES),
        },
    )  # fmt: skip
    return [_TakenOver((v["id"], v["deliveries"], v["suspicions"], v["attempt"])) for v in taken]


def suspect(
    places: Places, tx: Transaction, destination: str, lane: str, message_id: UUID, holder: str, lease: timedelta
) -> Steps[Answer]:  # fmt: skip
    row = places.outbox.find(tx, destination, lane, message_id)
    values = None if row is None else (yield from tx.lock(row))
    if row is None or values is None:
        return NOTHING
    number = values["suspicions"] + 1
    tx.update(row, suspicions=number, holder=holder, leased_until=tx.now + lease)
    return [_Suspicions((number,))]


def writable(_places: Places, _tx: Transaction) -> Answer:
    return [_Writable((True,))]


def find_room(_places: Places, _tx: Transaction) -> Answer:
    return NOTHING


STATEMENTS = {
    "CLAIM": (claim_store.CLAIM, claim),
    "OCCUPIED": (claim_store.OCCUPIED, occupied),
    "MOVE_DUE": (claim_store.MOVE_DUE, move_due),
    "NEXT_DUE": (claim_store.NEXT_DUE, next_due),
    "RENEW": (claim_store.RENEW, renew),
    "GIVE_BACK": (claim_store.GIVE_BACK, give_back),
    "TAKE_OVER": (claim_store.TAKE_OVER, take_over),
    "WRITABLE": (claim_store.WRITABLE, writable),
    "ROOM": (claim_store.ROOM, find_room),
    "SUSPECT": (claim_store.SUSPECT, suspect),
}
