"""The client against a scripted Shopify, with a real Postgres for its budgets."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from libs.common.runtime.outcomes import Cancelled, Later
from libs.common.shopify.admin import errors, metrics
from libs.common.shopify.admin.breaker import FAILURES
from libs.common.token_client import NotInstalled
from tests.integration.admin_kit import KEYED, MUTATION, OTHER_SHOP, QUERY, SHOP, admin_client
from tests.integration.admin_stand_in import AdminStandIn, Bucket, Mishap, admin_standing_in, throttled_error
from tests.log_capture import logged
from tests.servers.postgres import PostgresServer


@pytest.fixture
async def shopify() -> AsyncIterator[AdminStandIn]:
    async with admin_standing_in() as standing_in:
        yield standing_in


def times(number: int, answer: Mishap) -> Mishap:
    """The mishap for so many requests."""
    left = [number]

    async def mishap(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        left[0] -= 1
        return await answer(request, body) if left[0] >= 0 else None

    return mishap


def status(code: int, **headers: str) -> Mishap:
    async def answer(_: web.Request, __: dict[str, Any]) -> web.Response:
        return web.Response(
            status=code, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    return answer


def members(**told: Any) -> Mishap:
    async def answer(_: web.Request, __: dict[str, Any]) -> web.Response:
        return web.json_response(told)

    return answer


async def hang_up(request: web.Request, _: dict[str, Any]) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_a_query_is_answered(database: str, shopify: AdminStandIn) -> None:
    async with admin_client(database, shopify) as admin:
        answer = await admin.graphql(SHOP, QUERY, {"cost": 7, "actual": 3})
    assert answer.data == {"shop": {"name": SHOP}}
    assert not answer.partial
    assert answer.cost is not None
    assert (answer.cost.requested, answer.cost.actual) == (7, 3)
    assert (answer.version, answer.request_id) == ("2026-10", "r-1")
    assert shopify.headers[0]["X-Shopify-Access-Token"] == f"shpat_{SHOP}_1"
    assert shopify.headers[0]["User-Agent"].startswith("shopbus")


async def test_waits_for_points_instead_of_being_turned_away(database: str, shopify: AdminStandIn) -> None:
    bucket = shopify.buckets[SHOP] = Bucket(maximum=2_000, rate=200)
    async with admin_client(database, shopify) as admin:
        await admin.graphql(SHOP, QUERY, {"cost": 600})
        calls = (admin.graphql(SHOP, QUERY, {"cost": 600}) for _ in range(3))
        started = time.monotonic()
        await asyncio.gather(*calls)
        took = time.monotonic() - started
    assert shopify.throttled[SHOP] == 0
    assert bucket.lowest >= 0
    assert took > 1.9  # 2,400 points of a bucket that holds 2,000, restored at 200 a second


async def test_what_cannot_come_in_time_is_sent_away_with_the_right_time(
    database: str, shopify: AdminStandIn
) -> None:
    async with admin_client(database, shopify) as admin:
        for _ in range(3):
            await admin.graphql(SHOP, QUERY, {"cost": 600})
        with pytest.raises(errors.Throttled) as caught:
            await admin.graphql(SHOP, QUERY, {"cost": 600}, timeout=0.5)
        assert 3 < caught.value.seconds < 10
        assert isinstance(caught.value, Later)
        answer = await admin.graphql(OTHER_SHOP, QUERY, {"cost": 600}, timeout=5)
    assert answer.data
    assert shopify.throttled[SHOP] == 0


async def test_a_throttled_answer_is_waited_out(database: str, shopify: AdminStandIn) -> None:
    shopify.buckets[SHOP] = Bucket(rate=200, available=50.0)  # somebody else has used the rest
    async with admin_client(database, shopify) as admin:
        answer = await admin.graphql(SHOP, QUERY, {"cost": 150})
    assert answer.data
    assert shopify.throttled[SHOP] == 1
    assert shopify.asked[SHOP] == 2


async def test_an_api_that_always_says_throttled_is_not_asked_for_ever(
    database: str, shopify: AdminStandIn
) -> None:
    shopify.before = members(errors=[throttled_error()])
    async with admin_client(database, shopify) as admin:
        with pytest.raises(errors.Throttled):
            await admin.graphql(SHOP, QUERY, timeout=2)
    assert 2 <= shopify.asked[SHOP] <= 5


async def test_retry_after_is_kept_where_there_is_time(database: str, shopify: AdminStandIn) -> None:
    shopify.before = times(1, status(429, Retry_After="1.0"))
    async with admin_client(database, shopify) as admin:
        started = time.monotonic()
        await admin.graphql(SHOP, MUTATION)
        assert time.monotonic() - started >= 1.0
    assert shopify.asked[SHOP] == 2


async def test_retry_after_is_handed_on_where_there_is_none(database: str, shopify: AdminStandIn) -> None:
    shopify.before = status(429, Retry_After="90")
    async with admin_client(database, shopify) as admin:
        with pytest.raises(errors.Throttled) as caught:
            await admin.graphql(SHOP, QUERY)
    assert 90 <= caught.value.seconds < 92
    assert shopify.asked[SHOP] == 1


async def test_a_refused_token_is_replaced_once(database: str, shopify: AdminStandIn) -> None:
    shopify.before = times(1, status(401))
    async with admin_client(database, shopify) as admin:
        await admin.graphql(SHOP, MUTATION)
    tokens = [headers["X-Shopify-Access-Token"] for headers in shopify.headers]
    assert tokens == [f"shpat_{SHOP}_1", f"shpat_{SHOP}_2"]


async def test_refused_again_the_merchant_has_to_open_the_app(database: str, shopify: AdminStandIn) -> None:
    shopify.before = status(401)
    async with admin_client(database, shopify) as admin:
        with pytest.raises(errors.AccessEnded) as caught:
            await admin.graphql(SHOP, QUERY)
    assert isinstance(caught.value, Later)
    assert shopify.asked[SHOP] == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((404, "not-installed"), NotInstalled),
        ((409, "needs-authorization"), errors.AccessEnded),
        ((503, "busy"), errors.TokenAway),
    ],
)
async def test_without_a_token_nothing_is_sent(
    database: str, shopify: AdminStandIn, answer: tuple[int, str], kind: type[Exception]
) -> None:
    code, problem = answer
    shopify.token_answer = lambda _: web.json_response(
        {"type": f"urn:shopbus:problem:{problem}"}, status=code
    )
    async with admin_client(database, shopify) as admin:
        with pytest.raises(kind) as caught:
            await admin.graphql(SHOP, QUERY)
    assert isinstance(caught.value, Later | Cancelled)
    assert not shopify.seen


@pytest.mark.parametrize("mishap", [status(500), status(520), status(503), hang_up, members(oddly="no data")])
async def test_a_query_is_tried_again(database: str, shopify: AdminStandIn, mishap: Mishap) -> None:
    shopify.before = times(2, mishap)
    async with admin_client(database, shopify) as admin:
        assert (await admin.graphql(SHOP, QUERY)).data
    assert shopify.asked[SHOP] == 3


async def test_after_three_tries_the_message_comes_again(database: str, shopify: AdminStandIn) -> None:
    shopify.before = status(502)
    async with admin_client(database, shopify) as admin:
        with pytest.raises(errors.Unavailable) as caught:
            await admin.graphql(SHOP, QUERY)
    assert not isinstance(caught.value, Later | errors.OutcomeUnknown)
    assert shopify.asked[SHOP] == 3


@pytest.mark.parametrize("mishap", [status(500), hang_up])
async def test_a_mutation_that_may_have_been_done_is_not_repeated(
    database: str, shopify: AdminStandIn, mishap: Mishap
) -> None:
    shopify.after = mishap
    async with admin_client(database, shopify) as admin:
        with pytest.raises(errors.OutcomeUnknown):
            await admin.graphql(SHOP, MUTATION)
    assert shopify.asked[SHOP] == 1


async def test_a_mutation_with_a_key_is_repeated_with_it(database: str, shopify: AdminStandIn) -> None:
    shopify.after = times(1, hang_up)
    async with admin_client(database, shopify) as admin:
        await admin.graphql(SHOP, KEYED, idempotency_key="k-1")
    assert [body["variables"]["idempotencyKey"] for body in shopify.seen] == ["k-1", "k-1"]


async def test_a_key_that_the_query_would_not_use_is_refused(database: str, shopify: AdminStandIn) -> None:
    async with admin_client(database, shopify) as admin:
        with pytest.raises(ValueError, match="idempotent"):
            await admin.graphql(SHOP, MUTATION, idempotency_key="k-1")


async def test_where_nothing_was_sent_a_mutation_is_tried_again(database: str, shopify: AdminStandIn) -> None:
    async with admin_client(database, shopify, sandbox_store_url="http://127.0.0.1:9/stores") as admin:
        with pytest.raises(errors.Unavailable) as caught:
            await admin.graphql(SHOP, MUTATION)
    assert not isinstance(caught.value, errors.OutcomeUnknown)
    assert "ClientConnectorError" in str(caught.value)


async def test_an_answer_that_takes_too_long(database: str, shopify: AdminStandIn) -> None:
    shopify.answer_seconds = 1.5
    async with admin_client(database, shopify) as admin:
        with pytest.raises(errors.OutcomeUnknown):
            await admin.graphql(SHOP, MUTATION, timeout=0.5)
        with pytest.raises(errors.Unavailable):
            await admin.graphql(SHOP, QUERY, timeout=0.5)


async def test_a_shop_that_keeps_failing_is_left_alone(database: str, shopify: AdminStandIn) -> None:
    shopify.before = status(500)
    async with admin_client(database, shopify) as admin:
        for _ in range(2):
            with pytest.raises((errors.Unavailable, errors.CircuitOpen)):
                await admin.graphql(SHOP, QUERY)
        with pytest.raises(errors.CircuitOpen) as caught:
            await admin.graphql(SHOP, QUERY)
        assert 0 < caught.value.seconds <= 5
        assert shopify.asked[SHOP] == FAILURES
        shopify.before = None
        assert (await admin.graphql(OTHER_SHOP, QUERY)).data


async def test_a_security_rejection_is_not_knocked_at_again(database: str, shopify: AdminStandIn) -> None:
    shopify.before = status(430)
    async with admin_client(database, shopify) as admin:
        with pytest.raises(errors.SecurityRejection):
            await admin.graphql(SHOP, QUERY)
        with pytest.raises(errors.CircuitOpen) as caught:
            await admin.graphql(SHOP, QUERY)
    assert caught.value.seconds > 800
    assert shopify.asked[SHOP] == 1


async def test_a_redirection_is_not_followed(database: str, shopify: AdminStandIn) -> None:
    shopify.before = status(302, Location=f"{shopify.url}/{OTHER_SHOP}/admin/api/2026-10/graphql.json")
    async with admin_client(database, shopify) as admin:
        with pytest.raises(errors.OutcomeUnknown):
            await admin.graphql(SHOP, MUTATION)
    assert not shopify.asked[OTHER_SHOP]


async def test_a_retired_version_and_a_deprecation_are_told_once_and_counted(
    database: str, shopify: AdminStandIn
) -> None:
    shopify.more_headers = {
        "X-Shopify-API-Version": "2027-01",
        "X-Shopify-API-Deprecated-Reason": "gone soon",
    }
    before = metrics.FELL_FORWARD._value.get(), metrics.DEPRECATED._value.get()
    with logged("DEBUG") as written:
        async with admin_client(database, shopify) as admin:
            for _ in range(3):
                assert (await admin.graphql(SHOP, QUERY)).version == "2027-01"
    assert metrics.FELL_FORWARD._value.get() - before[0] == 3
    assert metrics.DEPRECATED._value.get() - before[1] == 3
    told = [
        line
        for line in written.lines
        if line.get("answered") == "2027-01" or line.get("reason") == "gone soon"
    ]
    assert len(told) == 2


async def test_neither_tokens_nor_data_are_logged(database: str, shopify: AdminStandIn) -> None:
    shopify.before = times(2, status(500))
    with logged("DEBUG") as written:
        async with admin_client(database, shopify) as admin:
            await admin.graphql(SHOP, QUERY, {"secret": "of the merchant"})
    assert written.lines
    assert "shpat_" not in written.text
    assert "of the merchant" not in written.text


async def test_goes_on_slowly_without_postgres_and_comes_back(
    database: str, postgres: PostgresServer, shopify: AdminStandIn
) -> None:
    async with admin_client(database, shopify, database_timeout_seconds=0.5) as admin:
        await admin.graphql(SHOP, QUERY)
        postgres.kill()
        alone = metrics.LEASES.labels("alone")._value.get()
        answers = await asyncio.gather(*(admin.graphql(SHOP, QUERY) for _ in range(5)))
        assert all(answer.data for answer in answers)
        assert metrics.LEASES.labels("alone")._value.get() > alone
        postgres.heal()
        granted = metrics.LEASES.labels("granted")._value.get()
        async with asyncio.timeout(20):
            while metrics.LEASES.labels("granted")._value.get() == granted:
                await admin.graphql(SHOP, QUERY)
                await asyncio.sleep(0.1)
    assert shopify.throttled[SHOP] == 0


async def test_without_its_table_calls_go_on(empty_database: str, shopify: AdminStandIn) -> None:
    async with admin_client(empty_database, shopify) as admin:
        assert (await admin.graphql(SHOP, QUERY)).data


async def test_an_auth_that_hangs_is_not_waited_for_beyond_the_deadline(
    database: str, shopify: AdminStandIn
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with admin_client(database, shopify, auth_url=url) as admin:
            with pytest.raises(errors.TokenAway):
                await admin.graphql(SHOP, QUERY, timeout=0.3)
    assert not shopify.seen
