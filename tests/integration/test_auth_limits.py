"""Nobody can begin any number of installs: for one shop, or from one address, over all processes."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientResponse

from libs.common.shopify.launch import query_signature
from tests.integration.auth_kit import OTHER_SHOP, SHOP, Running, running
from tests.integration.protocol import counted
from tests.integration.shopify_stand_in import SECRET

STATES = "SELECT count(*) FROM auth.states"
LATER = "UPDATE auth.states SET expires_at = expires_at - interval '10 minutes'"
SEEN = "SELECT count(DISTINCT sender) FROM auth.states"


@pytest.fixture
async def auth(database: str) -> AsyncIterator[Running]:
    async with running(database, install_limit_shop=3, install_limit_address=5, auth_proxies=1) as one:
        yield one


async def begin(
    auth: Running, shop: str = SHOP, address: str = "203.0.113.7", **query: str
) -> ClientResponse:
    headers = {"X-Forwarded-For": f"198.51.100.1, {address}"}
    async with auth.client.get(
        "/auth/install", params={"shop": shop, **query}, headers=headers, allow_redirects=False
    ) as answer:
        await answer.read()
        return answer


def launched(shop: str = SHOP) -> dict[str, str]:
    """The query of a launch that Shopify signed."""
    query = {"shop": shop, "timestamp": str(int(time.time()))}
    return {**query, "hmac": query_signature(SECRET, query.items())}


async def test_installs_of_one_shop_are_bounded_wherever_they_come_from(auth: Running) -> None:
    before = counted("auth_refused_total", reason="too_many_of_shop")
    answers = [await begin(auth, address=f"203.0.113.{number}") for number in range(5)]
    assert [answer.status for answer in answers] == [302] * 3 + [429] * 2
    assert 590 <= int(answers[-1].headers["Retry-After"]) <= 600
    assert "Set-Cookie" not in answers[-1].headers
    assert await auth.pool.fetchval(STATES) == 3
    assert counted("auth_refused_total", reason="too_many_of_shop") == before + 2
    assert (await begin(auth, OTHER_SHOP)).status == 302


async def test_installs_from_one_address_are_bounded_whatever_the_shop(auth: Running) -> None:
    before = counted("auth_refused_total", reason="too_many_of_sender")
    answers = [await begin(auth, f"shop-{number}.myshopify.com") for number in range(7)]
    assert [answer.status for answer in answers] == [302] * 5 + [429] * 2
    assert counted("auth_refused_total", reason="too_many_of_sender") == before + 2
    assert (await begin(auth, "one-more.myshopify.com", "203.0.113.8")).status == 302


async def test_a_stranger_cannot_keep_a_merchant_out_whom_shopify_sends(auth: Running) -> None:
    for number in range(3):
        await begin(auth, address=f"203.0.113.{number}")
    assert (await begin(auth)).status == 429
    assert (await begin(auth, **launched())).status == 302
    assert (await begin(auth, OTHER_SHOP)).status == 302


async def test_what_shopify_signed_fills_no_shops_bound_but_its_senders(auth: Running) -> None:
    answers = [await begin(auth, **launched()) for _ in range(7)]
    assert [answer.status for answer in answers] == [302] * 5 + [429] * 2
    assert (await begin(auth, address="203.0.113.9")).status == 302


async def test_an_install_that_is_finished_or_forgotten_makes_room(auth: Running) -> None:
    for _ in range(4):
        await auth.install()
    for number in range(3):
        await begin(auth, address=f"203.0.113.{number}")
    assert (await begin(auth)).status == 429
    await auth.pool.execute(LATER)
    assert (await begin(auth)).status == 302


async def test_the_bound_holds_over_processes_and_for_many_at_once(auth: Running, database: str) -> None:
    """As many as Postgres works on at once may pass by; the hundreds of a flood do not."""
    async with running(
        database, shopify=auth.shopify, install_limit_shop=3, install_limit_address=99
    ) as other:
        statuses = Counter(
            answer.status
            for answer in await asyncio.gather(
                *(begin(one, address=f"203.0.113.{n}") for n in range(100) for one in (auth, other))
            )
        )
        assert (await begin(auth)).status == (await begin(other)).status == 429
    at_once = 2 * auth.settings.database_pool_size
    assert statuses.keys() == {302, 429}
    assert 3 <= statuses[302] <= 3 + at_once


async def test_addresses_are_not_kept_in_plain(auth: Running) -> None:
    await begin(auth)
    await begin(auth, OTHER_SHOP, "203.0.113.8")
    assert await auth.pool.fetchval(SEEN) == 2
    row = await auth.pool.fetchrow("SELECT sender FROM auth.states LIMIT 1")
    assert row is not None
    assert b"203" not in row["sender"]
