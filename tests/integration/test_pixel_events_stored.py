"""From the pixel's request to rows, over the worker that takes them in."""

from collections.abc import AsyncIterator

import pytest

from services.ingest.config import Settings as IngestSettings
from services.worker.app import open_service as open_worker
from services.worker.config import Settings as WorkerSettings
from tests.environment import MakeSettings
from tests.integration.ingest_kit import SHOP, Ingesting, event, ingesting
from tests.waiting import poll

ROWS = "SELECT * FROM worker.pixel_events ORDER BY seq"
COUNT = "SELECT count(*) FROM worker.pixel_events"


@pytest.fixture
async def door(database: str, settings: MakeSettings) -> AsyncIterator[Ingesting]:
    async with (
        ingesting(settings(IngestSettings, database_url=database)) as running,
        open_worker(settings(WorkerSettings, database_url=database)),
    ):
        yield running


async def stored(door: Ingesting, number: int) -> bool:
    return await poll(lambda: _is(door, number))


async def _is(door: Ingesting, number: int) -> bool:
    return bool(await door.database.fetchval(COUNT) == number)


async def test_events_become_rows(door: Ingesting) -> None:
    await door.send([event(seq=n) for n in range(20)])
    assert await stored(door, 20)
    row = (await door.database.fetch(ROWS))[3]
    assert (row["shop"], row["name"], row["seq"], row["marks"]) == (SHOP, "page_viewed", 3, 0)


async def test_an_event_that_comes_again_is_stored_once(door: Ingesting) -> None:
    same = event()
    for _ in range(3):
        assert (await door.send([same, same])).status == 204
    await door.send(event(id="last"))
    assert await stored(door, 2)
