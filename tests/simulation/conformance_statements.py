"""Every statement that the model knows, as a call of production code that runs on either server, drawn at random."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from hypothesis import strategies as st

from libs.common.contracts.envelope import Draft, Message
from libs.common.contracts.topology import SOURCES, Lane
from libs.common.db import Connection
from libs.common.ids import id_floor
from libs.common.outbox import claim_store, end_store, put_store
from libs.common.outbox.claim_store import ClaimPlan
from libs.common.outbox.end_store import Attempt, Ending
from libs.common.outbox.names import bind
from libs.common.outbox.put_store import Outgoing
from libs.common.outbox.wakes import channel
from libs.common.runtime import schedules, slots

CONSUMER, PROGRAM = "worker", "erp"
EFFECTS = "CREATE TABLE worker.effects (message_id uuid, note text, at timestamptz DEFAULT now())"
EFFECT = "INSERT INTO worker.effects (message_id, note) VALUES ($1, $2)"

_MOMENT = datetime(2026, 11, 27, 12, tzinfo=UTC)
_FIRST = id_floor(_MOMENT).int
_IDS = tuple(UUID(int=_FIRST | number) for number in range(1, 4))
_NEW_IDS = tuple(UUID(int=_FIRST | number) for number in range(3, 12))
_ATTEMPT = Attempt(_MOMENT, _MOMENT, "it failed", "postgres")


@dataclass(frozen=True, slots=True)
class Call:
    """One statement with its arguments."""

    function: Callable[..., Awaitable[object]]
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    async def run(self, conn: Connection) -> object:
        return plain(await self.function(conn, *self.arguments, **dict(self.options)))

    def __repr__(self) -> str:
        said = [*map(repr, self.arguments), *(f"{name}={value!r}" for name, value in self.options)]
        return f"{self.function.__name__}({', '.join(said)})"


def plain(result: object) -> object:
    """A result in which the order says nothing that Postgres promises."""
    if isinstance(result, asyncpg.Record) or hasattr(result, "columns"):
        return tuple(result)  # type: ignore[arg-type]
    return sorted(map(plain, result), key=repr) if isinstance(result, list | set) else result


def _replay(statement: str, name: str) -> Callable[..., Awaitable[object]]:
    async def replay(conn: Connection, source: str, message_id: UUID) -> object:
        text = bind(statement, source=source, consumer=CONSUMER)
        return await conn.fetchval(text, source, message_id, CONSUMER)

    replay.__name__ = name
    return replay


async def take_slot(conn: Connection, key: int, limit: int, others: Sequence[int]) -> object:
    return await conn.fetch(bind(slots.TAKE, consumer=CONSUMER), key, limit, others, -1.0)


async def release_slot(conn: Connection, key: int, number: int) -> object:
    return await conn.fetch(bind(slots.RELEASE, consumer=CONSUMER), key, number)


async def know(conn: Connection, names: Sequence[str]) -> None:
    await conn.execute(bind(schedules.KNOW, consumer=CONSUMER), names)


async def look(conn: Connection, names: Sequence[str]) -> object:
    return await conn.fetch(bind(schedules.LOOK, consumer=CONSUMER), names)


async def take_tick(conn: Connection, name: str, due: datetime) -> object:
    return await conn.fetch(bind(schedules.TAKE, consumer=CONSUMER), name, due)


async def effect(conn: Connection, message_id: UUID, note: str) -> None:
    await conn.execute(EFFECT, message_id, note)


# what arguments are drawn from: few values, so that statements meet each other

_sources = st.sampled_from((SOURCES[0], SOURCES[0], SOURCES[1]))
_lanes = st.sampled_from((*[Lane.DEFAULT] * 5, Lane.BULK))
_some_lanes = st.sampled_from((tuple(Lane), (Lane.DEFAULT,)))
_ids = st.sampled_from(_IDS)
_some_ids = st.lists(_ids, min_size=1, max_size=3, unique=True)
_after = st.sampled_from((claim_store.FIRST_ID, *_IDS[:2]))
_limits = st.integers(1, 3)
_holders = st.sampled_from(("broker:a", "worker:b", "worker:c"))
_leases = st.sampled_from((-5.0, 60.0))
_names = st.sampled_from(("one", "two"))
_plans = st.builds(ClaimPlan, st.just(CONSUMER), _holders, _leases, st.sampled_from((0.0, 0.0, 100.0)))
_ticks = st.integers(2024, 2034).map(lambda year: datetime(year, 1, 1, tzinfo=UTC))


def _calls(
    function: Callable[..., Awaitable[object]], *arguments: Any, **options: Any
) -> st.SearchStrategy[Call]:
    return st.builds(
        Call,
        st.just(function),
        st.tuples(*arguments),
        st.fixed_dictionaries(options).map(dict.items).map(tuple),
    )


def _draft(shop: str, key: str | None, delay: float) -> Draft:
    headers = {"X-Shopify-Topic": "x"} if key else None
    return Draft("webhook.x", b"{}", shop=shop, key=key, delay=delay, headers=headers)


def _outgoing(message_id: UUID, draft: Draft, lane: Lane, leased: bool) -> Outgoing:
    return Outgoing(
        message_id, draft, lane, (CONSUMER,), leased and not draft.delay, _MOMENT, external=(PROGRAM,)
    )


_drafts = st.builds(
    _draft, st.sampled_from("xy"), st.sampled_from((None, "a", "b")), st.sampled_from((0.0, 0.0, 0.0, 30.0))
)
_outgoings = st.builds(_outgoing, st.sampled_from(_NEW_IDS), _drafts, _lanes, st.booleans())
_batches = st.lists(_outgoings, min_size=1, max_size=3)


def _waits(base: float, message_id: UUID) -> float:
    """No two messages are due at the same time, since their order would then be nobody's promise."""
    return base - _IDS.index(message_id) / 1000


def _delayed(message_id: UUID, lane: Lane, base: float) -> Outgoing:
    return Outgoing(
        message_id, _draft("x", None, _waits(base, message_id)), lane, (CONSUMER,), leased=False, time=_MOMENT
    )


_far_or_near = st.sampled_from((-9.0, -9.0, 90.0))


def _message(source: str, message_id: UUID) -> Message:
    return Message(id=message_id, type="webhook.x", source=source, shop="x", time=_MOMENT, body=b"{}")


def _ending(source: str, message_id: UUID, lane: Lane) -> Ending:
    return Ending(_message(source, message_id), lane, "completed", "handler", "postgres", _MOMENT)


def _endings(source: str, ids: Sequence[UUID], lane: Lane) -> list[Ending]:
    return [_ending(source, message_id, lane) for message_id in ids]


_messages = st.builds(_message, _sources, _ids)


def _scheduling(message: Message, lane: Lane, base: float, attempt: Attempt | None, counted: bool) -> Call:
    wait = _waits(base, message.id)
    options = {"delay_seconds": wait, "reason": "retry", "attempt": attempt, "counted": counted}
    return Call(end_store.schedule, (CONSUMER, message, lane), tuple(options.items()))


_CONSUMER, _EXTERNAL = st.just(CONSUMER), st.just(PROGRAM)
_PUT = _calls(put_store.put, _sources, _batches, holder=_holders, lease_seconds=_leases)
_TAKE = _calls(
    claim_store.claim,
    _sources,
    _plans | st.just(ClaimPlan(PROGRAM, "relay:d", -5.0)),
    lane=_lanes,
    after=_after,
    limit=_limits,
)
_END = _calls(end_store.end_one, _CONSUMER, st.builds(_ending, _sources, _ids, _lanes))
_SCHEDULE = st.builds(
    _scheduling, _messages, _lanes, _far_or_near, st.sampled_from((None, _ATTEMPT)), st.booleans()
)
_FAILED = (("reason", "never"), ("attempt", _ATTEMPT))
_FAIL = st.builds(Call, st.just(end_store.fail), st.tuples(_CONSUMER, _messages, _lanes), st.just(_FAILED))
_REPLAYS = st.one_of(
    _calls(_replay(end_store.REPLAY_FAILED, "replay_failed"), _sources, _ids),
    _calls(_replay(end_store.REPLAY_DONE, "replay_done"), _sources, _ids),
    _calls(_replay(end_store.RUSH, "rush"), _sources, _ids),
)
_MOVE_DUE = _calls(claim_store.move_due, _sources, _plans, _some_lanes, _limits)
_END_MANY = _calls(end_store.end_many, _CONSUMER, st.builds(_endings, _sources, _some_ids, _lanes))
_END_EXTERNAL = _calls(put_store.end_external, _sources, _EXTERNAL, _lanes, _some_ids)
_UPSERT = _calls(put_store.count_duplicates, _sources, _names, st.integers(1, 3))
_SUSPECT = _calls(claim_store.suspect, _sources, _plans, _lanes, _ids)
_SLOTS = st.one_of(
    _calls(take_slot, st.just(1), st.integers(1, 2), st.sampled_from(([], [0]))),
    _calls(release_slot, st.just(1), st.integers(0, 1)),
)
_TICKS = _calls(know, st.lists(_names, max_size=2)) | _calls(take_tick, _names, _ticks)

CALLS = st.one_of(
    _PUT,
    _TAKE,
    _END,
    _SCHEDULE,
    _MOVE_DUE,
    _FAIL,
    _REPLAYS,
    _END_MANY,
    _calls(put_store.delay, _sources, st.builds(_delayed, _ids, _lanes, _far_or_near)),
    _END_EXTERNAL,
    _calls(put_store.known, _sources, st.lists(_drafts, min_size=1, max_size=2)),
    _UPSERT,
    _calls(put_store.free, _sources, _holders, _CONSUMER, _lanes, _after),
    _calls(put_store.notify, st.lists(st.tuples(st.just(channel(CONSUMER)), _names), max_size=3)),
    _calls(claim_store.occupied, _sources, _CONSUMER, _some_lanes),
    _calls(claim_store.next_due, _CONSUMER, st.just(SOURCES), _some_lanes),
    _calls(claim_store.renew, _sources, _plans, _lanes, _some_ids),
    _calls(claim_store.give_back, _sources, _plans, _lanes, _some_ids, unharmed=st.booleans()),
    _calls(claim_store.take_over, _sources, _plans, _lanes, _some_ids, counted=st.booleans()),
    _calls(claim_store.writable),
    _SUSPECT,
    _SLOTS,
    _TICKS,
    _calls(look, st.just(["one", "two"])),
    _calls(effect, _ids, _names),
)
"""Every statement; one that changes much is drawn as often as one that does not, and batches make up for it."""

CONTENDED = st.one_of(
    _PUT, _END, _SCHEDULE, _FAIL, _END_MANY, _END_EXTERNAL, _SUSPECT, _REPLAYS, _SLOTS, _UPSERT, _TICKS
)
"""Those that may have to wait for another session."""


def beginning() -> list[Call]:
    """What a program begins with, so that there is something to work on in every table."""
    drafts = [_outgoing(one, _draft("x", None, 0.0), Lane.DEFAULT, leased=one is _IDS[0]) for one in _IDS]
    puts = [_put(source, drafts) for source in SOURCES]
    ended, failed, scheduled = _IDS
    return [
        *puts,
        Call(end_store.end_one, (CONSUMER, _ending(SOURCES[1], ended, Lane.DEFAULT))),
        Call(end_store.fail, (CONSUMER, _message(SOURCES[1], failed), Lane.DEFAULT), _FAILED),
        _scheduling(_message(SOURCES[1], scheduled), Lane.DEFAULT, -9.0, _ATTEMPT, counted=True),
    ]


def _put(source: str, batch: list[Outgoing]) -> Call:
    return Call(put_store.put, (source, batch), (("holder", "broker:a"), ("lease_seconds", 60.0)))
