"""What comes between a backfill and Shopify while it is under way: each order is one message all the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from services.sandbox.weather import Mishap, Weather
from tests.integration.backfill_kit import SCOPES, Shop, begin, shop

ORDERS, PACK = 300, 250
LOOK_NOW = "UPDATE worker.backfills SET due_at = now()"


def setup(api: Weather | None = None, bulk: Weather | None = None) -> Setup:
    fine = Weather()
    return Setup(sizes=Sizes(orders=ORDERS), api_weather=api or fine, bulk_weather=bulk or fine)


async def test_an_operation_that_expires_is_begun_again(database: str, tmp_path: Path) -> None:
    weather = Weather({Mishap.EXPIRED: 1.0})
    async with shop(database, tmp_path, setup(bulk=weather)) as one:
        identifier = await begin(await one.local())
        row = await one.reached(identifier, lambda row: row["attempt"] == 2)
        assert (row["reason"], row["accepted"]) == ("the bulk operation came to nothing: expired", 0)
        weather.shares.clear()
        row = await one.over(identifier)
        assert (row["status"], row["accepted"], row["repeated"]) == ("completed", ORDERS, 0)
        assert await one.times_accepted() == [1] * ORDERS


@asynccontextmanager
async def amid_reading(
    database: str, folder: Path, mishap: Mishap
) -> AsyncIterator[tuple[Shop, Weather, str]]:
    """A backfill that has taken in a pack, when Shopify closes the shop to the app; another worker goes on."""
    weather = Weather()
    async with shop(database, folder, setup(weather)) as one:
        doomed = await one.worker(dies_at="pack committed, not announced")
        identifier = await begin(doomed.client)
        await doomed.process.wait()
        await one.stores.installed(
            SCOPES
        )  # retires auth's refresh token, so 401 cannot be helped by another token
        weather.shares[mishap] = 1.0
        await one.local()
        yield one, weather, identifier


async def stalled(one: Shop, identifier: str) -> asyncpg.Record:
    return await one.reached(identifier, lambda row: row["stalled_at"] is not None)


async def completed(one: Shop, identifier: str) -> None:
    row = await one.over(identifier)
    assert (row["status"], row["attempt"], row["accepted"]) == ("completed", 1, ORDERS)
    assert await one.times_accepted() == [1] * ORDERS


async def test_a_frozen_shop_is_waited_for_and_gone_on_with(database: str, tmp_path: Path) -> None:
    async with amid_reading(database, tmp_path, Mishap.FROZEN) as (one, weather, identifier):
        row = await stalled(one, identifier)
        assert (row["status"], row["accepted"], row["failures"]) == ("reading", PACK, 0)
        assert row["reason"] == "answered 402: Unavailable Shop"
        weather.shares.clear()  # the merchant has paid
        await one.pool.execute(LOOK_NOW)
        await completed(one, identifier)


async def test_a_shop_that_has_to_authorise_the_app_again_is_gone_on_with_when_it_has(
    database: str, tmp_path: Path
) -> None:
    async with amid_reading(database, tmp_path, Mishap.DISOWNED) as (one, weather, identifier):
        row = await stalled(one, identifier)
        assert (row["status"], row["accepted"], row["failures"]) == ("reading", PACK, 0)
        assert "the merchant has to open the app once" in row["reason"]
        weather.shares.clear()
        assert (await one.auth.exchange(token=await one.stores.session_token()))[0] == 200
        await completed(one, identifier)


@pytest.mark.parametrize("mishap", [Mishap.FROZEN, Mishap.DISOWNED])
async def test_a_shop_that_closes_while_shopify_works_is_gone_on_with(
    database: str, tmp_path: Path, mishap: Mishap
) -> None:
    weather = Weather()
    slow = Weather({Mishap.SLOW: 1.0}, delay=0.1)
    async with shop(database, tmp_path, setup(weather, slow)) as one:
        identifier = await begin(await one.local())
        await one.reached(identifier, lambda row: row["status"] == "running")
        weather.shares[mishap] = 1.0
        assert (await stalled(one, identifier))["status"] == "running"
        weather.shares.clear()
        await one.pool.execute(LOOK_NOW)
        await completed(one, identifier)
