"""All tokens at once: sealed with a new key while the service runs, taken in from elsewhere, given an expiry."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from libs.common.outbox.faults import FaultPoints
from services.auth import upkeep
from services.auth.upkeep_store import Columns, NoSuchTable
from services.cli import token_work
from services.cli.token_work import Tools
from tests.integration.auth_kit import OTHER_SHOP, SHOP, TOKEN_KEY, Running, running

NEW_KEY = b64encode(bytes(range(1, 33))).decode()
BOTH = f"{NEW_KEY},{TOKEN_KEY}"
KEYS = "SELECT key_id, count(*) AS number FROM auth.sessions GROUP BY key_id"
AGE = "UPDATE auth.sessions SET expires_at = now()"
OLD_TABLE = """
CREATE TABLE public."Session" (shop text, "isOnline" boolean, scope text, "accessToken" text, "refreshToken" text)
"""
OLD_ROW = """INSERT INTO public."Session" VALUES ($1, $2, 'read_products,write_orders', $3, $4)"""
TABLE = 'public."Session"'
SHOPS = [f"shop-{number:03}.myshopify.com" for number in range(220)]


@pytest.fixture
async def auth(database: str) -> AsyncIterator[Running]:
    async with running(database) as one:
        yield one


async def in_command(auth: Running, work: Any, *arguments: Any, **changes: object) -> Any:
    """Runs a command's work on the same database, with other settings."""
    made = {name: value for name, value in auth.settings.model_dump().items() if value is not None}
    settings = type(auth.settings).load(**{**made, **changes})
    async with token_work.opened(settings) as tools:
        return await work(tools, *arguments)


async def old_app(auth: Running, *rows: tuple[str, bool, str, str | None]) -> None:
    await auth.pool.execute(OLD_TABLE)
    await auth.pool.executemany(OLD_ROW, rows)


async def plain(auth: Running, shops: list[str]) -> None:
    await old_app(auth, *((shop, False, f"shpat_old_{shop}", None) for shop in shops))
    assert await in_command(auth, token_work.adopt, TABLE, Columns()) == (len(shops), 0)


async def test_keys_are_rotated_while_tokens_are_renewed(auth: Running, database: str) -> None:
    await plain(auth, SHOPS)
    await auth.install()
    rotating = asyncio.create_task(in_command(auth, token_work.rotate, token_keys=BOTH))
    await auth.pool.execute("UPDATE auth.sessions SET expires_at = now() WHERE shop = $1", SHOP)
    assert (await auth.token())[0] == 200
    rotated = await rotating
    again = await in_command(auth, token_work.rotate, token_keys=BOTH)
    assert rotated.done + again.done >= len(SHOPS) + 1
    assert (again.failed, again.left) == (0, 0)
    known, counts = await in_command(auth, token_work.count_keys, token_keys=BOTH)
    assert counts == {known[0]: len(SHOPS) + 1}

    async with running(database, shopify=auth.shopify, token_keys=NEW_KEY) as now:
        assert (await now.token(SHOPS[3]))[1]["access_token"] == f"shpat_old_{SHOPS[3]}"
        assert (await now.token())[1]["access_token"] == auth.shopify.shops[SHOP].access


async def test_a_rotation_that_is_broken_off_is_gone_on_with(auth: Running) -> None:
    await plain(auth, SHOPS)
    batches = iter(range(3))

    async def die() -> None:
        if next(batches) == 1:
            raise ConnectionResetError

    async def broken_off(tools: Tools) -> None:
        faults = FaultPoints({"sealed anew, not committed": die})
        await upkeep.reseal(tools.pool, tools.tokens.vault, tools.timeout, lambda: None, faults)

    with pytest.raises(Exception, match="Postgres is away"):
        await in_command(auth, broken_off, token_keys=BOTH)
    assert sorted(row["number"] for row in await auth.pool.fetch(KEYS)) == [
        upkeep.BATCH,
        len(SHOPS) - upkeep.BATCH,
    ]
    rotated = await in_command(auth, token_work.rotate, token_keys=BOTH)
    assert (rotated.done, rotated.left) == (len(SHOPS) - upkeep.BATCH, 0)


async def test_sessions_of_a_lost_key_are_told_and_left_alone(auth: Running) -> None:
    await auth.install()
    rotated = await in_command(auth, token_work.rotate, token_keys=NEW_KEY)
    assert (rotated.done, rotated.failed, rotated.left) == (0, 1, 1)
    assert (await auth.token())[0] == 200


async def test_a_process_without_the_new_key_yet_asks_to_come_again(auth: Running, database: str) -> None:
    await auth.install()
    async with running(database, shopify=auth.shopify, token_keys=NEW_KEY) as other:
        status, problem = await other.token()
    assert (status, problem["type"]) == (503, "urn:shopbus:problem:try-later")


async def test_plain_tokens_are_taken_in_sealed_and_announced(auth: Running) -> None:
    await auth.install()
    await old_app(
        auth,
        (SHOP, False, "shpat_of_a_known_shop", None),
        (OTHER_SHOP, False, "shpat_plain", None),
        (OTHER_SHOP, True, "shpua_online", None),
        ("not a shop", False, "shpat_x", None),
    )  # fmt: skip
    assert await in_command(auth, token_work.plain_tokens, TABLE, Columns()) == 2
    assert await in_command(auth, token_work.adopt, TABLE, Columns()) == (1, 1)
    assert await in_command(auth, token_work.adopt, TABLE, Columns()) == (0, 2)
    status, given = await auth.token(OTHER_SHOP)
    assert (status, given["access_token"], given["scopes"]) == (
        200,
        "shpat_plain",
        "read_products,write_orders",
    )
    name, facts = (await auth.emitted())[-1]
    assert (name, facts["shop"]) == ("shop.installed", OTHER_SHOP)


async def test_a_token_that_came_with_a_refresh_token_is_renewed_at_its_first_use(auth: Running) -> None:
    code = auth.shopify.code(OTHER_SHOP)
    auth.shopify.codes.pop(code)
    auth.shopify._pair(OTHER_SHOP)  # the older app's grant
    held = auth.shopify.shops[OTHER_SHOP]
    await old_app(auth, (OTHER_SHOP, False, held.access, held.refresh))
    await in_command(auth, token_work.adopt, TABLE, Columns())
    assert (await auth.token(OTHER_SHOP))[1]["access_token"] == auth.shopify.shops[OTHER_SHOP].access
    assert auth.shopify.shops[OTHER_SHOP].shown == held.refresh


@pytest.mark.parametrize("table", ["nothing", "auth.shops", 'x; DROP TABLE auth.shops; --"', "a.b.c.d"])
async def test_a_table_that_has_no_tokens_is_said(auth: Running, table: str) -> None:
    with pytest.raises(NoSuchTable):
        await in_command(auth, token_work.plain_tokens, table, Columns())
    assert await auth.pool.fetchval("SELECT to_regclass('auth.shops') IS NOT NULL")


async def test_tokens_without_expiry_get_one(auth: Running) -> None:
    await plain(auth, SHOPS[:3])
    auth.shopify.installed |= set(SHOPS[:2])
    assert await in_command(auth, token_work.shops_to_expire) == SHOPS[:3]
    done, failed = await in_command(auth, token_work.expire)
    assert (done, list(failed)) == (2, [SHOPS[2]])
    assert (await auth.token(SHOPS[0]))[1]["access_token"] == auth.shopify.shops[SHOPS[0]].access
    assert await in_command(auth, token_work.shops_to_expire) == []


async def test_a_token_without_expiry_that_shopify_refuses_needs_the_merchant(auth: Running) -> None:
    await plain(auth, [OTHER_SHOP])
    _, given = await auth.token(OTHER_SHOP)
    status, problem = await auth.token(OTHER_SHOP, refused=str(given["version"]))
    assert (status, problem["type"]) == (409, "urn:shopbus:problem:needs-authorization")
    assert (await auth.token(OTHER_SHOP))[0] == 409


async def test_a_migration_whose_answers_were_lost_is_finished_by_whoever_needs_the_token(
    auth: Running,
) -> None:
    async def lose(_: web.Request) -> web.StreamResponse:
        return web.Response(status=520)

    await plain(auth, [OTHER_SHOP])
    auth.shopify.installed.add(OTHER_SHOP)
    _, given = await auth.token(OTHER_SHOP)
    auth.shopify.after = lose
    done, failed = await in_command(auth, token_work.expire)
    assert (done, list(failed), OTHER_SHOP in auth.shopify.shops) == (0, [OTHER_SHOP], True)
    auth.shopify.after = None
    status, healed = await auth.token(OTHER_SHOP, refused=str(given["version"]))
    assert (status, healed["access_token"]) == (200, auth.shopify.shops[OTHER_SHOP].access)
    assert await in_command(auth, token_work.shops_to_expire) == []
