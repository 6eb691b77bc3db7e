"""Accepting a webhook: ours against the same door that stores nothing, and against one INSERT per request."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from bench.load import SECRET, Load, Webhooks
from bench.processes import Processes
from bench.result import Result, Table, median
from bench.rounds import interleaved, ratio
from bench.scale import Scale
from libs.common.migrate import migrate
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode

CONNECTIONS = 128

NOTHING = "stores nothing"
INSERT = "one INSERT per request"
POSTGRES = "shopbus, Postgres route"
RABBITMQ = "shopbus, with RabbitMQ"
DEAD = "shopbus, RabbitMQ dead"
MEANWHILE = "stores nothing, meanwhile"

NOTE = (
    f"{CONNECTIONS} connections, a body of 1.2 KB with its signature, one process; the load generator and all servers "
    "share the machine. Latencies are those of a door that is always full."
)


async def run(scale: Scale) -> Result:
    """All sides on one Postgres; RabbitMQ runs throughout, so that its idle cost falls on every side."""
    with PostgresServer() as postgres, RabbitNode() as rabbit:
        postgres.create_database("accept")
        migrate(postgres.url("accept"))
        settings = {
            "DATABASE_URL": postgres.url("accept"), "SHOPIFY_API_SECRET": SECRET, "OPS_TOKEN": "bench",
            "SERVICE_KEY": "bench" * 8,
            "SHOP_SHARE_BURST": "1000000000", "BROKER_HIGH_WATER": "1000000000",
        }  # fmt: skip
        with Processes(settings) as processes:
            webhooks = Webhooks(processes.folder)
            ports = await _started(processes, rabbit.url)
            sides = {name: partial(_loaded, webhooks, port, scale) for name, port in ports.items()}
            figures = await interleaved(sides, scale.rounds, scale.progress)
            rabbit.kill()
            figures |= await _dead(sides, scale)
    return _result(figures)


async def _started(processes: Processes, broker: str) -> dict[str, int]:
    ours = "services.webhooks"
    started = {
        NOTHING: await processes.started("bench.door", "nothing"),
        INSERT: await processes.started("bench.door", "insert"),
        POSTGRES: await processes.started(ours),
        RABBITMQ: await processes.started(ours, RABBITMQ_URL=broker),
    }
    return {name: port for name, (port, _) in started.items()}


async def _loaded(webhooks: Webhooks, port: int, scale: Scale) -> Load:
    return await webhooks.sent_to(port, seconds=scale.seconds, connections=CONNECTIONS)


async def _dead(sides: Mapping[str, Callable[[], Awaitable[Load]]], scale: Scale) -> dict[str, list[Load]]:
    """The side with RabbitMQ again, after its death, in turns with the one that it is compared with."""
    again = {DEAD: sides[RABBITMQ], MEANWHILE: sides[NOTHING]}
    return await interleaved(again, scale.rounds, scale.progress)


def _result(figures: Mapping[str, list[Load]]) -> Result:
    rates = {name: [load.rate for load in loads] for name, loads in figures.items()}
    base = rates[NOTHING]
    return Result(
        "accept",
        "Accepting a webhook",
        ratios=(
            ratio(f"{POSTGRES} ÷ {NOTHING}", rates[POSTGRES], base, target=0.9),
            ratio(f"{RABBITMQ} ÷ {NOTHING}", rates[RABBITMQ], base, target=0.75),
            ratio(f"{DEAD} ÷ {NOTHING}", rates[DEAD], rates[MEANWHILE], target=0.9),
            ratio(f"{INSERT} ÷ {NOTHING}", rates[INSERT], base),
            ratio(f"{POSTGRES} ÷ {INSERT}", rates[POSTGRES], rates[INSERT]),
        ),
        tables=(
            Table(
                ("", "requests/s", "p50 ms", "p99 ms", "p99.9 ms"),
                [(name, *map(median, _columns(loads))) for name, loads in figures.items()],
            ),
        ),
        notes=(NOTE,),
    )


def _columns(loads: list[Load]) -> list[list[float]]:
    return [[getattr(load, name) for load in loads] for name in ("rate", "p50", "p99", "p999")]
