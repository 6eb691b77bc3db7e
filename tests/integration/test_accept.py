"""Accepting: committed once, or refused; nothing in between."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from libs.common.contracts.envelope import Draft, Receipt
from libs.common.contracts.topology import Lane
from libs.common.db import connection, open_pool
from libs.common.errors import DatabaseAway
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.outbox.wakes import Wake, channel
from tests.integration.protocol import System, counted, system
from tests.servers.postgres import PostgresServer
from tests.waiting import poll

HALF_ACCEPTED = """
SELECT (SELECT count(*) FROM webhooks.messages AS m
        WHERE NOT EXISTS (SELECT FROM webhooks.outbox AS o WHERE o.id = m.id))
     + (SELECT count(*) FROM webhooks.outbox AS o
        WHERE NOT EXISTS (SELECT FROM webhooks.messages AS m WHERE m.id = o.id))
"""


@pytest.fixture
async def accepting(database: str) -> AsyncIterator[System]:
    async with system(database, database_timeout_seconds=1.0) as one:
        yield one


async def stored(one: System) -> set[UUID]:
    return {row["id"] for row in await one.pool.fetch("SELECT id FROM webhooks.messages")}


async def lane_of(one: System, identifier: UUID) -> str:
    return (await lanes(one))[identifier]


async def lanes(one: System) -> dict[UUID, str]:
    return {row["id"]: row["lane"] for row in await one.pool.fetch("SELECT id, lane FROM webhooks.outbox")}


async def tried(producer: Producer, draft: Draft) -> Receipt | DatabaseAway:
    try:
        return await producer.accept(draft)
    except DatabaseAway as error:
        return error


async def test_one_webhook_delivered_fifty_times_at_once_is_one_message(accepting: System) -> None:
    draft = Draft("webhook.orders.create", b"{}", shop="a.myshopify.com", key="delivery-1")
    async with (
        open_pool(accepting.settings) as pool,
        open_producer(accepting.settings, schema="webhooks", pool=pool) as other,
    ):
        producers = [accepting.producer, other] * 25
        receipts = await asyncio.gather(*(producer.accept(draft) for producer in producers))
    assert len({receipt.id for receipt in receipts}) == 1
    assert sorted(receipt.duplicate for receipt in receipts) == [False] + [True] * 49
    assert await stored(accepting) == {receipts[0].id} == set(await lanes(accepting))
    assert await accepting.pool.fetchval("SELECT sum(total) FROM webhooks.duplicates") == 49


async def test_many_webhooks_repeated_in_opposite_orders_do_not_block_each_other(accepting: System) -> None:
    drafts = [Draft("webhook.orders.create", b"{}", shop=f"{n % 3}", key=f"k{n}") for n in range(100)]
    async with (
        open_pool(accepting.settings) as pool,
        open_producer(accepting.settings, schema="webhooks", pool=pool) as other,
    ):
        there, back = await asyncio.gather(
            asyncio.gather(*(accepting.producer.accept(draft) for draft in drafts)),
            asyncio.gather(*(other.accept(draft) for draft in reversed(drafts))),
        )
    assert [receipt.id for receipt in there] == [receipt.id for receipt in reversed(back)]
    assert len(await stored(accepting)) == 100


async def test_one_key_from_two_shops_is_two_messages(accepting: System) -> None:
    ids = {await accepting.accept(shop=shop, key="same") for shop in ("a", "b", "")}
    assert len(ids) == 3


async def test_messages_without_a_key_are_never_duplicates(accepting: System) -> None:
    assert len(set(await accepting.accept_many(20, shop="a"))) == 20


@pytest.mark.parametrize(
    "bad",
    [{"subject": "a\x00b"}, {"shop": "lone \ud800 surrogate"}, {"headers": {"x": "\x00"}}, {"key": "\x00"}],
)
async def test_a_row_that_postgres_refuses_fails_alone(accepting: System, bad: dict[str, Any]) -> None:
    drafts = [Draft("webhook.test", b"{}", key=f"{n}") for n in range(30)]
    drafts.insert(15, Draft("webhook.test", b"{}", **bad))
    answers = await asyncio.gather(*map(accepting.producer.accept, drafts), return_exceptions=True)
    refused = answers.pop(15)
    assert isinstance(refused, Exception)
    assert not isinstance(refused, DatabaseAway)
    accepted = {answer.id for answer in answers if isinstance(answer, Receipt)}
    assert len(accepted) == 30
    assert await stored(accepting) == accepted


@pytest.mark.parametrize("outage", ["stop", "kill"])
async def test_an_outage_leaves_nothing_half_accepted_and_needs_no_restart(
    accepting: System, postgres: PostgresServer, outage: str
) -> None:
    """Asyncpg: after a restart each idle connection fails once."""
    answers: list[Receipt | DatabaseAway] = []

    async def send_until(enough: Any) -> None:
        while not enough():
            answers.append(await tried(accepting.producer, Draft("webhook.test", b"{}")))

    refused = lambda: any(isinstance(answer, DatabaseAway) for answer in answers)  # noqa: E731
    traffic = [asyncio.create_task(send_until(refused)) for _ in range(10)]
    await poll(lambda: len(answers) > 50)
    await asyncio.to_thread(getattr(postgres, outage))
    await asyncio.gather(*traffic)
    assert isinstance(await tried(accepting.producer, Draft("webhook.test", b"{}")), DatabaseAway)

    await asyncio.to_thread(postgres.start)
    await poll(lambda: accepted_again(accepting.producer))
    receipts = {answer.id for answer in answers if isinstance(answer, Receipt)}
    assert receipts <= await stored(accepting)
    assert await accepting.pool.fetchval(HALF_ACCEPTED) == 0


async def accepted_again(producer: Producer) -> bool:
    return isinstance(await tried(producer, Draft("webhook.test", b"{}")), Receipt)


async def test_a_silent_postgres_is_away_too(accepting: System, postgres: PostgresServer) -> None:
    await accepting.accept()
    postgres.freeze()
    answers = await asyncio.gather(*(tried(accepting.producer, Draft("t", b"")) for _ in range(40)))
    assert all(isinstance(answer, DatabaseAway) for answer in answers)
    postgres.thaw()
    await poll(lambda: accepted_again(accepting.producer))


async def test_a_repeated_draft_after_an_outage_is_a_duplicate_or_new_but_never_two(
    accepting: System, postgres: PostgresServer
) -> None:
    draft = Draft("webhook.test", b"{}", key="once")
    postgres.freeze()
    assert isinstance(await tried(accepting.producer, draft), DatabaseAway)  # it may still be committed
    postgres.thaw()
    await poll(lambda: accepted_again(accepting.producer))
    receipt = await accepting.producer.accept(draft)
    found = await accepting.pool.fetch("SELECT id FROM webhooks.messages WHERE key = 'once'")
    assert [row["id"] for row in found] == [receipt.id]


async def test_those_who_come_together_share_commits_and_who_comes_alone_has_one(accepting: System) -> None:
    def commits() -> float:
        return counted("outbox_commit_batch_size_count", service="webhooks")

    before = commits()
    await accepting.accept_many(500)
    assert commits() - before < 50
    before = commits()
    for _ in range(5):
        await accepting.accept()
    assert commits() - before == 5


async def test_a_commit_is_on_disk(accepting: System) -> None:
    assert await accepting.pool.fetchval("SHOW synchronous_commit") == "on"


async def test_what_a_shop_sends_beyond_its_share_takes_the_overflow_lane(database: str) -> None:
    async with system(database, shop_share_per_second=1e-9, shop_share_burst=3) as one:
        flood = [await one.accept("webhook.orders.create", shop="loud") for _ in range(5)]
        quiet = await one.accept("webhook.orders.create", shop="quiet")
        redact = await one.accept("webhook.shop.redact", shop="loud")
        nobody = [await one.accept("app.own") for _ in range(5)]
        found = await lanes(one)
    assert [found[identifier] for identifier in flood] == ["default"] * 3 + ["overflow"] * 2
    assert found[quiet] == "default"
    assert found[redact] == "critical"
    assert {found[identifier] for identifier in nobody} == {"default"}


@pytest.mark.parametrize(
    ("message_type", "lane"),
    [
        ("webhook.customers.redact", "critical"),
        ("webhook.app.uninstalled", "critical"),
        ("pixel.frame", "bulk"),
    ],
)
async def test_the_lane_is_the_types(accepting: System, message_type: str, lane: str) -> None:
    assert await lane_of(accepting, await accepting.accept(message_type)) == lane


async def test_a_draft_may_name_its_lane(accepting: System) -> None:
    assert await lane_of(accepting, await accepting.accept(lane=Lane.BULK)) == "bulk"


async def test_a_delayed_draft_waits_in_scheduled_once(accepting: System) -> None:
    ids = {await accepting.accept(key="later", delay=3_600.0) for _ in range(3)}
    [row] = await accepting.pool.fetch("SELECT *, due_at > now() + '50 min' AS late FROM worker.scheduled")
    assert {row["message_id"]} == ids == await stored(accepting)
    assert (row["source"], row["reason"], row["late"]) == ("webhooks", "delay", True)
    assert await lanes(accepting) == {}


async def test_delayed_and_ready_drafts_share_a_commit(accepting: System) -> None:
    drafts = [Draft("webhook.test", b"{}", delay=3_600.0 * (n % 2)) for n in range(20)]
    receipts = await asyncio.gather(*map(accepting.producer.accept, drafts))
    assert len(await lanes(accepting)) == 10
    assert await stored(accepting) == {receipt.id for receipt in receipts}
    assert await accepting.pool.fetchval("SELECT count(*) FROM worker.scheduled") == 10


async def test_what_is_put_into_a_transaction_lives_and_dies_with_it(accepting: System) -> None:
    async with connection(accepting.pool, 1.0) as conn:
        transaction = conn.transaction()
        await transaction.start()
        await accepting.producer.put(conn, [Draft("webhook.test", b"{}")])
        await transaction.rollback()
        assert await stored(accepting) == set()
        async with conn.transaction():
            [out] = await accepting.producer.put(
                conn, [Draft("webhook.test", b"{}", key="k"), Draft("t", b"", key="k")]
            )
    assert await stored(accepting) == {out.id}


async def test_a_message_is_stored_as_it_came(accepting: System) -> None:
    body = bytes(range(256))
    identifier = await accepting.accept(
        "webhook.orders.create", body, shop="a", subject="s", headers={"X": "ü"}, content_type="text/plain"
    )
    row = await accepting.pool.fetchrow(
        "SELECT *, headers->>'X' AS x FROM webhooks.messages WHERE id = $1", identifier
    )
    assert row is not None
    assert (row["body"], row["x"], row["content_type"], row["subject"]) == (body, "ü", "text/plain", "s")


async def test_wake_ups_are_gathered_and_name_the_oldest_message(accepting: System) -> None:
    heard: list[Wake] = []
    listener = await asyncpg.connect(accepting.database_url)
    await listener.add_listener(channel("worker"), lambda *event: heard.append(Wake.parse(str(event[-1]))))
    ids = await accepting.accept_many(300)
    last = await accepting.accept("pixel.frame")
    await poll(lambda: any(wake.lane is Lane.BULK for wake in heard))
    await listener.close()
    assert min(wake.first for wake in heard if wake.lane is Lane.DEFAULT) == min(ids)
    assert [wake.first for wake in heard if wake.lane is Lane.BULK] == [last]
    assert len(heard) < 100
