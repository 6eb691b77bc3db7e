"""Both routes end to end, by kind of handler, against the least code that Postgres and RabbitMQ allow."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import asyncpg

from bench import fill, limits, raw_amqp, stage
from bench.effects import Effects
from bench.feeder import Feeder
from bench.processes import Processes
from bench.raw_amqp import Raw
from bench.result import Result, Row, Table, median
from bench.rounds import interleaved, ratio
from bench.scale import Scale
from bench.stage import Stage

KINDS = {"one": "one transaction a message", "together": "50 sharing one", "batch": "batches of 100"}
TARGETS = {"one": 0.8, "together": 0.7, "batch": 0.6}
RAW, RAW_TARGET = "raw", 0.7

# Messages in one turn: a few seconds for each kind on the machine the figures of the design come from.
DRAINED = {"one": 2_500, "together": 8_000, "batch": 20_000}  # for each second of the scale
FED = 2_000

_WORKS = {"one": (limits.one_by_one, 1), "together": (limits.sharing, 50), "batch": (limits.batch, 100)}
_ENDS = {
    "limit": {"one": limits.end_one, "together": limits.end_many, "batch": limits.end_many},
    "with history": {
        "one": limits.end_one_with_history,
        "together": limits.end_many_with_history,
        "batch": limits.end_many_with_history,
    },
}

NOTE = (
    f"A message has {fill.BODY_BYTES} bytes; its handler writes one row; one worker process. Postgres: a "
    "backlog is drained. RabbitMQ: so many messages are accepted as fast as commits go by one producer, "
    "until the last effect is there; beside it aio-pika alone publishes with confirms and acknowledges, "
    "through a quorum queue, and stores none."
)

Sides = Mapping[str, Callable[[], Awaitable[float]]]


async def run(scale: Scale) -> Result:
    """The worker of each route runs throughout, on a database of its own."""
    alone: list[Raw] = []
    with stage.opened(rabbit=True) as servers, Processes({}) as processes:
        async with (
            _postgres(servers, processes, scale) as drained,
            _rabbit(servers, processes, scale, alone) as fed,
        ):
            figures = await interleaved({**drained, **fed}, scale.rounds, scale.progress)
    return _result(figures, alone)


@asynccontextmanager
async def _postgres(servers: Stage, processes: Processes, scale: Scale) -> AsyncIterator[Sides]:
    ours, theirs = await servers.database("ours"), await servers.database("theirs")
    await processes.started("services.worker", **stage.environment(ours))
    mine, limit = await asyncpg.connect(ours), await asyncpg.connect(theirs)
    sides: dict[str, Callable[[], Awaitable[float]]] = {}
    for kind, (work, group) in _WORKS.items():
        number = round(DRAINED[kind] * scale.seconds)
        sides[f"Postgres, {kind}"] = partial(drained_by_worker, mine, kind, number)
        for name, ends in _ENDS.items():
            drain = partial(limits.drain, theirs, partial(work, end=ends[kind]), group=group)
            sides[f"{name}, {kind}"] = partial(_drained_by_limit, limit, drain, number)
    try:
        yield sides
    finally:
        await mine.close()
        await limit.close()


async def drained_by_worker(conn: asyncpg.Connection, kind: str, number: int) -> float:
    """Messages per second of the worker that runs on this database."""
    effects = Effects(conn)
    await fill.fill(conn, number, f"webhook.bench.{kind}")
    await effects.wait(number)
    pace = await effects.pace()
    await fill.forget(conn)
    return pace


async def _drained_by_limit(
    conn: asyncpg.Connection, drain: Callable[[], Awaitable[None]], number: int
) -> float:
    effects = Effects(conn)
    await fill.fill(conn, number, "webhook.bench.limit")
    await drain()
    await effects.wait(number)
    pace = await effects.pace()
    await fill.forget(conn)
    return pace


@asynccontextmanager
async def _rabbit(
    servers: Stage, processes: Processes, scale: Scale, alone: list[Raw]
) -> AsyncIterator[Sides]:
    url, broker = await servers.database("rabbit"), servers.broker()
    settings = stage.environment(url, BROKER_HIGH_WATER="1000000000", **broker)
    await processes.started("services.worker", **settings)
    number = round(FED * scale.seconds)
    async with Feeder.opened(settings) as feeder:
        conn = await asyncpg.connect(url)
        sides: dict[str, Callable[[], Awaitable[float]]] = {
            f"RabbitMQ, {kind}": partial(fed_to_worker, feeder, conn, kind, number) for kind in KINDS
        }
        try:
            yield {**sides, RAW: partial(_raw, broker["RABBITMQ_URL"], number, alone)}
        finally:
            await conn.close()


async def fed_to_worker(feeder: Feeder, conn: asyncpg.Connection, kind: str, number: int) -> float:
    """Messages per second from the first acceptance to the last effect."""
    effects, started = Effects(conn), time.time()
    await feeder.accept(number, f"webhook.bench.{kind}")
    await effects.wait(number)
    pace = number / (await effects.last() - started)
    await fill.forget(conn)
    return pace


async def _raw(url: str, number: int, alone: list[Raw]) -> float:
    alone.append(await raw_amqp.measured(url, number))
    return alone[-1].both


def _result(figures: Mapping[str, list[float]], alone: list[Raw]) -> Result:
    on_postgres = [
        ratio(
            f"Postgres, {kind} ÷ its limit",
            figures[f"Postgres, {kind}"],
            figures[f"limit, {kind}"],
            target=TARGETS[kind],
        )
        for kind in KINDS
    ]
    on_rabbitmq = [
        ratio(
            f"RabbitMQ, {kind} ÷ aio-pika alone",
            figures[f"RabbitMQ, {kind}"],
            figures[RAW],
            target=RAW_TARGET,
        )
        for kind in KINDS
    ]
    rows: list[Row] = [
        (
            text,
            *(
                median(figures[side])
                for side in (
                    f"Postgres, {kind}",
                    f"limit, {kind}",
                    f"with history, {kind}",
                    f"RabbitMQ, {kind}",
                    RAW,
                )
            ),
        )
        for kind, text in KINDS.items()
    ]
    return Result(
        "routes",
        "The two routes, end to end",
        ratios=(
            *on_postgres,
            *(
                ratio(
                    f"Postgres, {kind} ÷ its limit with a line of history",
                    figures[f"Postgres, {kind}"],
                    figures[f"with history, {kind}"],
                )
                for kind in KINDS
            ),
            *on_rabbitmq,
        ),
        tables=(
            Table(
                (
                    "messages/s",
                    "Postgres route",
                    "its limit",
                    "with history",
                    "RabbitMQ route",
                    "aio-pika alone",
                ),
                rows,
            ),
            Table(
                ("aio-pika alone", "messages/s"),
                [
                    ("publish with confirms", median([raw.published for raw in alone])),
                    ("consume and acknowledge", median([raw.consumed for raw in alone])),
                    ("both at once, end to end", median([raw.both for raw in alone])),
                ],
            ),
        ),
        notes=(NOTE,),
    )
