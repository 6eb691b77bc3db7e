"""The statements of `libs.common.runtime`: slots and schedules."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from libs.common.runtime import schedules, slots
from tests.simulation.database_heap import Steps, Transaction
from tests.simulation.sql import NOTHING, Answer, Places, record_type

_Slot = record_type("number", "doubtful")
_Unlocked = record_type("pg_advisory_unlock")
_Look = record_type("name", "last_tick", "now")
_Name = record_type("name")
_MARKER = {"key": 0, "number": -1}


def take_slot(
    places: Places, tx: Transaction, key: int, limit: int, others: Sequence[int], young_seconds: float
) -> Steps[Answer]:
    session, locks = tx.sleeper, places.server.locks
    doubtful = not _settled(places, tx, timedelta(seconds=young_seconds))
    yield from tx.insert_new(places.slots, {**_MARKER, "taken_at": tx.now}, ("key", "number"))
    free = (number for number in range(limit) if number not in others and locks.take(session, (key, number)))
    number = next(free, None)
    if number is None:
        return NOTHING
    slot = {"key": key, "number": number, "taken_at": tx.now}
    _, there = yield from tx.upsert(places.slots, slot, lambda _: {"taken_at": tx.now})
    return [_Slot((number, there or doubtful))]


def _settled(places: Places, tx: Transaction, young: timedelta) -> bool:
    """Whether the marker, which a crash takes away, has been there for a while."""
    marker = places.slots.find(tx, *_MARKER.values())
    seen = None if marker is None else marker.seen_by(tx)
    return seen is not None and bool(seen["taken_at"] < places.server.now() - young)


def release_slot(places: Places, tx: Transaction, key: int, number: int) -> Steps[Answer]:
    row = places.slots.find(tx, key, number)
    if row is not None and (yield from tx.lock(row)) is not None:
        tx.delete(row)
    return [_Unlocked((places.server.locks.release(tx.sleeper, (key, number)),))]


def know(places: Places, tx: Transaction, names: Sequence[str]) -> Steps[Answer]:
    for name in names:
        yield from tx.insert_new(places.schedules, {"name": name, "last_tick": tx.now}, ("name",))
    return NOTHING


def look(places: Places, tx: Transaction, names: Sequence[str]) -> Answer:
    found = [values for _, values in places.schedules.rows(tx) if values["name"] in names]
    return [_Look((values["name"], values["last_tick"], tx.now)) for values in found]


def take_tick(places: Places, tx: Transaction, name: str, due: datetime) -> Steps[Answer]:
    row = places.schedules.find(tx, name)
    values = None if row is None else row.seen_by(tx)
    if row is None or values is None or values["last_tick"] >= due:
        return NOTHING
    newest = yield from tx.lock(row)
    if newest is None or newest["last_tick"] >= due:
        return NOTHING
    tx.update(row, last_tick=due)
    return [_Name((name,))]


STATEMENTS = {
    "TAKE": (slots.TAKE, take_slot),
    "RELEASE": (slots.RELEASE, release_slot),
    "KNOW": (schedules.KNOW, know),
    "LOOK": (schedules.LOOK, look),
    "TAKE_TICK": (schedules.TAKE, take_tick),
}
