"""Feeds what had not come through the pipeline that webhooks take, and remembers it in the same transaction."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import asyncpg

from libs.common.contracts.envelope import RECONCILED, Draft, marked
from libs.common.db import connection, database_away_named
from libs.common.errors import ShopbusError
from libs.common.outbox.producer import Producer
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
        withheld = [await self._is_withheld(grip.shop, gap) for gap in gaps]
        told = [gap for gap, hidden in zip(gaps, withheld, strict=True) if not hidden]
        await self._put(grip, family, told)
        return [Fate.WITHHELD if hidden else _fate(gap) for gap, hidden in zip(gaps, withheld, strict=True)]

    async def _is_withheld(self, shop: str, gap: Gap) -> bool:
        covers = [await self.tombstones.cover(draft) for draft in self._drafts(shop, gap).values()]
        return any(cover is not None for cover in covers)

    async def _put(self, grip: Grip, family: Family, gaps: Sequence[Gap]) -> None:
        drafts = {
            (gap.number, topic): draft
            for gap in gaps
            for topic, draft in self._drafts(grip.shop, gap).items()
        }
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                async with conn.transaction():
                    if not await reconcile_store.hold(conn, grip.shop, grip.holder, grip.lease):
                        raise TakenOver
                    new = await self.producer.put(conn, list(drafts.values()))
                    ids = {out.draft.key: out.id for out in new}
                    fed = [_fed(family, gap, topic, ids) for gap in gaps for topic in gap.topics]
                    await reconcile_store.note(
                        conn, grip.shop, [one for one in fed if one.message_id or one.problem]
                    )
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


def _fate(gap: Gap) -> Fate:
    return Fate.RECONCILED if gap.problem is None else Fate.MISSING


def _fed(family: Family, gap: Gap, topic: str, ids: Mapping[str | None, UUID]) -> Fed:
    return Fed(family.name, gap.number, gap.updated_at, topic, ids.get(_key(topic, gap)), gap.problem)


def _key(topic: str, gap: Gap) -> str:
    """The same for the same moment or state. It outlives an erasure, so it names nobody."""
    named = f"{topic} {gap.number} {(gap.topics[topic] or gap.updated_at).isoformat()}"
    return RECONCILED_KEY + hashlib.blake2s(named.encode(), digest_size=16).hexdigest()
