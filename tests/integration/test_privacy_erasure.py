"""One person, or one shop, is erased from every table; of everybody else nothing is missing."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from libs.common.contracts.envelope import Draft
from libs.common.contracts.pixel_frame import PixelEvent, decode, encode
from libs.common.contracts.privacy import ERASED
from libs.common.contracts.topology import SOURCES
from libs.common.ids import IdFactory
from tests.integration.privacy_kit import (
    ANNA,
    BEN,
    CLEO,
    DORA,
    PEOPLE,
    A,
    B,
    World,
    declared_to_hold,
    dump,
    fill,
    holding,
    world,
)
from tests.integration.shopify_stand_in import standing_in
from tests.waiting import poll

KEPT_FRAME = """
INSERT INTO ingest.messages (id, type, shop, key, time, content_type, headers, body)
VALUES ($1, 'pixel.frame', $2, gen_random_uuid()::text, now() - interval '1 day', 'application/octet-stream', '{}', $3)
RETURNING id
"""


@pytest.fixture
async def one(database: str) -> AsyncIterator[World]:
    async with world(database) as made:
        yield made


def of_others(dumped: dict[str, list[str]], *people: Any) -> dict[str, list[str]]:
    return holding(dumped, [word for person in people for word in person.words()])


async def test_the_dump_is_one_in_which_people_would_be_found(one: World) -> None:
    await fill(one.pool)
    dumped = await dump(one.pool)
    for person in PEOPLE:
        missing = declared_to_hold("erase") - holding(dumped, person.words()).keys()
        assert missing == {f"{name}.outbox" for name in SOURCES} & missing
    for shop in (A, B):
        rows = holding(dumped, [shop])
        traces = {"scheduled", "outbox", "privacy_items"}  # which name no shop themselves
        assert {
            name for name in declared_to_hold("erase_shop") - rows.keys() if name.split(".")[1] not in traces
        } == set()


async def test_nothing_is_left_of_a_customer_and_nothing_of_the_others_is_missing(one: World) -> None:
    await fill(one.pool)
    before = of_others(await dump(one.pool), BEN, CLEO, DORA)
    case = await one.redact(ANNA)
    after = await dump(one.pool)
    assert holding(after, ANNA.words()) == {}
    assert of_others(after, BEN, CLEO, DORA) == before
    rows = {place: number for step in case["steps"] for place, number in step["rows"].items()}
    assert {place.split(".")[0] for place in rows} == set(SOURCES)
    assert rows["worker.orders"] == 1


async def test_nothing_is_left_of_a_shop_and_nothing_of_the_other_is_missing(one: World) -> None:
    await fill(one.pool)
    await one.redact(BEN)
    before = holding(await dump(one.pool), [B, *CLEO.words(), *DORA.words()])
    case = await one.redact_shop(A)
    after = await dump(one.pool)
    assert holding(after, [A, *ANNA.words(), *BEN.words()]) == {}
    assert holding(after, [B, *CLEO.words(), *DORA.words()]) == before
    assert case["shop"] is None


async def test_what_waited_ends_as_cancelled_and_is_not_worked_on_when_it_is_replayed(one: World) -> None:
    await fill(one.pool)
    await one.redact(ANNA)
    kept = await one.pool.fetch("SELECT id FROM webhooks.messages WHERE shop = $1 AND body = $2", A, ERASED)
    found = await one.pool.fetch(
        "SELECT outcome, count(*) FROM worker.history WHERE message_id = ANY ($1) AND source = 'webhooks' GROUP BY 1",
        [row["id"] for row in kept],
    )
    assert {row[0]: row[1] for row in found} == {
        "completed": 2,
        "cancelled": 3,
    }  # the request itself among the completed
    waited = await one.pool.fetchval(
        "SELECT message_id FROM worker.history WHERE outcome = 'cancelled' AND message_id = ANY ($1) LIMIT 1",
        [row["id"] for row in kept],
    )
    headers = {"Authorization": "Bearer ops-token"}
    async with one.client.post(f"/api/jobs/{waited}/retry", headers=headers) as answer:
        assert answer.status == 202
    again = "SELECT outcome FROM worker.history WHERE message_id = $1"
    assert await poll(lambda: one.pool.fetchval(again, waited)) == "cancelled"
    assert (
        await one.pool.fetchval("SELECT count(*) FROM worker.orders WHERE order_id = $1", ANNA.order_id) == 0
    )


async def test_an_older_message_that_arrives_late_does_not_bring_anybody_back(one: World) -> None:
    await fill(one.pool)
    await one.redact(ANNA)
    early = datetime.now(UTC) - timedelta(minutes=10)
    late = [await one.deliver("orders/updated", person.order(), early) for person in (ANNA, BEN)]
    late.append(await one.deliver("fulfillments/create", ANNA.fulfillment(), early))
    ended = "SELECT count(*) FROM worker.history WHERE message_id = ANY ($1)"
    await poll(lambda: _is(one, 3, ended, late))
    after = await dump(one.pool)
    assert holding(after, ANNA.words()) == {}
    kept = await one.pool.fetchval("SELECT total_price FROM worker.orders WHERE order_id = $1", BEN.order_id)
    assert str(kept) == "9.50"


async def test_what_an_erased_shop_does_later_is_welcome_and_what_it_did_before_is_not(one: World) -> None:
    await fill(one.pool)
    await one.redact_shop(A)
    await one.deliver("orders/updated", ANNA.order(), datetime.now(UTC) - timedelta(minutes=10))
    assert holding(await dump(one.pool), [A, *ANNA.words()]) == {}
    await one.deliver("orders/updated", BEN.order(), datetime.now(UTC) + timedelta(seconds=1))
    await poll(lambda: one.pool.fetchval("SELECT count(*) FROM worker.orders WHERE shop = $1", A))


async def test_a_customer_is_found_by_an_address_alone(one: World) -> None:
    await fill(one.pool)
    case = await one.redact(
        ANNA, customer={"id": None, "email": ANNA.email.upper(), "phone": None}, orders_to_redact=[]
    )
    assert case["status"] == "done"
    dumped = await dump(one.pool)
    assert holding(dumped, [ANNA.email, ANNA.name]) == {}
    numbers = holding(dumped, [str(ANNA.customer_id)])
    unnamed = {"webhooks.arrivals", "webhooks.reconciled"}  # Shopify did not say whose number it is
    assert numbers.keys() <= unnamed
    assert (
        await one.pool.fetchval("SELECT count(*) FROM worker.orders WHERE order_id = $1", ANNA.order_id) == 1
    )


async def test_an_order_that_names_nobody_but_belongs_to_the_customer_is_found(one: World) -> None:
    await one.accept("fulfillments.create", ANNA.fulfillment(), A)
    await one.accept("orders.create", ANNA.order(), A)
    await one.redact(
        ANNA, customer={"id": ANNA.customer_id, "email": None, "phone": None}, orders_to_redact=[]
    )
    assert holding(await dump(one.pool), [ANNA.name, ANNA.email]) == {}


async def test_a_repeated_request_is_answered_with_the_same_receipt(one: World) -> None:
    await fill(one.pool)
    first = await one.redact(ANNA)
    again = await one.redact(ANNA)
    assert again["repeats"] == first["id"]
    assert again["receipt"] == first["receipt"]
    await one.accept("orders.create", ANNA.order(), A)
    third = await one.redact(ANNA)
    assert third["repeats"] is None
    assert third["receipt"]["case"] == third["id"]


async def test_a_repeated_request_for_a_shop_is_answered_with_the_same_receipt(one: World) -> None:
    await fill(one.pool)
    first = await one.redact_shop(A)
    again = await one.redact_shop(A)
    assert (again["repeats"], again["receipt"]) == (first["id"], first["receipt"])
    assert holding(await dump(one.pool), [A]) == {}


async def test_a_shop_that_has_the_app_again_is_not_erased(one: World) -> None:
    await fill(one.pool)
    await one.pool.execute(
        "UPDATE auth.shops SET uninstalled_at = NULL, granted_at = now() WHERE shop = $1", A
    )
    before = holding(await dump(one.pool), [A])
    case = await one.redact_shop(A, status="superseded")
    assert case["reason"].startswith("the app is installed, since")
    assert case["receipt"]["outcome"] == "superseded"
    after = holding(await dump(one.pool), [A])
    assert {name: rows for name, rows in before.items() if not set(rows) <= set(after[name])} == {}


async def test_an_install_whose_end_nobody_told_is_looked_into(database: str) -> None:
    async with standing_in() as shopify, world(database, shopify_url=shopify.url) as one:
        await fill(one.pool)
        await one.pool.execute("UPDATE auth.shops SET uninstalled_at = NULL WHERE shop = $1", A)
        await one.pool.execute("UPDATE auth.sessions SET refused_at = now() WHERE shop = $1", A)
        case = await one.redact_shop(A)
        assert case["receipt"]["outcome"] == "erased"
        assert holding(await dump(one.pool), [A]) == {}


async def test_messages_of_many_people_are_worked_on_before_one_of_them_is_erased(one: World) -> None:
    content = orjson.dumps({"data": {"customer": {"id": ANNA.customer_id}}})
    now = int(datetime.now(UTC).timestamp() * 1000)
    event = PixelEvent("e", "page_viewed", "standard", "client", 1, now, now, 0, None, content)
    sent = await one.shopify.accept(Draft("pixel.frame", encode([event]), shop=A))
    await poll(lambda: one.pool.fetchval("SELECT outcome FROM worker.history WHERE message_id = $1", sent.id))
    waits = await one.pool.fetchval(
        "WITH back AS (DELETE FROM worker.history WHERE message_id = $1 RETURNING message_id, lane) "
        "INSERT INTO webhooks.outbox (destination, lane, id, holder, leased_until) "
        "SELECT 'worker', lane, message_id, 'worker:elsewhere', now() + interval '1 day' FROM back RETURNING id",
        sent.id,
    )
    request = await one.accept("customers.redact", ANNA.request(), A)
    later = "SELECT count(*) FROM webhooks.scheduled WHERE reason = 'later'"
    await poll(lambda: one.pool.fetchval(later), within=40)
    await one.pool.execute("UPDATE webhooks.outbox SET leased_until = now() WHERE id = $1", waits)
    await one.case(request)
    assert await one.pool.fetchval("SELECT body FROM webhooks.messages WHERE id = $1", waits) == ERASED
    assert (
        await one.pool.fetchval("SELECT outcome FROM worker.history WHERE message_id = $1", waits)
        == "completed"
    )
    assert await one.pool.fetchval("SELECT count(*) FROM worker.pixel_events") == 0


async def test_frames_that_were_worked_on_lose_the_person_and_others_stay(one: World) -> None:
    """Deflated, and kept by ingest until its retention: the visits of one page are one frame."""
    now = int(datetime.now(UTC).timestamp() * 1000)
    kept = dict[str, UUID]()
    ids = IdFactory()
    for person in (ANNA, BEN):
        content = orjson.dumps({"data": {"checkout": {"email": person.email}}})
        event = PixelEvent(
            person.email, "checkout_started", "standard", "client", 1, now, now, 0, None, content
        )
        kept[person.email] = await one.pool.fetchval(KEPT_FRAME, ids.new(), A, encode([event]))
    await one.redact(ANNA)
    body = "SELECT body FROM ingest.messages WHERE id = $1"
    assert await one.pool.fetchval(body, kept[ANNA.email]) == ERASED
    left = decode(await one.pool.fetchval(body, kept[BEN.email]))
    assert BEN.email in left.contents[0]


async def test_a_request_that_names_nobody_fails_where_people_see_it(one: World) -> None:
    body = {"shop_domain": A, "customer": {"id": None, "email": None, "phone": None}, "orders_to_redact": []}
    identifier = await one.accept("customers.redact", body, A)
    error = "SELECT error FROM worker.failed WHERE message_id = $1"
    assert "names nobody" in await poll(lambda: one.pool.fetchval(error, identifier))


async def _is(one: World, wanted: object, statement: str, *values: object) -> bool:
    return bool(await one.pool.fetchval(statement, *values) == wanted)
