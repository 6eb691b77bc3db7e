"""Bugs of accepting and publishing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from libs.common.bus.link import BrokerOptions
from libs.common.bus.publisher import BrokerPublisher
from libs.common.contracts.envelope import Draft, Message, Receipt
from libs.common.db import Connection, connection
from libs.common.outbox import end_store, put_store
from libs.common.outbox.broker_route import BrokerRoute, Target
from libs.common.outbox.names import bind
from libs.common.outbox.producer import Producer
from libs.common.outbox.put_store import Outgoing
from libs.common.shopify.signatures import WebhookVerifier
from libs.common.shopify.webhook_headers import Presented
from services.webhooks import service
from tests.chaos.bugs.bug import Bug
from tests.chaos.bugs.patches import replaced, rewritten

_FOR_EVER = 3_600.0

DELETE_CONFIRMED = "DELETE FROM SOURCE.outbox WHERE destination = $1 AND lane = $2 AND id = ANY ($3::uuid[])"

# As a consumer has to do it that finds no row: who was first is decided by the history's key.
END_WITHOUT_ROW = """
WITH gone AS (
    DELETE FROM SOURCE.outbox WHERE destination = $1 AND lane = $2 AND id = $3 RETURNING attempt, log
)
INSERT INTO CONSUMER.history
    (message_id, attempts, log, lane, source, type, shop, outcome, handler, route, created_at, started_at)
SELECT $3, coalesce(gone.attempt, 0) + 1, gone.log, $2, $4, $5, $6, $7, $8, $9, $10, $11
FROM (SELECT 1) AS one LEFT JOIN gone ON true
ON CONFLICT (message_id) DO NOTHING
RETURNING message_id
"""

# What this producer leased lately is put back, whether it was done meanwhile or not.
FREE_BY_INSERT = """
INSERT INTO SOURCE.outbox (destination, lane, id)
SELECT $2, $3, id FROM SOURCE.messages WHERE id >= $4 AND $1::text IS NOT NULL AND $3 = 'default'
ON CONFLICT (destination, lane, id) DO UPDATE SET holder = NULL, leased_until = NULL
RETURNING id
"""


def _publish_before_commit() -> None:
    async def commit(self: Producer, drafts: Sequence[Draft]) -> Sequence[Receipt | Exception]:
        batch = self._addressed(drafts)
        self.sent(batch)
        if self.broker is not None:
            await self.broker.drained()
        await self._faults.reach("received, not stored")
        async with connection(self._pool, self._timeout) as conn:
            new = await self._store(conn, batch)
            return await self._with_duplicates(conn, batch, new)

    replaced(Producer, _commit=commit)


def _failed_commit_taken_for_success() -> None:
    honest = Producer._commit

    async def commit(self: Producer, drafts: Sequence[Draft]) -> Sequence[Receipt | Exception]:
        try:
            return await honest(self, drafts)
        except Exception:  # noqa: BLE001 - that is the bug
            return [Receipt(self._ids.new(), duplicate=False) for _ in drafts]

    replaced(Producer, _commit=commit)


def _check_then_insert() -> None:
    """The index that settles the race is missing, so the check before the insert is all there is."""
    insert = put_store.put

    async def put(conn: Connection, source: str, batch: Sequence[Outgoing], **more: Any) -> set[UUID]:
        known = await put_store.known(conn, source, [out.draft for out in batch])
        new = [out for out in batch if (out.draft.key, out.draft.shop) not in known]
        return await insert(conn, source, new, **more) if new else set()

    replaced(put_store, put=put)
    rewritten(put_store, "PUT", "ON CONFLICT (key, shop) WHERE key IS NOT NULL DO NOTHING", "")


def _signature_not_checked() -> None:
    def verify(presented: Presented, body: bytes, verifier: WebhookVerifier) -> None:
        """Everybody is Shopify."""

    replaced(service, _verify=verify)


def _delete_on_confirm() -> None:
    publish = BrokerRoute._publish

    async def publish_and_delete(self: BrokerRoute, target: Target, pack: Sequence[Message]) -> None:
        await publish(self, target, pack)
        if not self._to_free.is_set():  # it was confirmed
            async with connection(self._pool, self._timeout) as conn:
                destination, lane = target
                ids = [message.id for message in pack]
                await conn.execute(bind(DELETE_CONFIRMED, source=self._source), destination, lane.value, ids)

    replaced(BrokerRoute, _publish=publish_and_delete)
    replaced(end_store, END_ONE=END_WITHOUT_ROW)


def _returned_taken_for_success() -> None:
    send = BrokerPublisher._send

    async def unnoticed(self: BrokerPublisher, *arguments: Any, mandatory: bool) -> None:
        await send(self, *arguments, mandatory=False)

    replaced(BrokerPublisher, _send=unnoticed)


def _confirm_awaited_for_ever() -> None:
    honest = BrokerOptions.of.__func__  # type: ignore[attr-defined]

    def patient(cls: type[BrokerOptions], *arguments: Any) -> BrokerOptions:
        options: BrokerOptions = honest(cls, *arguments)
        return replace(options, confirm_seconds=_FOR_EVER)

    replaced(BrokerOptions, of=classmethod(patient))


def _freed_from_the_dead() -> None:
    replaced(put_store, FREE=FREE_BY_INSERT)


PRODUCING = (
    Bug(
        "published before the commit", ("webhooks",), _publish_before_commit,
        provoke="webhooks killed before it stores", expected_rules=frozenset({"ran_unasked"}),
        drain_seconds=1.0,
    ),
    Bug(
        "failed commit taken for success", ("webhooks",), _failed_commit_taken_for_success,
        provoke="sessions ended in the middle of their work", expected_rules=frozenset({"not_stored", "lost"}),
    ),
    Bug(
        "duplicates found by check, then insert", ("webhooks",), _check_then_insert,
        provoke="nothing is broken", expected_rules=frozenset({"two_ids"}),
        schema="DROP INDEX webhooks.messages_key",
    ),
    Bug(
        "signature not checked", ("webhooks",), _signature_not_checked,
        provoke="nothing is broken", expected_rules=frozenset({"unasked", "never_accepted"}),
    ),
    Bug(
        "deleted on confirm", ("webhooks", "worker"), _delete_on_confirm,
        provoke="queues deleted with all in them", expected_rules=frozenset({"lost"}),
    ),
    Bug(
        "returned message taken for success", ("webhooks",), _returned_taken_for_success,
        provoke="queue unbound", expected_rules=frozenset({"left_over"}),
        drain_seconds=3.0,
    ),
    Bug(
        "confirm awaited for ever", ("webhooks",), _confirm_awaited_for_ever,
        provoke="broker takes in nothing", expected_rules=frozenset({"left_over"}),
        drain_seconds=3.0,
    ),
    Bug(
        "freed from the dead", ("webhooks",), _freed_from_the_dead,
        provoke="broker takes in nothing", expected_rules=frozenset({"done_and_failed", "status_went_back"}),
        drain_seconds=3.0,
    ),
)  # fmt: skip
