"""The client through which services get access tokens, against an auth that says what it is told to say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientSession, web
from pydantic import SecretStr

from libs.common.service import Service
from libs.common.service_token import ServiceKey
from libs.common.token_client import AuthAway, NeedsAuthorization, NotInstalled, ShopToken, TokenClient
from libs.common.web import Problem, json_response
from tests.clocks import TurnedClock
from tests.serving import serving
from tests.waiting import poll

SHOP = "sandbox-001.myshopify.com"
KEY = ServiceKey(SecretStr("k" * 64))


class PlayedAuth:
    """Counts what it is asked, checks who asks, and can be held up."""

    def __init__(self, clock: TurnedClock) -> None:
        self.clock = clock
        self.asked: list[str] = []
        self.refused: list[str | None] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None
        self.answer: dict[str, Any] = {}

    async def token(self, request: web.Request) -> web.Response:
        shop = request.match_info["shop"]
        scheme, _, proof = request.headers["Authorization"].partition(" ")
        if scheme != "Bearer" or KEY.caller(proof, audience="auth", now=self.clock.now()) != "worker":
            raise Problem(401, "who are you?", kind="service-token")
        self.asked.append(shop)
        number = len(self.asked)
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        expires_at = self.clock.now() + timedelta(hours=1)
        usual = {"access_token": f"shpat_{number}", "scopes": "write_orders", "expires_at": expires_at}
        self.refused.append(request.query.get("refused"))
        return json_response(usual | {"version": number, "generation": 1} | self.answer)


@asynccontextmanager
async def playing(**options: Any) -> AsyncIterator[tuple[TokenClient, PlayedAuth, TurnedClock]]:
    clock = TurnedClock()
    auth = PlayedAuth(clock)
    route = web.get("/internal/auth/shops/{shop}/token", auth.token)
    async with serving([Service("auth", [route])]) as http:
        key = options.pop("key", KEY)
        client = TokenClient(http, str(http._base_url), key, caller="worker", clock=clock, **options)
        yield client, auth, clock
        auth.open.set()
        await client.close()


async def test_asks_once_and_keeps_the_answer() -> None:
    async with playing() as (client, auth, clock):
        token = await client.token(SHOP)
        clock.turn(299)
        assert await client.token(SHOP) == token
        assert (token.access_token, str(token.scopes), token.generation) == ("shpat_1", "write_orders", 1)
        clock.turn(2)
        assert (await client.token(SHOP)).access_token == "shpat_2"
        assert auth.asked == [SHOP, SHOP]
        found = client.statistics()
        assert (found.size, found.hits, found.misses, found.expired) == (1, 1, 2, 1)


async def test_never_hands_out_a_token_in_its_last_minute() -> None:
    async with playing(keep_seconds=10_000) as (client, auth, clock):
        token = await client.token(SHOP)
        clock.turn(3600 - 61)
        assert await client.token(SHOP) == token
        clock.turn(2)
        assert await client.token(SHOP) != token
        auth.answer = {"expires_at": clock.now() + timedelta(seconds=30)}
        client.drop(SHOP)
        assert await client.token(SHOP) != await client.token(SHOP)


async def test_a_thousand_callers_make_one_request_for_each_shop() -> None:
    async with playing() as (client, auth, _):
        auth.open.clear()
        shops = [f"sandbox-{number:03d}.myshopify.com" for number in range(5)]
        callers = [asyncio.create_task(client.token(shops[number % 5])) for number in range(1000)]
        await poll(lambda: len(auth.asked) == 5)
        auth.open.set()
        tokens = await asyncio.gather(*callers)
        assert sorted(auth.asked) == shops
        assert len({token.access_token for token in tokens}) == 5
        assert (client.statistics().misses, client.statistics().joined) == (5, 995)


async def test_a_caller_who_leaves_takes_nothing_from_the_others() -> None:
    async with playing() as (client, auth, _):
        auth.open.clear()
        first, second = (asyncio.create_task(client.token(SHOP)) for _ in range(2))
        await poll(lambda: auth.asked)
        first.cancel()
        auth.open.set()
        assert (await second).access_token == "shpat_1"
        assert first.cancelled()


async def test_has_room_for_so_many_shops() -> None:
    async with playing(size=2) as (client, auth, _):
        for number in (1, 2, 1, 3, 1, 2):  # when 3 comes, 2 is the one that was not asked for the longest
            await client.token(f"sandbox-00{number}.myshopify.com")
        assert [shop[10] for shop in auth.asked] == ["1", "2", "3", "2"]
        assert (client.statistics().size, client.statistics().evicted) == (2, 2)


async def test_what_was_dropped_is_asked_for_again() -> None:
    async with playing() as (client, _, _):
        first = await client.token(SHOP)
        client.drop(SHOP)
        client.drop(SHOP)
        second = await client.token(SHOP)
        client.drop(SHOP, first)  # a late complaint about a token that is gone
        assert await client.token(SHOP) == second
        client.drop(SHOP, second)
        assert (await client.token(SHOP)).access_token == "shpat_3"
        assert client.statistics().dropped == 2


async def test_a_token_that_shopify_refused_is_replaced_once() -> None:
    async with playing() as (client, auth, _):
        first = await client.token(SHOP)
        others = await asyncio.gather(*(client.renewed(first) for _ in range(20)))
        assert {token.access_token for token in others} == {"shpat_2"}
        assert auth.refused == [None, "1"]
        assert await client.renewed(first) == others[0]
        assert len(auth.asked) == 2


async def test_a_refused_token_that_comes_again_is_named_to_auth() -> None:
    async with playing() as (client, auth, _):
        auth.answer = {"version": 7}
        first = await client.token(SHOP)
        client.drop(SHOP)
        again = await client.token(SHOP)
        await client.renewed(first)
        assert again.version == first.version
        assert auth.refused == [None, None, "7"]


async def test_everything_can_be_dropped() -> None:
    async with playing() as (client, auth, _):
        for number in range(3):
            await client.token(f"sandbox-00{number}.myshopify.com")
        client.drop_all()
        assert client.statistics().size == 0
        await client.token("sandbox-000.myshopify.com")
        assert len(auth.asked) == 4


async def test_an_answer_from_before_a_drop_is_not_kept() -> None:
    async with playing() as (client, auth, _):
        auth.open.clear()
        early = asyncio.create_task(client.token(SHOP))
        await poll(lambda: auth.asked)
        client.drop(SHOP)
        late = asyncio.create_task(client.token(SHOP))
        await poll(lambda: len(auth.asked) == 2)
        auth.open.set()
        assert ((await early).access_token, (await late).access_token) == ("shpat_1", "shpat_2")
        assert (await client.token(SHOP)).access_token == "shpat_2"


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Problem(404, "not here", kind="not-installed"), NotInstalled),
        (Problem(409, "open the app", kind="needs-authorization"), NeedsAuthorization),
        (Problem(404, "no such address", kind="no-such-address"), AuthAway),
        (Problem(503, "later", kind="try-later"), AuthAway),
        (ValueError("a bug"), AuthAway),
    ],
)
async def test_says_what_to_do_and_asks_again_the_next_time(
    fault: Exception, raised: type[Exception]
) -> None:
    async with playing() as (client, auth, _):
        auth.fault = fault
        with pytest.raises(raised):
            await client.token(SHOP)
        auth.fault = None
        assert (await client.token(SHOP)).access_token == "shpat_2"


async def test_tells_when_to_come_again() -> None:
    async with playing() as (client, auth, _):
        auth.fault = Problem(503, "later", headers={"Retry-After": "7"})
        with pytest.raises(AuthAway) as away:
            await client.token(SHOP)
        assert away.value.retry_after == 7


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": None},
        {"expires_at": "soon"},
        {"expires_at": "2026-11-21T12:00:00"},
        {"generation": "x"},
    ],
)
async def test_half_an_answer_is_none(answer: dict[str, Any]) -> None:
    async with playing() as (client, auth, _):
        auth.answer = answer
        with pytest.raises(AuthAway):
            await client.token(SHOP)


async def test_another_key_is_named_and_no_secret_is() -> None:
    async with playing(key=ServiceKey(SecretStr("x" * 64))) as (client, _, _):
        with pytest.raises(AuthAway) as away:
            await client.token(SHOP)
        assert "x" * 64 not in str(away.value)


async def test_an_auth_that_is_not_there_is_away() -> None:
    async with ClientSession() as http:
        client = TokenClient(http, "http://127.0.0.1:1", KEY, caller="worker")
        with pytest.raises(AuthAway, match="does not answer"):
            await client.token(SHOP)


async def test_a_shop_has_one_token_however_it_is_written() -> None:
    async with playing() as (client, auth, _):
        token = await client.token(SHOP.upper())
        assert await client.token(f" {SHOP}") == token
        assert (token.shop, auth.asked) == (SHOP, [SHOP])
        client.drop(SHOP)
        assert await client.token(SHOP.title()) != token


async def test_only_a_shop_is_asked_for() -> None:
    async with playing() as (client, auth, _):
        with pytest.raises(Exception, match="domain of a shop"):
            await client.token("../../x")
        assert auth.asked == []


def test_a_token_does_not_show_itself() -> None:
    clock = TurnedClock()
    token = ShopToken(SHOP, "shpat_1", scopes=None, expires_at=clock.now(), version=1, generation=1)  # type: ignore[arg-type]
    assert "shpat" not in repr(token)
