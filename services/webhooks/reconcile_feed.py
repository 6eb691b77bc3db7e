"""Feeds what had not come through the pipeline that webhooks take, and remembers it in the same transaction."""

import hashlib
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import asyncpg

from libs.common.contracts.envelope import RECONCILED, Draft, marked
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import ShopbusError
from libs.common.outbox.producer import Producer
from libs.common.outbox.put_store import Outgoing
from libs.common.privacy.tombstones import Tombstones
from libs.common.shopify.webhook_headers import message_type
from services.webhooks import metrics, reconcile_store
from services.webhooks.reconcile_plan import Family
from services.webhooks.reconcile_store import Fed
from services.webhooks.service import RECONCILED_KEY

_TOPIC = "x-shopify-topic"


class TakenOver(ShopbusError):
    """Another run has taken over the shop, or it was erased: this one writes nothing any more."""


@dataclass(frozen=True, slots=True)
class Grip:
    """A run's hold on its shop."""

    shop: str
    holder: UUID
    lease: timedelta


class Fate(StrEnum):
    """What became of a resource of which something had not come."""

    RECONCILED = "reconciled"
    MISSING = "missing"
    WITHHELD = "withheld"  # the person was erased, so its webhook would not have been kept either


@dataclass(frozen=True, slots=True)
class Gap:
    """A resource of which webhooks have not come, as it stands at Shopify now."""

    number: int
    topics: Mapping[str, datetime | None]  # with their moments, as `lost` says
    listed_at: datetime  # `updated_at` in the list, by which it belongs to an hour
    updated_at: datetime  # of the payload, which may be newer
    body: bytes = b""
    gid: str = ""
    problem: str | None = None  # why there is no payload


@dataclass(frozen=True, slots=True)
class Feeder:
    """The same state is fed once, however often and by whomever it is found missing."""

    pool: asyncpg.Pool
    producer: Producer
    tombstones: Tombstones
    version: str  # of the Admin API
    timeout: float

    async def feed(self, grip: Grip, family: Family, gaps: Sequence[Gap]) -> list[Fate]:
        """What became of each; raises `TakenOver`, or `DatabaseAway` with nothing done."""
        drafts = [draft for gap in gaps for draft in self._drafts(grip.shop, gap).values()]
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                async with conn.transaction():
                    if not await reconcile_store.hold(conn, grip.shop, grip.holder, grip.lease):
                        raise TakenOver
                    welcome = await self._welcome(conn, drafts, gaps)
                    new = await self.producer.put(conn, welcome)
                    await reconcile_store.note(conn, grip.shop, list(_noted(family, gaps, new)))
        self._tell(new)
        told = {draft.key for draft in welcome}
        return [_fate(gap, told) for gap in gaps]

    async def _welcome(self, conn: Connection, drafts: Sequence[Draft], gaps: Sequence[Gap]) -> list[Draft]:
        """Judged by when each webhook would have been triggered: what was before an erasure does not come back."""
        moments = {_key(topic, gap): at for gap in gaps for topic, at in gap.topics.items()}
        then = [replace(draft, time=moments[draft.key or ""] or draft.time) for draft in drafts]
        kept = {draft.key for draft in await self.tombstones.welcome(conn, then)}
        return [draft for draft in drafts if draft.key in kept]

    def _tell(self, new: Sequence[Outgoing]) -> None:
        self.producer.sent(new)
        for out in new:
            metrics.RECONCILED.labels(metrics.topic_label((out.draft.headers or {})[_TOPIC])).inc()

    def _drafts(self, shop: str, gap: Gap) -> dict[str, Draft]:
        """The messages that take the place of what did not come, by topic."""
        if gap.problem is not None:
            return {}
        return {
            topic: Draft(
                type=message_type(topic), body=gap.body, shop=shop, key=_key(topic, gap), time=gap.updated_at,
                subject=gap.gid, dataschema=marked(self.version, RECONCILED), headers={_TOPIC: topic},
            )
            for topic in gap.topics
        }  # fmt: skip


def _fate(gap: Gap, told: Container[str | None]) -> Fate:
    if gap.problem is not None:
        return Fate.MISSING
    return Fate.RECONCILED if any(_key(topic, gap) in told for topic in gap.topics) else Fate.WITHHELD


def _noted(family: Family, gaps: Sequence[Gap], new: Sequence[Outgoing]) -> Iterator[Fed]:
    ids = {out.draft.key: out.id for out in new}
    for gap in gaps:
        for topic in gap.topics:
            if (message := ids.get(_key(topic, gap))) or gap.problem:
                yield Fed(family.name, gap.number, gap.updated_at, topic, message, gap.problem)


def _key(topic: str, gap: Gap) -> str:
    """The same for the same moment or state. It outlives an erasure, so it names nobody."""
    named = f"{topic} {gap.number} {(gap.topics[topic] or gap.updated_at).isoformat()}"
    return RECONCILED_KEY + hashlib.blake2s(named.encode(), digest_size=16).hexdigest()
