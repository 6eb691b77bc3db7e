"""Sessions for whoever runs the app: listed, counted, ended, tidied up, and renewed where nobody calls."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.auth.sweeps import IDLE_WITHIN, Sweeps
from services.cli import token_work
from tests.integration.auth_kit import OPS, OTHER_SHOP, SHOP, Running, running

AGE = "UPDATE auth.sessions SET expires_at = now() WHERE (user_id IS NOT NULL) = $1"
REFRESH_ENDS = "UPDATE auth.sessions SET refresh_expires_at = now() + $2::interval WHERE shop = $1"
STATES = "SELECT count(*) FROM auth.states"


@pytest.fixture
async def auth(database: str) -> AsyncIterator[Running]:
    async with running(database) as one:
        await one.install(SHOP)
        await one.install(OTHER_SHOP)
        await one.exchange(SHOP, online=True)
        yield one


async def swept(auth: Running, sweep: str) -> Any:
    """One turn of a sweep."""
    async with token_work.opened(auth.settings) as tools:
        return await getattr(Sweeps(tools.pool, tools.tokens, tools.clock, 5.0), sweep)()


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.mark.parametrize(
    "address", ["/auth/sessions", "/auth/sessions/stats", f"/auth/sessions/offline_{SHOP}"]
)
async def test_only_a_holder_of_the_ops_token_sees_sessions(auth: Running, address: str) -> None:
    status, problem = await auth.get(address)
    assert (status, problem["type"]) == (401, "urn:shopbus:problem:ops-token")
    assert (await auth.ops(address))[0] == 200


async def test_sessions_are_listed_page_by_page_without_tokens(auth: Running) -> None:
    listed, cursor = [], ""
    while cursor is not None:
        _, page = await auth.ops(f"/auth/sessions?limit=1&cursor={cursor}")
        listed += page["sessions"]
        cursor = page["next"]
    names = [session["id"] for session in listed]
    assert names == sorted([f"offline_{SHOP}", f"offline_{OTHER_SHOP}", f"{SHOP}_7"])
    assert {session["state"] for session in listed} == {"live"}
    assert [token for token in auth.shopify.issued if token in str(listed)] == []
    assert not any("token" in name for name in listed[0])


async def test_sessions_can_be_asked_for_by_shop_and_kind(auth: Running) -> None:
    for query, expected in {
        f"shop={OTHER_SHOP}": [f"offline_{OTHER_SHOP}"],
        f"shop={SHOP}&kind=online": [f"{SHOP}_7"],
        "kind=offline": [f"offline_{SHOP}", f"offline_{OTHER_SHOP}"],
    }.items():
        _, page = await auth.ops(f"/auth/sessions?{query}")
        assert [session["id"] for session in page["sessions"]] == expected


@pytest.mark.parametrize("query", ["kind=other", "shop=evil", "limit=0", "limit=501", "limit=x"])
async def test_what_cannot_be_meant_is_refused(auth: Running, query: str) -> None:
    status, problem = await auth.ops(f"/auth/sessions?{query}")
    assert (status, problem["type"]) == (400, "urn:shopbus:problem:bad-parameter")


async def test_sessions_are_counted(auth: Running) -> None:
    _, stats = await auth.ops("/auth/sessions/stats")
    assert stats["shops"] == {"installed": 2, "uninstalled": 0}
    assert stats["offline"] == {"live": 2, "expired": 0, "refused": 0, "without_expiry": 0}
    assert stats["online"] == {"live": 1, "expired": 0}
    assert list(stats["keys"].values()) == [3]

    await swept(auth, "count")
    assert gauge("auth_sessions", kind="offline", state="live") == 2
    assert (gauge("auth_sealed_sessions", key="first"), gauge("auth_sealed_sessions", key="other")) == (3, 0)


async def test_a_session_that_is_ended_has_no_token_any_more(auth: Running) -> None:
    ops = {"Authorization": f"Bearer {OPS}"}
    async with auth.client.delete(f"/auth/sessions/offline_{SHOP}", headers=ops) as answer:
        assert answer.status == 200
    assert (await auth.token(SHOP))[0] == 409
    assert (await auth.token(OTHER_SHOP))[0] == 200
    async with auth.client.delete(f"/auth/sessions/offline_{SHOP}", headers=ops) as answer:
        assert answer.status == 404
    assert (await auth.exchange(SHOP))[0] == 200
    assert (await auth.token(SHOP))[0] == 200


async def test_what_is_over_is_tidied_up_and_nothing_else(auth: Running) -> None:
    await auth.begin()
    await auth.pool.execute("UPDATE auth.states SET expires_at = now() - interval '1 second'")
    await auth.begin()
    for online in (True, False):
        await auth.pool.execute(AGE, online)
    await swept(auth, "tidy")
    assert await auth.pool.fetchval(STATES) == 1
    _, page = await auth.ops("/auth/sessions")
    assert [session["id"] for session in page["sessions"]] == [f"offline_{SHOP}", f"offline_{OTHER_SHOP}"]
    assert (await auth.token())[0] == 200  # an offline session is renewed, however old


async def test_a_shop_that_nobody_calls_keeps_its_access(auth: Running) -> None:
    await auth.pool.execute(REFRESH_ENDS, SHOP, IDLE_WITHIN - timedelta(minutes=1))
    await auth.pool.execute(REFRESH_ENDS, OTHER_SHOP, IDLE_WITHIN + timedelta(minutes=1))
    assert await swept(auth, "renew_idle") == 1
    assert auth.shopify.shops[SHOP].shown is not None
    assert auth.shopify.shops[OTHER_SHOP].shown is None
    assert await swept(auth, "renew_idle") == 0


async def test_one_shop_that_cannot_be_renewed_does_not_keep_the_others_from_it(auth: Running) -> None:
    for shop in (SHOP, OTHER_SHOP):
        await auth.pool.execute(REFRESH_ENDS, shop, timedelta(days=1))
    auth.shopify.shops[SHOP].refresh = "something else"
    assert await swept(auth, "renew_idle") == 1
    assert auth.shopify.shops[OTHER_SHOP].shown is not None
    assert await swept(auth, "renew_idle") == 0
    assert auth.shopify.asked["refresh_token"] == 2


@pytest.mark.parametrize("name", ["%00", "offline_%00", "%0A"])
async def test_what_no_database_takes_as_a_name_is_no_session(auth: Running, name: str) -> None:
    status, problem = await auth.ops(f"/auth/sessions/{name}")
    assert (status, problem["type"]) == (404, "urn:shopbus:problem:no-such-session")
    status, problem = await auth.ops(f"/auth/sessions?cursor={name}")
    assert (status, problem["type"]) == (400, "urn:shopbus:problem:bad-parameter")
