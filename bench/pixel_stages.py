"""What a batch of pixel events costs, stage by stage, in one process and without anything waiting.

Processor time where the work is ours alone; where Postgres and RabbitMQ take part, the time until they have answered.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

import asyncpg

from bench.pixel_events import MARK, SHOP, batch
from bench.result import Table, percentile
from libs.common.contracts import pixel_frame
from libs.common.contracts.pixel_frame import COLUMNS, PixelEvent
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from libs.common.settings import CommonSettings
from libs.common.shopify.pixel_check import fits
from services.ingest import glance
from services.ingest.bodies import Batch
from services.ingest.events import Bounds, Judge
from services.ingest.frames import Frames, Request
from services.ingest.glance import Glance
from services.ingest.service import judged
from services.worker.handlers.pixels import STORE_EVENTS

EVENTS = 20
STAGES = (
    "read the body", "judge each event", "make a frame", "commit", "commit and publish with a confirm",
    "open a frame", "store as rows",
)  # fmt: skip


async def profile(url: str, broker: str, rounds: int) -> Table:
    """Microseconds an event, median of the rounds, for batches of 20."""
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    async with (
        open_pool(CommonSettings.load(database_url=url)) as pool,
        open_producer(CommonSettings.load(database_url=url), schema="ingest", pool=pool) as direct,
        open_producer(
            CommonSettings.load(database_url=url, rabbitmq_url=broker), schema="ingest", pool=pool
        ) as brokered,
    ):
        sides = (
            Frames(pool, direct, timeout=5, commit_seconds=5),
            Frames(pool, brokered, timeout=5, commit_seconds=5),
        )
        for number in range(rounds):
            await _round(f"p{number}", pool, sides, brokered, seconds)
        await direct.close()
    rows = [(stage, 1e6 * percentile(seconds[stage], 0.5) / EVENTS) for stage in STAGES]
    return Table((f"a batch of {EVENTS}, stage by stage", "µs an event"), rows)


async def _round(
    run: str, pool: asyncpg.Pool, sides: tuple[Frames, Frames], brokered: Any, seconds: dict[str, list[float]]
) -> None:
    ids = count()
    text = b"".join(
        part + (f"{run}-{next(ids)}".encode() if at < EVENTS else b"")
        for at, part in enumerate(batch(EVENTS).split(MARK.encode()))
    )
    read: Batch = _timed(seconds, STAGES[0], lambda: glance.read(text))
    events: list[PixelEvent] = _timed(
        seconds, STAGES[1], lambda: judged(Glance.at(text, _judge()), read.values, EVENTS)[0]
    )
    body: bytes = _timed(seconds, STAGES[2], lambda: pixel_frame.encode(events))
    request = Request(SHOP, events, (), sum(len(event.content) for event in events))
    await _timed_async(seconds, STAGES[3], lambda: sides[0].keep(request))

    async def published() -> None:
        await sides[1].keep(request)
        await brokered.broker.drained()

    await _timed_async(seconds, STAGES[4], published)
    frame = _timed(seconds, STAGES[5], lambda: pixel_frame.decode(body))
    shops = [SHOP] * len(frame)
    async with pool.acquire() as conn:
        assert len(frame.columns) == len(COLUMNS)  # noqa: S101 - the statement takes them in this order
        await _timed_async(
            seconds, STAGES[6], lambda: conn.execute(STORE_EVENTS, *frame.columns, shops, frame.contents)
        )


def _judge() -> Judge:
    bounds = Bounds(48 * 1024, 8_192, 3_600_000, 172_800_000)
    return Judge(bounds, fits, frozenset({SHOP}), "1.0.0", int(datetime.now(UTC).timestamp() * 1000))


def _timed(seconds: dict[str, list[float]], stage: str, work: Callable[[], Any]) -> Any:
    began = time.process_time()
    result = work()
    seconds[stage].append(time.process_time() - began)
    return result


async def _timed_async(
    seconds: dict[str, list[float]], stage: str, work: Callable[[], Awaitable[object]]
) -> None:
    began = time.perf_counter()
    await work()
    seconds[stage].append(time.perf_counter() - began)
