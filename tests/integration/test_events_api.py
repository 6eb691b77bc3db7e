"""What a shop's pages learn of its pixel events: the list, a visitor's timeline, figures and the funnel."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from libs.common.shopify.pixel_marks import Mark
from services.worker.app import open_service
from services.worker.config import Settings
from tests.environment import MakeSettings
from tests.integration.auth_kit import session_token
from tests.integration.pixel_rows import NOW, SHOP, Row, put
from tests.integration.shopify_stand_in import KEY, SECRET
from tests.serving import serving
from tests.waiting import poll

PARTITIONED = "SELECT count(*) = 7 FROM pg_inherits WHERE inhparent = 'worker.pixel_events'::regclass"
OTHER = "second.myshopify.com"


@dataclass
class Asking:
    client: ClientSession
    database: asyncpg.Connection

    async def get(self, path: str, shop: str = SHOP, **query: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {session_token(shop)}"}
        async with self.client.get(f"/api/events{path}", params=query, headers=headers) as answer:
            return answer.status, await answer.json()

    async def ids(self, **query: str) -> list[str]:
        status, content = await self.get("", **query)
        assert status == 200, content
        return [event["id"] for event in content["events"]]


@pytest.fixture
async def api(database: str, settings: MakeSettings) -> AsyncIterator[Asking]:
    mine = settings(Settings, database_url=database, shopify_api_key=KEY, shopify_api_secret=SECRET)
    connection = await asyncpg.connect(database)
    try:
        async with open_service(mine) as service, serving([service], mine) as client:
            await poll(lambda: connection.fetchval(PARTITIONED), within=30.0)
            yield Asking(client, connection)
    finally:
        connection.terminate()


def ago(hours: float) -> Any:
    return NOW - timedelta(hours=hours)


async def test_events_are_listed_newest_first_and_of_the_callers_shop_alone(api: Asking) -> None:
    await put(api.database, [Row("a", occurred=ago(2)), Row("b", occurred=ago(1)), Row("c", shop=OTHER)])
    assert await api.ids() == ["b", "a"]
    content = (await api.get("", shop=OTHER))[1]
    assert [event["id"] for event in content["events"]] == ["c"]


async def test_an_event_is_shown_with_all_that_it_said(api: Asking) -> None:
    row = Row(
        "a", name="cart_viewed", seq=4, version="1.2", marks=Mark.BOT | Mark.CLOCK_SKEW,
        content={"data": {"cart": {"cost": {"totalAmount": {"amount": 0.1}}}}},
    )  # fmt: skip
    await put(api.database, [row])
    [event] = (await api.get(""))[1]["events"]
    assert event == {
        "id": "a", "name": "cart_viewed", "type": "standard", "client_id": "visitor", "seq": 4, "version": "1.2",
        "occurred_at": NOW.isoformat().replace("+00:00", "Z"), "received_at": NOW.isoformat().replace("+00:00", "Z"),
        "marks": ["bot", "clock_skew"], "content": row.content,
    }  # fmt: skip


async def test_pages_follow_each_other_over_days_and_equal_times(api: Asking) -> None:
    rows = [Row(f"e{n:03}", occurred=ago(12 * (n // 5))) for n in range(40)]
    await put(api.database, rows)
    found, cursor = [], ""
    while True:
        status, content = await api.get("", limit="7", **({"cursor": cursor} if cursor else {}))
        assert status == 200
        found += [event["id"] for event in content["events"]]
        if (cursor := content["next"]) is None:
            break
    expected = sorted(rows, key=lambda row: (row.occurred, row.id), reverse=True)
    assert found == [row.id for row in expected]


async def test_the_list_is_filtered(api: Asking) -> None:
    await put(api.database, [
        Row("a", name="cart_viewed", client="x", occurred=ago(1)), Row("b", client="x", occurred=ago(2)),
        Row("c", client="y", occurred=ago(3)), Row("d", client=None, occurred=ago(50)),
    ])  # fmt: skip
    assert await api.ids(name="cart_viewed") == ["a"]
    assert await api.ids(client="x") == ["a", "b"]
    assert await api.ids(client="x", name="page_viewed") == ["b"]
    assert await api.ids(since=ago(2.5).isoformat()) == ["a", "b"]
    assert await api.ids(until=ago(2.5).isoformat()) == ["c", "d"]


async def test_a_search_for_what_is_rare_goes_on_where_it_stopped(
    api: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.worker.events.SCAN_DEPTH", 10)
    rows = [Row(f"e{n:03}", occurred=NOW - timedelta(seconds=n)) for n in range(25)]
    await put(api.database, [*rows, Row("rare", name="rare", occurred=NOW - timedelta(seconds=30))])
    pages, cursor = [], ""
    while cursor is not None:
        content = (await api.get("", name="rare", **({"cursor": cursor} if cursor else {})))[1]
        pages.append([event["id"] for event in content["events"]])
        cursor = content["next"]
    assert pages == [[], [], ["rare"]]


async def test_a_visitors_events_come_in_the_order_of_their_numbers(api: Asking) -> None:
    await put(api.database, [
        Row("late", seq=3, occurred=ago(30)), Row("first", seq=1, occurred=ago(1)), Row("second", seq=2),
        Row("none", seq=None), Row("tie", seq=3, occurred=ago(20)), Row("other", client="else", seq=0),
    ])  # fmt: skip
    status, content = await api.get("/visitors/visitor")
    assert status == 200
    assert [event["id"] for event in content["events"]] == ["first", "second", "late", "tie", "none"]
    part = (await api.get("/visitors/visitor", limit="2", skip="2"))[1]
    assert ([event["id"] for event in part["events"]], part["next"]) == (["late", "tie"], 4)


async def test_figures_by_day_and_name_leave_robots_out(api: Asking) -> None:
    await put(api.database, [
        Row(occurred=NOW), Row(occurred=NOW), Row(occurred=NOW, name="cart_viewed"), Row(occurred=ago(24)),
        Row(occurred=NOW, marks=Mark.BOT), Row(occurred=NOW, marks=Mark.CLEANED), Row(shop=OTHER),
    ])  # fmt: skip
    status, content = await api.get("/stats")
    assert status == 200
    assert content["days"] == [
        {"day": NOW.date().isoformat(), "events": {"page_viewed": 3, "cart_viewed": 1}},
        {"day": ago(24).date().isoformat(), "events": {"page_viewed": 1}},
    ]
    assert (await api.get("/stats", bots="1"))[1]["days"][0]["events"]["page_viewed"] == 4


async def test_the_funnel_counts_visitors_by_how_far_they_came(api: Asking) -> None:
    stages = ("product_viewed", "product_added_to_cart", "checkout_started", "checkout_completed")
    rows = [
        Row(client=f"{depth}-{n}", name=stages[stage], occurred=ago(stage))
        for depth, visitors in ((1, 4), (2, 3), (3, 2), (4, 1))
        for n in range(visitors)
        for stage in range(depth)
    ]
    express = Row(client="express", name="checkout_completed")
    await put(api.database, [*rows, express, Row(client=None, name="product_viewed"), Row(client="reader")])
    funnel = (await api.get("/stats"))[1]["funnel"]
    assert funnel["visitors"] == {"viewed": 11, "cart": 7, "checkout": 4, "completed": 2}
    assert funnel["conversion"] == round(2 / 11, 4)


async def test_a_shop_without_events_has_no_conversion(api: Asking) -> None:
    content = (await api.get("/stats"))[1]
    assert (content["days"], content["funnel"]["conversion"]) == ([], None)


WRONG = [
    {"since": "x"}, {"limit": "0"}, {"limit": "201"}, {"cursor": "x"}, {"cursor": "W10"}, {"other": "1"},
    {"since": "2026-01-01", "until": "2026-12-01"}, {"since": "2026-02-01", "until": "2026-01-01"}, {"name": "\0"},
    {"cursor": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsIDdd"},
]  # fmt: skip


@pytest.mark.parametrize("query", WRONG, ids=str)
async def test_a_wrong_question_is_refused(api: Asking, query: dict[str, str]) -> None:
    assert (await api.get("", **query))[0] == 400


async def test_only_who_shows_a_session_token_may_ask(api: Asking) -> None:
    for path in ("", "/stats", "/visitors/x"):
        async with api.client.get(f"/api/events{path}") as answer:
            assert answer.status == 401


async def test_nobody_asks_of_another_shop(api: Asking) -> None:
    headers = {"Authorization": f"Bearer {session_token(SHOP)}"}
    async with api.client.get("/api/events", params={"shop": OTHER}, headers=headers) as answer:
        assert answer.status == 401
