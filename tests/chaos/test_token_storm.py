"""Four processes, one shop, Shopify in bad weather, a merchant who cannot decide: in the end there is one good token."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from services.sandbox.weather import Mishap, Weather
from tests.chaos.storm import Storm, storm
from tests.e2e.stores import open_stores
from tests.waiting import poll

SHOP = "sandbox-001.myshopify.com"
CALLERS, REQUESTS, CHANGES = 20, 15, 3
BAD = {Mishap.UNHEARD: 0.1, Mishap.UNTOLD: 0.1, Mishap.CUT_OFF: 0.1, Mishap.TOO_MANY: 0.05}

UNDER_WAY = """
SELECT (SELECT count(*) FROM webhooks.outbox) + (SELECT count(*) FROM auth.outbox WHERE destination = 'auth')
     + (SELECT count(*) FROM auth.scheduled)
"""
FAILED = "SELECT count(*) FROM auth.failed"
UNINSTALLS = "SELECT count(*) FROM auth.history WHERE outcome = 'completed'"


async def call(one: Storm) -> None:
    """What pages and workers do, at any of the processes."""
    for _ in range(REQUESTS):
        what = one.draw.choices([one.token, one.renew, one.open_page, one.age], [4, 2, 3, 1])[0]
        await what(one.any())


async def change_minds(one: Storm, pause: float) -> None:
    """The merchant removes the app and installs it again, and again."""
    for _ in range(CHANGES):
        await asyncio.sleep(pause)  # work in between, so that there is something to lose
        await one.uninstall()
        await one.installed()


async def nothing_under_way(one: Storm) -> bool:
    return await one.stores.pool.fetchval(UNDER_WAY) == 0


async def has_one_good_token(one: Storm) -> None:
    """The merchant opens the app once more; then every process gives the same token, and Shopify takes it."""
    assert await one.open_page(one.any(), online=True) == 200
    given = [await one.token(client) for client in one.clients]
    assert {status for status, _ in given} == {200}
    tokens = {said["access_token"]: said["version"] for _, said in given}
    assert len(tokens) == 1
    token, version = tokens.popitem()
    assert await one.works(token)
    status, said = await one.token(one.any(), refused=str(version))
    assert (status, said["access_token"] != token) == (200, True)
    assert await one.works(said["access_token"])


@pytest.mark.parametrize("seed", [1, 2])
async def test_nobody_is_locked_out(database: str, tmp_path: Path, seed: int) -> None:
    weather = Weather(draw=Random(seed))
    async with (
        open_stores(database, tmp_path, weather) as stores,
        storm(stores, SHOP, tmp_path, processes=4, draw=Random(seed)) as one,
    ):
        await one.installed()
        weather.shares = BAD
        await asyncio.gather(change_minds(one, 0.5), *(call(one) for _ in range(CALLERS)))
        weather.shares = {}
        await poll(lambda: nothing_under_way(one), within=60)
        assert await stores.pool.fetchval(FAILED) == 0
        assert await stores.pool.fetchval(UNINSTALLS) >= CHANGES
        assert min(weather.seen[mishap] for mishap in Mishap) > 0
        await has_one_good_token(one)
        assert {status for _, status in one.answers} <= {200, 302, 401, 404, 409, 503}
