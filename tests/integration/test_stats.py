"""What was accepted is the sum of where it stands, at any instant."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Draft
from libs.common.outbox import gauges, metrics
from libs.common.outbox.open import open_producer
from libs.common.runtime import metrics as runtime_metrics
from libs.common.settings import CommonSettings
from services.worker import service
from services.worker.service import Books
from tests.environment import MakeSettings
from tests.integration.jobs_kit import Json, open_jobs_api
from tests.integration.places import Places, moving, open_places

PARTS = ("pending", "queued", "processing", "completed", "failed")


@pytest.fixture
async def places(database: str) -> AsyncIterator[Places]:
    async with open_places(database) as opened:
        yield opened


@pytest.fixture
def books(places: Places) -> Books:
    return Books(places.pool, SystemClock(), timeout=10)


def parts(stats: Json) -> int:
    return sum(stats[name] for name in PARTS)


async def fill(places: Places) -> None:
    """One pending, two queued, three being worked on and so on."""
    for number, place in enumerate(("pending", "queued", "processing", "scheduled", "failed"), start=1):
        for _ in range(number):
            await getattr(places, place)()
    await places.completed(route="rabbitmq")
    await places.completed(route="rabbitmq")
    await places.completed(outcome="unhandled")


async def test_every_place_is_counted(places: Places, books: Books) -> None:
    await fill(places)
    await places.of("worker").completed()
    stats = await service.stats(books)
    age = stats.pop("oldest_pending_age_seconds")
    assert age >= 0
    assert stats == {
        "accepted": 19,
        "duplicates": 0,
        "pending": 5,
        "scheduled": 4,
        "queued": 2,
        "processing": 3,
        "failed": 5,
        "completed": 4,
        "unhandled": 1,
        "routes": {"rabbitmq": 2, "postgres": 2},
    }
    assert stats["accepted"] == parts(stats)


async def test_the_oldest_pending_is_the_one_that_waits_longest(places: Places, books: Books) -> None:
    assert (await service.stats(books))["oldest_pending_age_seconds"] == 0
    await places.pending()
    await places.pool.execute("UPDATE webhooks.outbox SET ready_at = now() - interval '1 hour'")
    await places.of("worker").pending()
    assert 3600 <= (await service.stats(books))["oldest_pending_age_seconds"] < 7200


async def test_the_sum_holds_while_everything_moves(places: Places, books: Books) -> None:
    moves = 0

    async def move(source: str) -> None:
        nonlocal moves
        here = places.of(source)
        while True:
            message = await here.processing()
            await here.fail_once(message)
            await here.rush(message)
            await here.give_up(message)
            await here.rush(message)
            await here.complete(message)
            moves += 1

    seen: list[Json] = []
    async with moving(move("webhooks"), move("worker"), move("worker")) as check:
        while len(seen) < 60 or moves < 30:
            seen.append(await service.stats(books))
            check()
    assert len({stats["accepted"] for stats in seen}) > 10
    assert [parts(stats) for stats in seen] == [stats["accepted"] for stats in seen]


async def test_duplicates_are_counted(
    places: Places, books: Books, database: str, settings: MakeSettings
) -> None:
    made = settings(CommonSettings, database_url=database)
    async with open_producer(made, schema="webhooks", pool=places.pool) as producer:
        for _ in range(3):
            await producer.accept(Draft("webhook.orders.create", b"{}", key="the same"))
    stats = await service.stats(books)
    assert (stats["accepted"], stats["duplicates"]) == (1, 2)


async def test_the_api_answers_them(places: Places) -> None:
    await fill(places)
    async with open_jobs_api(places.pool) as api:
        answers = await asyncio.gather(*(api.get("/api/stats") for _ in range(20)))
    assert {parts(stats) for stats in answers} == {18}
    assert set(answers[0]) >= {"accepted", "duplicates", "scheduled", "unhandled", "routes", *PARTS}


class TestGauges:
    async def test_they_show_what_the_tables_hold(self, places: Places) -> None:
        await fill(places)
        await places.pool.execute("UPDATE webhooks.outbox SET ready_at = now() - interval '1 hour'")
        await gauges.refresh(places.pool, ["webhooks", "worker"], ["worker"])
        assert _value(metrics.PENDING, "webhooks", "default") == 6
        assert _value(metrics.PENDING, "webhooks", "bulk") == 0
        assert 3600 <= _value(metrics.OLDEST_AGE, "webhooks") < 7200
        assert _value(metrics.OLDEST_AGE, "worker") == 0
        assert _value(metrics.LEASED, "webhooks", "broker") == 2
        assert _value(metrics.LEASED, "webhooks", "worker") == 3
        assert _value(runtime_metrics.DLQ_SIZE, "exhausted") == 5
        assert _value(runtime_metrics.DLQ_SIZE, "poison") == 0
        assert _value(runtime_metrics.SCHEDULED, "worker") == 4

    async def test_they_fall_when_the_work_is_done(self, places: Places) -> None:
        message = await places.failed()
        await gauges.refresh(places.pool, ["webhooks"], ["worker"])
        assert _value(runtime_metrics.DLQ_SIZE, "exhausted") == 1
        await places.rush(message)
        await places.complete(message)
        await gauges.refresh(places.pool, ["webhooks"], ["worker"])
        assert _value(runtime_metrics.DLQ_SIZE, "exhausted") == 0
        assert _value(runtime_metrics.DLQ_OLDEST, "worker") == 0
        assert _value(metrics.PENDING, "webhooks", "default") == 0

    async def test_they_stop_counting_where_it_would_cost(
        self, places: Places, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gauges, "MOST", 3)
        for _ in range(5):
            await places.pending()
            await places.scheduled()
        await gauges.refresh(places.pool, ["webhooks"], ["worker"])
        assert _value(metrics.PENDING, "webhooks", "default") == 3
        assert _value(runtime_metrics.SCHEDULED, "worker") == 3


def _value(gauge: object, *labels: str) -> float:
    (sample,) = [
        sample
        for family in gauge.collect()  # type: ignore[attr-defined]
        for sample in family.samples
        if tuple(sample.labels.values()) == labels
    ]
    return float(sample.value)
