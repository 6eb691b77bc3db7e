"""How long a message takes from the commit that accepts it to the commit of its handler, by load and by route."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg

from bench import fill, stage
from bench.effects import Effects
from bench.load import Webhooks
from bench.processes import Processes
from bench.result import Ratio, Result, Row, Table, median, percentile
from bench.rounds import interleaved
from bench.scale import Scale
from bench.sender import Sender, paced
from bench.stage import Stage

ROUTES = ("Postgres", "RabbitMQ")
LOADS = (0.1, 0.7)
TOPIC = "bench/one"
TARGET_MS = 25.0
_CONNECTIONS = 32

NOTE = (
    "One webhooks process and one worker, a handler with a transaction of its own. The maximum is what "
    "both do together: webhooks as fast as answers come, until every effect is there. Latencies by the "
    "commit times that Postgres keeps. Load generator and servers share the machine."
)


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds, at a load in webhooks per second."""

    load: float
    p50: float
    p99: float
    p999: float
    answered: float  # p99 of the answer to the sender


@dataclass(frozen=True, slots=True)
class System:
    """A webhooks service and a worker on a database of their own."""

    port: int
    effects: Effects
    conn: asyncpg.Connection
    settings: Mapping[str, str]
    pids: tuple[int, int]  # webhooks, worker

    async def forget(self) -> None:
        await fill.forget(self.conn)


@asynccontextmanager
async def system(servers: Stage, processes: Processes, route: str, **more: str) -> AsyncIterator[System]:
    """Both services on one route, running."""
    url = await servers.database(f"route_{route.lower()}")
    settings = stage.environment(url, **(servers.broker() if route == "RabbitMQ" else {})) | more
    _, worker = await processes.started("services.worker", **settings)
    port, door = await processes.started("services.webhooks", **settings)
    conn = await asyncpg.connect(url)
    try:
        yield System(port, Effects(conn), conn, settings, (door, worker))
    finally:
        await conn.close()


async def run(scale: Scale) -> Result:
    """Both routes' services run throughout."""
    with stage.opened(rabbit=True) as servers, Processes({}) as processes:
        webhooks = Webhooks(processes.folder)
        async with (
            system(servers, processes, ROUTES[0]) as first,
            system(servers, processes, ROUTES[1]) as second,
        ):
            systems = dict(zip(ROUTES, (first, second), strict=True))
            most = {route: await _most(systems[route], webhooks, scale) for route in ROUTES}
            sides: dict[str, Callable[[], Awaitable[Latency]]] = {
                _side(route, load): partial(_measured, systems[route], most[route] * load, scale)
                for route in ROUTES
                for load in LOADS
            }
            figures = await interleaved(sides, scale.rounds, scale.progress)
    return _result(most, figures)


async def _most(system: System, webhooks: Webhooks, scale: Scale) -> float:
    """Webhooks per second that are accepted and worked on, when as many are sent as are answered."""
    load = await webhooks.sent_to(system.port, seconds=scale.seconds, connections=_CONNECTIONS, topic=TOPIC)
    await system.effects.settled()
    pace = await system.effects.pace()
    await system.forget()
    return min(pace, load.rate)


async def _measured(system: System, rate: float, scale: Scale) -> Latency:
    async with Sender.opened(system.port) as sender:
        answers = await paced(rate, scale.seconds, partial(sender.send, TOPIC))
    await system.effects.settled()
    latencies = await system.effects.latencies()
    await system.forget()
    p50, p99, p999 = (percentile(latencies, share) for share in (0.5, 0.99, 0.999))
    return Latency(rate, p50, p99, p999, percentile(answers, 0.99))


def _side(route: str, load: float) -> str:
    return f"{route} route, {load:.0%} of the maximum"


def _result(most: Mapping[str, float], figures: Mapping[str, list[Latency]]) -> Result:
    low = [
        Ratio(
            f"p99 in ms, {_side(route, LOADS[0])}",
            [one.p99 for one in figures[_side(route, LOADS[0])]],
            TARGET_MS,
            most=True,
        )
        for route in ROUTES
    ]
    rows: list[Row] = [
        (side, *(median([getattr(one, name) for one in rounds]) for name in Latency.__slots__))
        for side, rounds in figures.items()
    ]
    columns = ("", "webhooks/s", "p50 ms", "p99 ms", "p99.9 ms", "answer p99 ms")
    maximum = Table(("", "maximum/s"), [(f"{route} route", rate) for route, rate in most.items()])
    return Result(
        "latency",
        "Latency from accept to effect",
        ratios=low,
        tables=(maximum, Table(columns, rows)),
        notes=(NOTE,),
    )
