"""Several auth processes, one shop, a bad day at Shopify's; and what a process writes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web

from tests.integration.auth_kit import (
    OPS,
    SERVICE_KEY,
    SHOP,
    TOKEN_KEY,
    session_token,
)
from tests.integration.auth_processes import process, seen_through
from tests.integration.shopify_stand_in import SECRET, StandIn, standing_in

REQUESTS, LEAST = 200, 20  # at once; grants of each kind at least
AGE = "UPDATE auth.sessions SET expires_at = now() WHERE user_id IS NULL"
LACK_SCOPES = "UPDATE auth.sessions SET scopes = '', granted_at = granted_at - interval '2 minutes'"
REFUSED = "SELECT count(*) FROM auth.sessions WHERE refused_at IS NOT NULL"


@pytest.fixture
async def shopify() -> AsyncIterator[StandIn]:
    async with standing_in() as one:
        yield one


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database, min_size=1, max_size=4) as one:
        yield one


class BadDay:
    """Every third answer is lost after Shopify has done what it was asked; no two in a row. Counts who asks at once."""

    def __init__(self) -> None:
        self.requests, self.inside, self.most_at_once = 0, 0, 0

    async def before(self, _: web.Request) -> web.StreamResponse | None:
        self.requests += 1
        self.inside += 1
        self.most_at_once = max(self.most_at_once, self.inside)
        await asyncio.sleep(0)  # whoever else is on the way gets in
        return None

    async def after(self, request: web.Request) -> web.StreamResponse | None:
        self.inside -= 1
        if self.requests % 3:
            return None
        if self.requests % 2:
            return web.Response(status=520)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


async def test_200_requests_for_one_shop_over_four_processes_leave_one_lineage(
    database: str, shopify: StandIn, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    day, answers = BadDay(), Counter[int]()
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(process(database, shopify, tmp_path)) for _ in range(4)]
        all_of_them = [seen_through(one, database, shopify, pool) for one in opened]
        await all_of_them[0].install()
        shopify.before, shopify.after = day.before, day.after

        async def ask(number: int) -> None:
            one, page = all_of_them[number % 4], number % 3 == 0
            await pool.execute(LACK_SCOPES if page else AGE)
            status, said = await (one.exchange(token=session_token()) if page else one.token())
            assert page or said["access_token"] in shopify.issued
            answers[status] += 1

        while min(shopify.asked["refresh_token"], shopify.asked["token-exchange"]) < LEAST:
            await asyncio.gather(*(ask(number) for number in range(REQUESTS)))
        shopify.after = shopify.before = None

        assert day.most_at_once == 1
        assert set(answers) == {200}
        await asyncio.gather(*(one.exchange() for one in all_of_them))
        await pool.execute(AGE)
        given = [await one.token() for one in all_of_them]
        assert {status for status, _ in given} == {200}
        assert {said["access_token"] for _, said in given} == {shopify.shops[SHOP].access}
        assert await pool.fetchval(REFUSED) == 0


async def test_no_secret_and_no_token_is_in_what_a_process_writes_or_shows(
    database: str, shopify: StandIn, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    async with process(database, shopify, tmp_path) as one:
        auth = seen_through(one, database, shopify, pool)
        await auth.install()
        token = session_token()
        await auth.exchange(online=True, token=token)
        await auth.get(f"/auth/app?shop={SHOP}&id_token={token}")
        await pool.execute(AGE)
        await auth.token()
        shopify.shops[SHOP].refresh = "used up"
        await pool.execute(AGE)
        await auth.token()
        _, state = await auth.begin()
        await auth.get(auth.back(state, code="made-up"))
        shown = [
            (await auth.get("/metrics"))[1],
            str(await auth.ops("/auth/sessions")),
            str(await auth.emitted()),
        ]
    written = one.log.read_text()
    secrets = [token, state, "made-up", SECRET, TOKEN_KEY, SERVICE_KEY, OPS, *shopify.issued]
    assert len(shopify.issued) >= 5
    assert "POST /auth/token answered 200" in written
    assert [secret for secret in secrets if secret in written or any(secret in text for text in shown)] == []
