"""What became of everything in a world, in the words of the chaos suite, whose checker judges both."""

from collections.abc import Iterator, Mapping, Sequence

import orjson

from libs.common.contracts.topology import SOURCES
from tests.chaos.checker import Violation, violations
from tests.chaos.history import Effect, Ended, Failed, History, Sighting, Stored, Trouble
from tests.simulation.clock import BEGINNING
from tests.simulation.database import Database
from tests.simulation.database_heap import Values
from tests.simulation.handlers import EFFECTS, LIMITS, LINK_TYPE, QUIET_TYPE, TOPICS
from tests.simulation.world import World

_PLACES = {
    "webhooks.outbox": ("id", "pending"),
    "worker.scheduled": ("message_id", "pending"),
    "worker.failed": ("message_id", "failed"),
    "worker.history": ("message_id", "completed"),
}


def judge(world: World, sightings: Sequence[Sighting] = (), *, undisturbed: bool = False) -> list[Violation]:
    """Every promise that a finished world broke."""
    return violations(history(world, sightings, undisturbed=undisturbed), TOPICS)


def sightings(world: World) -> Iterator[Sighting]:
    """Where each accepted message stands, as `GET /api/jobs/{id}` would tell it."""
    places = {
        str(row[column]): (status, len(row["log"] or ()))
        for table, (column, status) in _PLACES.items()
        for row in world.database.tables[table]
    }
    for message_id in dict.fromkeys(request.message_id for request in world.shopify.requests()):
        if message_id is not None:
            status, attempts = places.get(message_id, ("missing", 0))
            yield Sighting(message_id, status, attempts, world.loop.time())


def history(world: World, seen: Sequence[Sighting], *, undisturbed: bool) -> History:
    """All of it, in the chaos suite's words."""
    database = world.database
    return History(
        requests=tuple(sorted(world.shopify.requests(), key=lambda request: request.invoked)),
        stored=tuple(_stored(database)),
        effects=tuple(_effects(database)),
        ended=tuple(_ended(row) for row in database.tables["worker.history"]),
        failed=tuple(_failed(row) for row in database.tables["worker.failed"]),
        runs=tuple(world.diary.runs),
        sightings=tuple(seen),
        troubles=(*world.troubles, *_untaken(world)),
        left=left(database),
        limits=LIMITS,
        undisturbed=undisturbed,
    )


def _untaken(world: World) -> Iterator[Trouble]:
    """What the loop met and nobody took."""
    for context in world.loop.errors:
        yield Trouble("loop", f"{context['message']}: {context.get('exception')!r}")


def left(database: Database) -> Mapping[str, str]:
    """Messages that wait, and where."""
    outboxes = {
        str(row["id"]): f"outbox of {source}, {row['holder'] or 'free'}"
        for source in SOURCES
        for row in database.tables[f"{source}.outbox"]
    }
    scheduled = {
        str(row["message_id"]): f"scheduled: {row['reason']}" for row in database.tables["worker.scheduled"]
    }
    return outboxes | scheduled


def _stored(database: Database) -> Iterator[Stored]:
    for source in SOURCES:
        for row in database.tables[f"{source}.messages"]:
            root = orjson.loads(row["body"])["root"] if row["type"] == LINK_TYPE else None
            yield Stored(str(row["id"]), source, row["type"], row["shop"], row["key"], root)


def _effects(database: Database) -> Iterator[Effect]:
    for row in database.tables[EFFECTS]:
        yield Effect(row["message_id"], row["handler"], row["root"], 0.0)
    for row in database.tables["worker.history"]:
        if row["type"] == QUIET_TYPE:  # its end is its effect
            yield Effect(str(row["message_id"]), "quiet", str(row["message_id"]), 0.0)


def _ended(row: Values) -> Ended:
    errors = tuple(entry["error"] or "" for entry in row["log"] or ())
    at = (row["finished_at"] - BEGINNING).total_seconds()
    return Ended(
        str(row["message_id"]), row["type"], row["outcome"], row["attempts"], row["route"], errors, at
    )


def _failed(row: Values) -> Failed:
    return Failed(str(row["message_id"]), row["reason"], row["error"], row["attempts"])
