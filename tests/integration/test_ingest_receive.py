"""What the pixel sends is kept, whatever its form, and answered after the commit."""

from collections.abc import AsyncIterator

import pytest

from services.ingest.config import Settings
from tests.environment import MakeSettings
from tests.integration.ingest_kit import Ingesting, event, ingesting


@pytest.fixture
async def door(database: str, settings: MakeSettings) -> AsyncIterator[Ingesting]:
    async with ingesting(settings(Settings, database_url=database)) as running:
        yield running


async def test_one_event_is_kept(door: Ingesting) -> None:
    answer = await door.send(event(id="a"))
    assert answer.status == 204
    assert [row["id"] for row in await door.sent()] == ["a"]
