"""SQL that deletes what the reconciler knows and is older than the retention: window by window along a primary key.

An index by time would be written with every webhook: `arrivals` could not be updated in place any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from libs.common.db import Connection

Key = tuple[str | int | datetime, ...]

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Walk:
    """A table, and the key that is before all others."""

    statement: str
    first: Key


# Whoever changes a row just now keeps it, and nobody waits: two who lock in different orders would for ever.
HOURS = """
WITH pack AS (
    SELECT shop, family, hour FROM webhooks.reconciled_hours WHERE (shop, family, hour) > ($3, $4, $5)
    ORDER BY shop, family, hour LIMIT $2
), last AS (SELECT * FROM pack ORDER BY shop DESC, family DESC, hour DESC LIMIT 1),
gone AS (DELETE FROM webhooks.reconciled_hours WHERE ctid = ANY (ARRAY(
    SELECT h.ctid FROM webhooks.reconciled_hours AS h
    WHERE (shop, family, hour) > ($3, $4, $5)
      AND (shop, family, hour) <= ((SELECT shop FROM last), (SELECT family FROM last), (SELECT hour FROM last))
      AND hour < now() - $1::interval
    FOR UPDATE SKIP LOCKED
)))
SELECT * FROM last
"""
FED = """
WITH pack AS (
    SELECT shop, family, resource_id, updated_at, topic FROM webhooks.reconciled
    WHERE (shop, family, resource_id, updated_at, topic) > ($3, $4, $5, $6, $7)
    ORDER BY shop, family, resource_id, updated_at, topic LIMIT $2
), last AS (
    SELECT * FROM pack ORDER BY shop DESC, family DESC, resource_id DESC, updated_at DESC, topic DESC LIMIT 1
),
gone AS (DELETE FROM webhooks.reconciled WHERE ctid = ANY (ARRAY(
    SELECT r.ctid FROM webhooks.reconciled AS r
    WHERE (shop, family, resource_id, updated_at, topic) > ($3, $4, $5, $6, $7)
      AND (shop, family, resource_id, updated_at, topic) <= (
          (SELECT shop FROM last), (SELECT family FROM last), (SELECT resource_id FROM last),
          (SELECT updated_at FROM last), (SELECT topic FROM last))
      AND updated_at < now() - $1::interval
    FOR UPDATE SKIP LOCKED
)))
SELECT * FROM last
"""
ARRIVALS = """
WITH pack AS (
    SELECT shop, family, resource_id FROM webhooks.arrivals WHERE (shop, family, resource_id) > ($3, $4, $5)
    ORDER BY shop, family, resource_id LIMIT $2
), last AS (SELECT * FROM pack ORDER BY shop DESC, family DESC, resource_id DESC LIMIT 1),
gone AS (DELETE FROM webhooks.arrivals WHERE ctid = ANY (ARRAY(
    SELECT a.ctid FROM webhooks.arrivals AS a
    WHERE (shop, family, resource_id) > ($3, $4, $5)
      AND (shop, family, resource_id)
          <= ((SELECT shop FROM last), (SELECT family FROM last), (SELECT resource_id FROM last))
      AND updated_at < now() - $1::interval
    FOR UPDATE SKIP LOCKED
)))
SELECT * FROM last
"""
WALKS = (
    Walk(HOURS, ("", "", _EARLIEST)),
    Walk(FED, ("", "", 0, _EARLIEST, "")),
    Walk(ARRIVALS, ("", "", 0)),
)


async def forget(
    conn: Connection, walk: Walk, after: Sequence[object], keep: timedelta, limit: int
) -> Key | None:
    """Deletes what is old among the next so many rows; up to where they go, None behind the last."""
    row = await conn.fetchrow(walk.statement, keep, limit, *after)
    return tuple(row) if row else None
