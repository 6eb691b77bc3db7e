"""What a claim costs by how much is waiting, and while an old snapshot keeps Postgres from cleaning up."""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import asyncpg

from bench import fill, stage
from bench.result import Curve, Plot, Result, Row, Table, median, percentile
from bench.rounds import interleaved, ratio
from bench.scale import Scale
from bench.stage import Stage
from libs.common.clock import SystemClock
from libs.common.contracts.topology import Lane
from libs.common.db import HonestConnection
from libs.common.outbox import claim_store, end_store
from libs.common.outbox.claim_store import Claimed, ClaimPlan
from libs.common.outbox.end_store import Ending
from libs.common.runtime.claims import Claims

_SMALL = 10_000
_CLAIM = 100
_CLAIMS = 60  # of one turn: less than the small backlog, which is filled up again before each
_TYPE = "webhook.bench.batch"
_BODY = 100  # bytes: the backlog's length is the subject, and a million of them have to fit into memory
_ROUND = 2_000  # messages of one turn beside a snapshot, made and worked off

_SIZES = """
SELECT pg_table_size('webhooks.outbox') / 1048576.0::float8, pg_indexes_size('webhooks.outbox') / 1048576.0::float8
"""

STEADY, PINNED = "no old snapshot", "a snapshot held open"

NOTE = (
    f"The worker's own claims of {_CLAIM} rows, with its hints and sweeps, each followed by the end of "
    "the messages, in one process. Beside the open snapshot 2,000 messages are made and worked off in "
    "each turn, so that dead rows pile up for the whole run."
)


@dataclass
class Backlog:
    """A database, and a consumer's place in it."""

    conn: asyncpg.Connection
    took: list[float] = field(default_factory=list)  # milliseconds of each claim of the last turn

    def __post_init__(self) -> None:
        self._claims = Claims(("webhooks",), SystemClock())
        self._plan = ClaimPlan("worker", f"worker:{uuid4().hex}", 60.0)

    async def turn(self, claims: int) -> float:
        """Milliseconds of a claim, on average over so many of them."""
        self.took = []
        for _ in range(claims):
            if not (claimed := await self._claim()):
                break
            await end_store.end_many(self.conn, "worker", [_ending(one) for one in claimed])
        return sum(self.took) / len(self.took)

    async def _claim(self) -> list[Claimed]:
        started = time.perf_counter()
        if self._claims.sweep_due():
            self._claims.start_sweep()
            claimed = await self._look()
            self._claims.swept(time.perf_counter() - started)
        else:
            claimed = await self._look()
        self.took.append((time.perf_counter() - started) * 1e3)
        return claimed

    async def _look(self) -> list[Claimed]:
        spot = next(spot for spot in self._claims.spots if spot.lane is Lane.DEFAULT)
        after = self._claims.begin(spot)
        claimed = await claim_store.claim(
            self.conn, spot.source, self._plan, lane=spot.lane, after=after, limit=_CLAIM
        )
        self._claims.found(spot, [one.message.id for one in claimed], full=len(claimed) == _CLAIM)
        return claimed


def _ending(claimed: Claimed) -> Ending:
    return Ending(claimed.message, claimed.lane, "completed", "bench", "postgres", claimed.message.time)


async def run(scale: Scale) -> Result:
    """Backlogs of each size in turns, then steady work with and without a snapshot, then the drained tables."""
    with stage.opened() as servers:
        async with AsyncExitStack() as stack:
            deep = {number: await _opened(stack, servers, number) for number in (_SMALL, *scale.backlogs)}
            sides = {f"{number:,} waiting": partial(_claims, deep[number], number) for number in deep}
            claims = await interleaved(sides, scale.rounds, scale.progress)
            snapshots = await _beside_snapshot(stack, servers, scale)
            sizes = await _drained(deep[scale.backlogs[-1]], scale)
    return _result(claims, snapshots, sizes)


async def _opened(stack: AsyncExitStack, servers: Stage, number: int) -> Backlog:
    conn = await asyncpg.connect(
        await servers.database(f"backlog_{number}"), connection_class=HonestConnection
    )
    stack.push_async_callback(conn.close)
    await fill.fill(conn, number, _TYPE, body=_BODY)
    await fill.settle(conn)
    return Backlog(conn)


async def _claims(backlog: Backlog, number: int) -> list[float]:
    """Milliseconds of each claim. A small backlog is filled up first, a large one hardly shrinks."""
    if number == _SMALL:
        await fill.fill(backlog.conn, _CLAIMS * _CLAIM, _TYPE, body=_BODY)
    await backlog.turn(_CLAIMS)
    return backlog.took


async def _beside_snapshot(stack: AsyncExitStack, servers: Stage, scale: Scale) -> dict[str, list[float]]:
    steady, pinned = await _opened(stack, servers, 100), await _opened(stack, servers, 101)
    await steady.turn(10)
    await pinned.turn(10)
    turns = round(4 * scale.rounds * scale.seconds)
    with closing(servers.postgres.hold_snapshot("backlog_101")):
        sides: dict[str, Callable[[], Awaitable[float]]] = {
            STEADY: partial(_steady, steady),
            PINNED: partial(_steady, pinned),
        }
        return await interleaved(sides, turns, scale.progress)


async def _steady(backlog: Backlog) -> float:
    """Milliseconds of a claim while messages come and go."""
    await fill.fill(backlog.conn, _ROUND, _TYPE, body=_BODY)
    return await backlog.turn(_ROUND // _CLAIM)


async def _drained(backlog: Backlog, scale: Scale) -> dict[str, tuple[float, float]]:
    """MiB of the table and of its indexes: full, drained, and after the next vacuum."""
    scale.progress("draining the largest backlog")
    sizes = {"full": await _size(backlog.conn)}
    await backlog.turn(1_000_000)
    sizes["drained"] = await _size(backlog.conn)
    await fill.settle(backlog.conn)
    sizes["after VACUUM"] = await _size(backlog.conn)
    return sizes


def _compared(number: int) -> str:
    """Named alike whatever the scale, so that a short run can be held against a kept one."""
    return (
        "a long backlog ÷ 10,000 waiting" if number == 0 else "a backlog ten times as long ÷ 10,000 waiting"
    )


async def _size(conn: asyncpg.Connection) -> tuple[float, float]:
    [(table, indexes)] = await conn.fetch(_SIZES)
    return table, indexes


def _result(
    claims: Mapping[str, list[list[float]]],
    snapshots: Mapping[str, list[float]],
    sizes: Mapping[str, tuple[float, float]],
) -> Result:
    means = {name: [sum(took) / len(took) for took in rounds] for name, rounds in claims.items()}
    small, *deep = means
    half = len(snapshots[STEADY]) // 2  # by then the snapshot has something to hold
    rows: list[Row] = [
        (
            name,
            median(means[name]),
            *(percentile([ms for took in rounds for ms in took], share) for share in (0.5, 0.99)),
        )
        for name, rounds in claims.items()
    ]
    beside = [(name, sum(took[half:]) / len(took[half:])) for name, took in snapshots.items()]
    return Result(
        "backlog",
        "Claiming from a backlog",
        ratios=(
            *(
                ratio(_compared(number), means[name], means[small], target=1.2, most=True)
                for number, name in enumerate(deep)
            ),
            ratio(
                f"{PINNED} ÷ {STEADY}",
                snapshots[PINNED][half:],
                snapshots[STEADY][half:],
                target=1.1,
                most=True,
            ),
        ),
        tables=(
            Table(("a claim of 100", "mean ms", "p50 ms", "p99 ms"), rows),
            Table(("a claim of 100", "mean ms, second half"), beside),
            Table(("outbox", "table MiB", "indexes MiB"), [(name, *pair) for name, pair in sizes.items()]),
        ),
        plots=(
            Plot(
                "Claiming beside an open snapshot",
                "turn",
                "ms a claim",
                [Curve(name, range(1, len(took) + 1), took) for name, took in snapshots.items()],
            ),
        ),
        notes=(NOTE,),
    )
