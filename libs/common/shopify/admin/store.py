"""SQL of the budget that all processes share. The schema `shopify` is this package's; the worker migrates it."""

from libs.common.db import Connection
from libs.common.shopify.admin.budget import (
    AHEAD,
    DELAY,
    FLOORS,
    HIGHEST_FLOOR,
    SPARE_SHARE,
    UNKNOWN,
    Ask,
    Lease,
)

# One round trip: restores, takes back, corrects by what Shopify told, and leases. `budget.lease` is the same in Python.
# The clock is read behind the row's lock, or a process that waited for the lock would turn it back.
LEASE = """
WITH held AS (
    SELECT * FROM shopify.budgets WHERE shop = $1 FOR UPDATE
), timed AS (
    SELECT held.*, clock_timestamp() AS moment FROM held
), told AS (
    SELECT timed.*, greatest(0, extract(epoch FROM moment - at))::float8 AS elapsed,
           coalesce($8::float8, maximum) AS maximum_now, coalesce($9::float8, rate) AS rate_now,
           greatest(maximum - rate * $14, maximum / 2) AS cap_before FROM timed
), capped AS (
    SELECT told.*, greatest(maximum_now - rate_now * $14, maximum_now / 2) AS cap FROM told
), summed AS (
    SELECT capped.*, available + rate * elapsed + $7 + CASE WHEN known THEN cap - cap_before ELSE 0 END AS own,
           $10::float8 + rate_now * $11 AS shopifys FROM capped
), restored AS (
    SELECT summed.*, least(cap, CASE WHEN shopifys IS NULL THEN own WHEN known THEN least(own, shopifys)
                                     ELSE shopifys - rate_now * $14 END) AS level, $3 * cap AS floor FROM summed
), waiting AS (
    SELECT restored.*, greatest(0, least($2 + floor, cap) - level) / rate_now AS wait FROM restored
), granted AS (
    SELECT waiting.*, $2 > 0 AND wait <= $6 AND (wait <= $13 OR level >= floor) AS is_granted,
           CASE WHEN wait = 0 THEN least($4, greatest(0, level - $2 - floor)) ELSE 0 END AS more FROM waiting
), pointed AS (
    SELECT granted.*, CASE WHEN NOT is_granted THEN 0 WHEN wait > 0 THEN $2
        ELSE $2 + more + least($5, greatest(0, level - $2 - more - $12 * cap) * $15) END AS points FROM granted
)
UPDATE shopify.budgets AS budget
SET available = level - points, at = greatest(pointed.at, moment), maximum = maximum_now, rate = rate_now,
    known = pointed.known OR shopifys IS NOT NULL
FROM pointed WHERE budget.shop = $1
RETURNING points, wait, budget.available, budget.maximum, budget.rate
"""

BEGIN = """
INSERT INTO shopify.budgets (shop, available, maximum, rate) VALUES ($1, $2, $3, $4) ON CONFLICT (shop) DO NOTHING
"""

FORGET = "DELETE FROM shopify.budgets WHERE at < now() - make_interval(secs => $1)"


async def lease(conn: Connection, shop: str, ask: Ask, timeout: float) -> Lease:
    """Leases points for a shop, which begins with what is known of none."""
    if (found := await _lease(conn, shop, ask, timeout)) is not None:
        return found
    await conn.execute(BEGIN, shop, UNKNOWN.available, UNKNOWN.maximum, UNKNOWN.restore_rate, timeout=timeout)
    if (found := await _lease(conn, shop, ask, timeout)) is None:
        raise LookupError(f"the budget of {shop} vanished as soon as it was begun")
    return found


async def _lease(conn: Connection, shop: str, ask: Ask, timeout: float) -> Lease | None:
    bucket = ask.seen.bucket if ask.seen else None
    row = await conn.fetchrow(
        LEASE, shop, ask.need, FLOORS[ask.lane], ask.more, ask.spare, ask.patience, ask.returned,
        bucket and bucket.maximum, bucket and bucket.restore_rate, bucket and bucket.available,
        ask.seen.age if ask.seen else 0.0, HIGHEST_FLOOR, AHEAD, DELAY, SPARE_SHARE, timeout=timeout,
    )  # fmt: skip
    return None if row is None else Lease(**row)


async def forget(conn: Connection, unused_seconds: float, timeout: float) -> None:
    """Drops the budgets of shops that were not called for so long: their buckets are full, and begin as if new."""
    await conn.execute(FORGET, unused_seconds, timeout=timeout)
