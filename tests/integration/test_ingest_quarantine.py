"""Whoever runs the app can see what could not be kept, and it does not grow for ever."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.common.clock import SystemClock
from libs.common.db import open_pool
from services.ingest.config import Settings
from services.ingest.upkeep import Upkeep
from tests.environment import MakeSettings
from tests.integration.ingest_kit import OTHER_SHOP, SHOP, Ingesting, add_key, event, ingesting

OPS = "ops-token"


@pytest.fixture
async def door(database: str, settings: MakeSettings) -> AsyncIterator[Ingesting]:
    async with ingesting(settings(Settings, database_url=database, ops_token=OPS)) as running:
        yield running


async def asked(door: Ingesting, token: str = OPS, **query: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with door.client.get("/ingest/quarantine", params=query, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_it_is_shown_newest_first_by_cause_and_by_shop(door: Ingesting) -> None:
    other = await add_key(door.database, OTHER_SHOP)
    await door.send([7, event(id=""), b"half".decode()])
    await door.send({"key": other, "version": "2.0", "events": [8]}, key="")
    status, content = await asked(door)
    assert status == 200
    assert [(row["shop"], row["cause"]) for row in content["quarantine"]] == [
        (OTHER_SHOP, "not_an_event"), (SHOP, "not_an_event"), (SHOP, "no_id"), (SHOP, "not_an_event"),
    ]  # fmt: skip
    assert content["quarantine"][0]["sample"] == "8"
    assert {row["cause"]: row["events"] for row in content["causes"]} == {"no_id": 1, "not_an_event": 3}
    by_cause = (await asked(door, cause="no_id"))[1]["quarantine"]
    assert [row["cause"] for row in by_cause] == ["no_id"]
    assert len((await asked(door, shop=OTHER_SHOP))[1]["quarantine"]) == 1


async def test_pages_follow_each_other(door: Ingesting) -> None:
    await door.send(list(range(5)))
    samples, cursor = [], None
    while True:
        _, content = await asked(door, limit="2", **({"cursor": cursor} if cursor else {}))
        samples += [row["sample"] for row in content["quarantine"]]
        if (cursor := content["next"]) is None:
            break
    assert samples == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    "query", [{"cause": "x"}, {"shop": "x"}, {"limit": "0"}, {"cursor": "x"}, {"limit": "9" * 30}]
)
async def test_a_wrong_question_is_refused(door: Ingesting, query: dict[str, str]) -> None:
    assert (await asked(door, **query))[0] == 400


async def test_it_is_for_operators_only(door: Ingesting) -> None:
    assert (await asked(door, token="x"))[0] == 401


async def test_the_oldest_are_forgotten(door: Ingesting) -> None:
    await door.send(list(range(10)))
    await door.database.execute(
        "UPDATE ingest.quarantine SET at = now() - interval '30 days' WHERE sample > '7'"
    )
    async with open_pool(door.settings) as pool:
        await Upkeep(pool, SystemClock(), 3.0, keep=5, days=14).tidy()
    left = await door.database.fetch("SELECT sample FROM ingest.quarantine ORDER BY id")
    assert [row["sample"] for row in left] == ["5", "6", "7"]
