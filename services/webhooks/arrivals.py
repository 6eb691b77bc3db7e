"""Reads out of the stored deliveries what has arrived of each resource: beside accepting, never in it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import UUID

import asyncpg
import orjson

from libs.common import logs
from libs.common.clock import Clock
from libs.common.contracts.envelope import Draft, origin_of
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.ids import id_floor
from libs.common.privacy.tombstones import Tombstones
from services.webhooks import arrivals_store, metrics
from services.webhooks.arrivals_store import Delivered, Seen
from services.webhooks.reconcile_plan import FAMILIES, Family, second_of

_EVERY_SECONDS = 15.0
_AT_ONCE, _MOST_BYTES = 200, 1024 * 1024  # of one batch: some milliseconds, for which nothing is accepted
_SHORTEST_REST = 0.005
_LARGEST_ID = 2**63 - 1

_BY_TYPE: Mapping[str, tuple[Family, str]] = {
    kind: (family, topic) for family in FAMILIES for kind, topic in family.types().items()
}
_UPDATES = tuple(family.update for family in FAMILIES)

_log = logs.logger("webhooks")


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Reads on and on. Any number of processes may do it: one at a time does."""

    pool: asyncpg.Pool
    tombstones: Tombstones
    clock: Clock
    timeout: float
    settle: float  # seconds that an id may be older than the commit of its row

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.catch_up()
            except DatabaseAway:
                _log.info("What has arrived is not read while Postgres is away.")
            await self.clock.sleep(_EVERY_SECONDS)

    async def catch_up(self) -> datetime:
        """Reads all that is committed; until when everything that was accepted is known.

        It rests for as long as it has worked: requests are accepted on the same loop.
        """
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                until = await arrivals_store.settled(conn, timedelta(seconds=self.settle))
        bound = id_floor(until)
        began = self.clock.monotonic()
        while await self._read(bound):
            await self.clock.sleep(max(_SHORTEST_REST, self.clock.monotonic() - began))
            began = self.clock.monotonic()
        return until

    async def _read(self, bound: UUID) -> bool:
        """One batch; False where there is nothing left to read."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                async with conn.transaction():
                    return await self._batch(conn, bound)

    async def _batch(self, conn: Connection, bound: UUID) -> bool:
        since, upto = await arrivals_store.take(conn)
        after = upto or id_floor(since - timedelta(seconds=self.settle))
        rows = await arrivals_store.read(conn, after, bound, list(_BY_TYPE), _AT_ONCE, _MOST_BYTES)
        found = [one for one in map(_read_delivery, await self._welcome(conn, rows)) if one is not None]
        if found:
            await arrivals_store.keep(conn, list(_newest(found)))
            delivered = [one.delivered for one in found if not one.reconciled]
            metrics.RECONCILED_LATE.inc(await arrivals_store.mark_late(conn, delivered, _UPDATES))
        await arrivals_store.advance(conn, rows[-1]["id"] if rows else bound)
        return bool(rows)

    async def _welcome(self, conn: Connection, rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        """Without those who were erased. Nobody is buried until this is committed, and an erasure then finds it."""
        told = [row for row in rows if row["body"] is not None]
        drafts = [Draft(row["type"], row["body"], row["shop"], time=row["time"]) for row in told]
        kept = {id(draft) for draft in await self.tombstones.welcome(conn, drafts)} if drafts else set()
        return [row for row, draft in zip(told, drafts, strict=True) if id(draft) in kept]


@dataclass(frozen=True, slots=True)
class _Found:
    delivered: Delivered
    reconciled: bool
    moments: tuple[str, ...]


def _read_delivery(row: asyncpg.Record) -> _Found | None:
    """What a delivery tells; None for what names no resource, as one that was erased."""
    try:
        payload = orjson.loads(row["body"])
    except orjson.JSONDecodeError:
        return None
    number = payload.get("id") if isinstance(payload, dict) else None
    if type(number) is not int or not 0 < number <= _LARGEST_ID:
        return None
    family, topic = _BY_TYPE[row["type"]]
    at = _moment(payload.get("updated_at")) or second_of(row["time"])
    moments = (topic,) if topic in family.moments else ()
    delivered = Delivered(row["shop"], family.name, number, at, topic, row["id"])
    return _Found(delivered, origin_of(row["dataschema"]) == "reconciled", moments)


def _moment(text: object) -> datetime | None:
    """None where a subscription leaves it out, or for what is no time."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return second_of(moment.astimezone(UTC)) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _newest(found: Iterable[_Found]) -> Iterator[Seen]:
    """One for each resource: a statement cannot change a row twice."""
    together: dict[tuple[str, str, int], list[_Found]] = {}
    for one in found:
        key = (one.delivered.shop, one.delivered.family, one.delivered.resource_id)
        together.setdefault(key, []).append(one)
    for (shop, family, number), ones in together.items():
        newest = max(one.delivered.updated_at for one in ones)
        topics = sorted(set(chain.from_iterable(one.moments for one in ones)))
        yield Seen(shop, family, number, newest, topics)
