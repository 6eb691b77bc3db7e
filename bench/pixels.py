"""Pixel events from HTTP batches to deduplicated rows, against one plain deduplicating INSERT of the same rows."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import asyncpg

from bench.pixel_events import SHOP
from bench.pixel_load import Pixels, Stored, plain
from bench.pixel_stages import profile
from bench.processes import Processes
from bench.result import Result, Table
from bench.rounds import interleaved, ratio
from bench.scale import Scale
from libs.common.migrate import migrate
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode

BATCHES = (1, 5, 20, 100)
CONNECTIONS = 32
PROFILED = 100  # batches
PLAIN = "one plain INSERT … ON CONFLICT from unnest"

NOTE = (
    f"From the first request to the last row, {CONNECTIONS} connections, events of a usual visit of about 2 KB. One "
    "ingest and one worker process, Postgres and the load generator share the machine; the plain INSERT has it alone, "
    "in one process and one connection, with the rows made before, on a table that has only its key."
)

ADD_SHOP = "INSERT INTO ingest.extensions (shop, wanted, active) VALUES ($1, true, true)"
ADD_KEY = "INSERT INTO ingest.extension_keys (key, shop) VALUES ($1, $2)"


async def run(scale: Scale) -> Result:
    """All sizes of batches on both routes, in turns with the plain statement."""
    with PostgresServer() as postgres, RabbitNode() as rabbit:
        postgres.create_database("pixels")
        url = postgres.url("pixels")
        migrate(url)
        with Processes(settings(url)) as processes:
            async with opened(processes, url) as pixels:
                direct, _ = await processes.started("services.ingest")
                brokered, _ = await processes.started("services.ingest", RABBITMQ_URL=rabbit.url)
                await processes.started("services.worker", RABBITMQ_URL=rabbit.url)
                sides = {PLAIN: partial(plain, url, scale.seconds)}
                for route, port in (("Postgres", direct), ("RabbitMQ", brokered)):
                    for events in BATCHES if route == "RabbitMQ" else (20,):
                        sides[_name(events, route)] = partial(
                            pixels.sent_to,
                            port,
                            events=events,
                            seconds=scale.seconds,
                            connections=CONNECTIONS,
                        )
                figures = await interleaved(sides, scale.rounds, scale.progress)
                scale.progress("stage by stage")
                stages = await profile(url, rabbit.url, PROFILED)
    return _result(figures, stages)


def _name(events: int, route: str) -> str:
    return f"batches of {events}, {route} route"


def settings(url: str) -> dict[str, str]:
    """Of both processes: limits that nobody reaches."""
    huge = "1000000000"
    return {
        "DATABASE_URL": url, "SHOPIFY_API_KEY": "bench", "SHOPIFY_API_SECRET": "bench", "OPS_TOKEN": "bench",
        "SERVICE_KEY": secrets.token_hex(32), "INGEST_BODY_LIMIT_BYTES": "1000000",
        "INGEST_KEY_PER_SECOND": huge, "INGEST_KEY_BURST": huge,
        "INGEST_ADDRESS_PER_SECOND": huge, "INGEST_ADDRESS_BURST": huge,
    }  # fmt: skip


@asynccontextmanager
async def opened(processes: Processes, url: str) -> AsyncIterator[Pixels]:
    """A shop with a key, and who sends with it."""
    database, key = await asyncpg.connect(url), f"sbp_{secrets.token_hex(16)}"
    try:
        await database.execute(ADD_SHOP, SHOP)
        await database.execute(ADD_KEY, key, SHOP)
        yield Pixels(processes.folder, database, key)
    finally:
        await database.close()


def _result(figures: Mapping[str, list[Stored]], stages: Table) -> Result:
    rates = {name: [stored.rate for stored in all_stored] for name, all_stored in figures.items()}
    target = {_name(20, "RabbitMQ"): 0.7, _name(20, "Postgres"): 0.7}
    return Result(
        "pixels",
        "Pixel events from requests to rows",
        ratios=tuple(
            ratio(f"{name} ÷ {PLAIN}", found, rates[PLAIN], target=target.get(name))
            for name, found in rates.items()
            if name != PLAIN
        ),
        tables=(
            Table(
                ("", "rows/s", "accepted events/s", "p50 ms", "p99 ms"),
                [(name, *map(_median, _columns(all_stored))) for name, all_stored in figures.items()],
            ),
            stages,
        ),
        notes=(NOTE,),
    )


def _columns(all_stored: list[Stored]) -> list[list[float]]:
    return [[getattr(one, name) for one in all_stored] for name in ("rate", "accepted", "p50", "p99")]


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
