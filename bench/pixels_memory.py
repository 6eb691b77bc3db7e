"""Whether ingest and worker stay as small as they were, over millions of pixel events."""

import psutil

from bench.pixel_load import Pixels, Stored
from bench.pixels import CONNECTIONS, opened, settings
from bench.processes import Processes
from bench.result import Ratio, Result, Table
from bench.scale import Scale
from libs.common.migrate import migrate
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode

EVENTS_AT_ONCE = 100
STEPS = 10
LONGEST_SECONDS = 10.0  # of load, until the next word about how far it is
_MB = 1024 * 1024

NOTE = (
    f"Resident memory, read when all that was sent is stored. Batches of {EVENTS_AT_ONCE}, {CONNECTIONS} connections, "
    "with RabbitMQ; each event of another visitor, on another page and with another browser, so that whatever is "
    "remembered of these would grow."
)


async def run(scale: Scale) -> Result:
    """Sends until so many events are rows; the size after the first tenth is what the last is compared with."""
    sizes = list[tuple[int, float, float]]()
    with PostgresServer() as postgres, RabbitNode() as rabbit:
        postgres.create_database("pixels")
        url = postgres.url("pixels")
        migrate(url)
        with Processes(settings(url)) as processes:
            async with opened(processes, url) as pixels:
                port, ingest = await processes.started("services.ingest", RABBITMQ_URL=rabbit.url)
                _, worker = await processes.started("services.worker", RABBITMQ_URL=rabbit.url)
                stored, last = 0, Stored(rate=0.0, accepted=0.0)
                for step in range(1, STEPS + 1):
                    while (missing := scale.pixel_events * step // STEPS - stored) > 0:
                        scale.progress(f"{stored:,} of {scale.pixel_events:,} events, {last.rate:,.0f}/s")
                        last = await _some(pixels, port, missing, last)
                        stored += last.rows
                    sizes.append((stored, _size(ingest), _size(worker)))
    return _result(sizes)


async def _some(pixels: Pixels, port: int, missing: int, last: Stored) -> Stored:
    """About as many as are missing, by the pace at which the last were accepted."""
    seconds = min(LONGEST_SECONDS, missing / last.accepted) if last.accepted else 1.0
    return await pixels.sent_to(
        port, events=EVENTS_AT_ONCE, seconds=seconds, connections=CONNECTIONS, diverse=True
    )


def _size(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / _MB


def _result(sizes: list[tuple[int, float, float]]) -> Result:
    first, last = sizes[0], sizes[-1]
    return Result(
        "pixels_memory",
        "Memory over many pixel events",
        ratios=(
            Ratio("ingest, last ÷ first tenth", [last[1] / first[1]], target=1.2, most=True),
            Ratio("worker, last ÷ first tenth", [last[2] / first[2]], target=1.2, most=True),
        ),
        tables=(Table(("events stored", "ingest MB", "worker MB"), sizes),),
        notes=(NOTE,),
    )
