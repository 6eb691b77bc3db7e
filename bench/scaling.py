"""More processes, what a message costs, and what it costs to have nothing to do."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import asyncpg

from bench import fill, stage, usage
from bench.latency import ROUTES, TOPIC, System, system
from bench.load import Webhooks
from bench.processes import Processes
from bench.result import Result, Row, Table, median
from bench.rounds import interleaved, ratio
from bench.routes import DRAINED, KINDS, drained_by_worker
from bench.scale import Scale
from bench.stage import Stage

_COUNTS = (1, 2, 4)
_CONNECTIONS = 32  # to each process

NOTE = (
    "Postgres, all processes and the load generator share the cores, so that with two cores a second "
    "process mostly tells where the limit is: in the process, or in the machine. Processor time is that "
    "of our processes and of Postgres' own."
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one message."""

    rate: float
    ours: float  # milliseconds of processor time
    postgres: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Of a webhooks service and a worker with nothing to do, both together, per second."""

    cpu: float  # milliseconds, ours
    postgres: float
    wakeups: float
    queries: float
    webhooks_memory: float  # MiB
    worker_memory: float


async def run(scale: Scale) -> Result:
    """Workers draining, then webhooks processes accepting, then silence."""
    with stage.opened(rabbit=True) as servers:
        drained = await _workers(servers, scale)
        accepted = await _doors(servers, scale)
        with Processes({}) as processes:
            idle = {route: await _idle(servers, processes, route, scale) for route in ROUTES}
    return _result(drained, accepted, idle)


async def _workers(servers: Stage, scale: Scale) -> dict[str, list[Cost]]:
    url = await servers.database("workers")
    conn = await asyncpg.connect(url)
    sides: dict[str, Callable[[], Awaitable[Cost]]] = {
        _side(kind, count): partial(_draining, servers, url, conn, kind, count, scale)
        for kind in KINDS
        for count in _COUNTS
    }
    figures = await interleaved(sides, scale.few_rounds, scale.progress)
    await conn.close()
    return figures


def _side(kind: str, count: int) -> str:
    return f"{KINDS[kind]}, {count} workers" if count > 1 else f"{KINDS[kind]}, 1 worker"


async def _draining(
    servers: Stage, url: str, conn: asyncpg.Connection, kind: str, count: int, scale: Scale
) -> Cost:
    number = round(DRAINED[kind] * scale.seconds)
    with Processes(stage.environment(url)) as processes:
        pids = [(await processes.started("services.worker"))[1] for _ in range(count)]
        ours, theirs = usage.of(pids), usage.of([servers.postgres.pid])
        rate = await drained_by_worker(conn, kind, number)
        return _cost(
            rate, number, usage.of(pids).cpu - ours.cpu, usage.of([servers.postgres.pid]).cpu - theirs.cpu
        )


async def _doors(servers: Stage, scale: Scale) -> dict[str, list[Cost]]:
    url = await servers.database("doors")
    conn = await asyncpg.connect(url)
    with Processes(stage.environment(url)) as processes:
        doors = [await processes.started("services.webhooks") for _ in range(max(_COUNTS))]
        webhooks = Webhooks(processes.folder)
        sides: dict[str, Callable[[], Awaitable[Cost]]] = {
            f"accepting, {count} processes" if count > 1 else "accepting, 1 process":
                partial(_accepting, servers, conn, webhooks, doors[:count], scale)
            for count in _COUNTS
        }  # fmt: skip
        figures = await interleaved(sides, scale.few_rounds, scale.progress)
    await conn.close()
    return figures


async def _accepting(
    servers: Stage, conn: asyncpg.Connection, webhooks: Webhooks, doors: list[tuple[int, int]], scale: Scale
) -> Cost:
    pids = [pid for _, pid in doors]
    ours, theirs = usage.of(pids), usage.of([servers.postgres.pid])
    loads = await asyncio.gather(
        *(
            webhooks.sent_to(port, seconds=scale.seconds, connections=_CONNECTIONS, topic=TOPIC)
            for port, _ in doors
        )
    )
    number, rate = sum(load.requests for load in loads), sum(load.rate for load in loads)
    cost = _cost(
        rate, number, usage.of(pids).cpu - ours.cpu, usage.of([servers.postgres.pid]).cpu - theirs.cpu
    )
    await fill.forget(conn)
    return cost


def _cost(rate: float, number: int, ours: float, theirs: float) -> Cost:
    return Cost(rate, ours / number * 1e3, theirs / number * 1e3)


async def _idle(servers: Stage, processes: Processes, route: str, scale: Scale) -> Idle:
    scale.progress(f"nothing to do, {route} route")
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(system(servers, processes, route))
        await asyncio.sleep(3)  # until what a start brings is over
        return await _watched(servers, one, 3 * scale.seconds)


async def _watched(servers: Stage, one: System, seconds: float) -> Idle:
    queries, ours, theirs = (
        await usage.transactions(one.conn),
        usage.of(one.pids),
        usage.of([servers.postgres.pid]),
    )
    await asyncio.sleep(seconds)
    after, theirs_after = usage.of(one.pids), usage.of([servers.postgres.pid])
    passed = after.at - ours.at
    door, worker = one.pids
    return Idle(
        (after.cpu - ours.cpu) / passed * 1e3, (theirs_after.cpu - theirs.cpu) / passed * 1e3,
        (after.wakeups - ours.wakeups) / passed, (await usage.transactions(one.conn) - queries) / passed,
        usage.memory(door), usage.memory(worker),
    )  # fmt: skip


def _result(
    drained: Mapping[str, list[Cost]], accepted: Mapping[str, list[Cost]], idle: Mapping[str, Idle]
) -> Result:
    def rates(side: str, figures: Mapping[str, list[Cost]]) -> list[float]:
        return [cost.rate for cost in figures[side]]

    first, *more = accepted
    work = {
        f"{count} workers ÷ 1, {KINDS[kind]}": (
            rates(_side(kind, count), drained),
            rates(_side(kind, 1), drained),
        )
        for kind in KINDS
        for count in _COUNTS[1:]
    }
    rows: list[Row] = [
        (side, *(median([getattr(cost, name) for cost in rounds]) for name in Cost.__slots__))
        for side, rounds in {**drained, **accepted}.items()
    ]
    silent = [
        (f"{route} route", *(getattr(one, name) for name in Idle.__slots__)) for route, one in idle.items()
    ]
    return Result(
        "scaling",
        "More processes, and none of them busy",
        ratios=(
            *(ratio(what, many, single) for what, (many, single) in work.items()),
            *(ratio(f"{side} ÷ {first}", rates(side, accepted), rates(first, accepted)) for side in more),
        ),
        tables=(
            Table(("", "messages/s", "our ms a message", "Postgres' ms a message"), rows),
            Table(
                (
                    "with nothing to do",
                    "our CPU ms/s",
                    "Postgres' CPU ms/s",
                    "wake-ups/s",
                    "queries/s",
                    "webhooks MiB",
                    "worker MiB",
                ),
                silent,
            ),
        ),
        notes=(NOTE,),
    )
