"""One shop sends everything at once while others send one webhook a second: what that does to the others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg

from bench import stage
from bench.feeder import Feeder
from bench.latency import ROUTES, TOPIC, System, system
from bench.load import Webhooks
from bench.processes import Processes
from bench.result import Result, Row, Table, median, percentile
from bench.rounds import interleaved, ratio
from bench.scale import Scale
from bench.sender import Sender, paced
from libs.common.contracts.topology import Lane
from libs.common.settings import CommonSettings

_SHOPS = 19
_CRITICAL_RATE = 5.0
_CRITICAL_SHOP = "critical.myshopify.com"
_CONNECTIONS = 128
_MOST_SECONDS = 180.0
_FLOOD_LEFT = "SELECT EXISTS (SELECT FROM webhooks.outbox WHERE lane = 'overflow')"

ALONE, FLOODED = "alone", "during the flood"

NOTE = (
    f"{_SHOPS} shops send a webhook a second each; another one sends its webhooks over {_CONNECTIONS} "
    f"connections as fast as they are answered; {_CRITICAL_RATE:g} critical messages a second beside "
    "them. From the commit that accepts to the handler's, until the flood is worked off. One webhooks "
    "process, one worker, and the load generator on the same cores."
)


@dataclass(frozen=True, slots=True)
class Others:
    """What the quiet shops and the critical lane saw, in milliseconds."""

    p50: float
    p99: float
    critical: float  # p99
    answered: float  # p99 of the quiet shops' answers


async def run(scale: Scale) -> Result:
    """Both routes, each alone and flooded in turns."""
    with stage.opened(rabbit=True) as servers, Processes({}) as processes:
        webhooks = Webhooks(processes.folder)
        async with AsyncExitStack() as stack:
            sides: dict[str, Callable[[], Awaitable[Others]]] = {}
            for route in ROUTES:
                shares = {"SHOP_SHARE_BURST": str(CommonSettings.model_fields["shop_share_burst"].default)}
                one = await stack.enter_async_context(system(servers, processes, route, **shares))
                feeder = await stack.enter_async_context(Feeder.opened(one.settings))
                sides[f"{route}, {ALONE}"] = partial(_alone, one, feeder, scale)
                sides[f"{route}, {FLOODED}"] = partial(_flooded, one, feeder, webhooks, scale)
            figures = await interleaved(sides, max(1, scale.few_rounds // 2), scale.progress)
    return _result(figures, scale)


async def _alone(system: System, feeder: Feeder, scale: Scale) -> Others:
    async with _quiet(system, feeder) as answers:
        await asyncio.sleep(5 * scale.seconds)
    return await _seen(system, answers)


async def _flooded(system: System, feeder: Feeder, webhooks: Webhooks, scale: Scale) -> Others:
    async with _quiet(system, feeder) as answers:
        await webhooks.sent_to(
            system.port, seconds=_MOST_SECONDS, connections=_CONNECTIONS, topic=TOPIC, most=scale.flood
        )
        await _worked_off(system.conn)
    return await _seen(system, answers)


async def _worked_off(conn: asyncpg.Connection) -> None:
    async with asyncio.timeout(_MOST_SECONDS):
        while await conn.fetchval(_FLOOD_LEFT):  # noqa: ASYNC110 - what is awaited is in Postgres
            await asyncio.sleep(0.2)


@asynccontextmanager
async def _quiet(system: System, feeder: Feeder) -> AsyncIterator[list[float]]:
    """The others' traffic; gives the list that the answers' times go to."""
    answers: list[float] = []
    stop = asyncio.Event()
    async with Sender.opened(system.port) as sender, asyncio.TaskGroup() as tasks:
        shops = iter(range(10**9))

        async def webhook() -> float:
            return await sender.send(TOPIC, f"quiet-{next(shops) % _SHOPS}.myshopify.com")

        async def critical() -> float:
            await feeder.one("webhook.bench.one", shop=_CRITICAL_SHOP, lane=Lane.CRITICAL)
            return 0.0

        tasks.create_task(_for_ever(webhook, float(_SHOPS), stop, answers))
        tasks.create_task(_for_ever(critical, _CRITICAL_RATE, stop, []))
        try:
            yield answers
        finally:
            stop.set()


async def _for_ever(
    send: Callable[[], Awaitable[float]], rate: float, stop: asyncio.Event, answers: list[float]
) -> None:
    while not stop.is_set():
        answers += await paced(rate, 1.0, send)


async def _seen(system: System, answers: list[float]) -> Others:
    await system.effects.settled()
    quiet = await system.effects.latencies("quiet-%")
    critical = await system.effects.latencies(_CRITICAL_SHOP)
    await system.forget()
    return Others(
        percentile(quiet, 0.5), percentile(quiet, 0.99), percentile(critical, 0.99), percentile(answers, 0.99)
    )


def _result(figures: Mapping[str, list[Others]], scale: Scale) -> Result:
    def column(route: str, when: str, name: str) -> list[float]:
        return [getattr(one, name) for one in figures[f"{route}, {when}"]]

    ratios = [
        ratio(
            f"{route} route, {what}: {FLOODED} ÷ {ALONE}",
            column(route, FLOODED, name),
            column(route, ALONE, name),
            target=2.0,
            most=True,
        )
        for route in ROUTES
        for what, name in (("p99 of the other shops", "p99"), ("p99 of the critical lane", "critical"))
    ]
    rows: list[Row] = [
        (side, *(median([getattr(one, name) for one in rounds]) for name in Others.__slots__))
        for side, rounds in figures.items()
    ]
    columns = ("", "others p50 ms", "p99 ms", "critical p99 ms", "others' answer p99 ms")
    return Result(
        "flood", f"A flood of {scale.flood:,} webhooks from one shop",
        ratios=ratios, tables=(Table(columns, rows),), notes=(NOTE,),
    )  # fmt: skip
