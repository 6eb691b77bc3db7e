"""Four processes, one shop, Shopify in bad weather, a merchant who cannot decide: one good token is left."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import ClientSession

from services.sandbox.weather import Mishap, Weather
from tests.chaos.token_storm import Storm, storm
from tests.e2e.stores import open_stores
from tests.waiting import poll

SHOP = "sandbox-001.myshopify.com"
CALLERS = 20
Doing = Callable[[ClientSession], Coroutine[Any, Any, object]]
BAD = {Mishap.UNHEARD: 0.1, Mishap.UNTOLD: 0.1, Mishap.CUT_OFF: 0.1, Mishap.TOO_MANY: 0.05}

UNDER_WAY = """
SELECT (SELECT count(*) FROM webhooks.outbox WHERE destination = 'auth')
     + (SELECT count(*) FROM auth.outbox WHERE destination = 'auth')
     + (SELECT count(*) FROM auth.scheduled)
"""
FAILED = "SELECT count(*) FROM auth.failed"
UNINSTALLS = "SELECT count(*) FROM auth.history WHERE outcome = 'completed'"


async def call(one: Storm, over: asyncio.Event) -> None:
    """What pages and workers do, at any of the processes."""
    doing: list[Doing] = [one.token, one.renew, one.open_page, one.age]
    while not over.is_set():
        await one.draw.choices(doing, [4, 2, 3, 1])[0](one.any())


async def change_minds(one: Storm, times: int, over: asyncio.Event) -> None:
    """The merchant removes the app and installs it again, and again, each time after some work was done."""
    for _ in range(times):
        await worked(one)
        await one.uninstall()
        await one.installed()
    over.set()


async def worked(one: Storm) -> None:
    """Waits until every caller has had a few answers more."""
    enough = one.answers.total() + 3 * CALLERS
    await poll(lambda: one.answers.total() >= enough, within=60)


async def nothing_under_way(one: Storm) -> bool:
    return bool(await one.stores.pool.fetchval(UNDER_WAY) == 0)


async def has_one_good_token(one: Storm) -> None:
    """The merchant opens the app once more; then every process gives the same token, and Shopify takes it."""
    assert await one.open_page(one.any(), online=True) == 200
    given = [await one.token(client) for client in one.clients]
    assert {status for status, _ in given} == {200}
    tokens = {said["access_token"]: said["version"] for _, said in given}
    assert len(tokens) == 1
    token, version = tokens.popitem()
    assert await one.works(token)
    made = await poll(lambda: replaced(one, version))
    assert made != token
    assert await one.works(made)


async def replaced(one: Storm, version: int) -> str:
    """The token in place of a version; nothing while a process still leaves Shopify alone, as the weather was bad."""
    status, said = await one.token(one.any(), refused=str(version))
    assert status in {200, 503}
    return str(said["access_token"]) if status == 200 else ""


async def weathered(database: str, folder: Path, seed: int, *, changes: int) -> None:
    weather = Weather(draw=Random(seed))
    async with (
        open_stores(database, folder, weather) as stores,
        storm(stores, SHOP, folder, processes=4, draw=Random(seed)) as one,
    ):
        await one.installed()
        weather.shares = BAD
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(change_minds(one, changes, over))
            for _ in range(CALLERS):
                group.create_task(call(one, over))
        weather.shares = {}
        await poll(lambda: nothing_under_way(one), within=60)
        assert await stores.pool.fetchval(FAILED) == 0
        assert await stores.pool.fetchval(UNINSTALLS) >= changes
        assert {status for _, status in one.answers} <= {200, 302, 401, 404, 409, 503}
        assert sum(weather.seen.values()) > 2 * changes
        await has_one_good_token(one)


async def test_nobody_is_locked_out(database: str, tmp_path: Path) -> None:
    await weathered(database, tmp_path, 1, changes=4)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
async def test_nobody_is_locked_out_for_long(database: str, tmp_path: Path, seed: int) -> None:
    await weathered(database, tmp_path, seed, changes=25)
