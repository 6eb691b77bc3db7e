"""SQL of the partitions of `worker.pixel_events`."""

from datetime import date, datetime

from libs.common.db import Connection

# Names of tables cannot be parameters of DDL; this one is made of a date alone.
PARTITIONS = """
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'worker.pixel_events'::regclass AND c.relname ~ '^pixel_events_[0-9]{8}$'
ORDER BY 1
"""


async def partitions(conn: Connection) -> list[date]:
    """The days that have a partition."""
    return [row["day"] for row in await conn.fetch(PARTITIONS)]


LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('worker pixel partitions', 0))"


async def take_turn(conn: Connection) -> bool:
    """Whether nobody else is at the partitions, until the transaction ends."""
    return bool(await conn.fetchval(LOCK))


# A table is made, filled with what waits for it in the default partition, and then attached: that needs no lock that
# would hold up those who insert for other days.
MAKE = """
DO $do$
DECLARE
    wanted date := current_setting('shopbus.pixel_day')::date;
    name text := 'pixel_events_' || to_char(wanted, 'YYYYMMDD');
BEGIN
    EXECUTE format('CREATE TABLE worker.%I (LIKE worker.pixel_events INCLUDING ALL)', name);
    LOCK TABLE worker.pixel_events_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('WITH moved AS (DELETE FROM worker.pixel_events_default WHERE day = %L RETURNING *)
                    INSERT INTO worker.%I SELECT * FROM moved', wanted, name);
    EXECUTE format('ALTER TABLE worker.pixel_events ATTACH PARTITION worker.%I FOR VALUES FROM (%L) TO (%L)',
                   name, wanted, wanted + 1);
END $do$
"""
DROP = """
DO $do$
BEGIN
    EXECUTE format('DROP TABLE worker.%I',
                   'pixel_events_' || to_char(current_setting('shopbus.pixel_day')::date, 'YYYYMMDD'));
END $do$
"""
NAME_DAY = "SELECT set_config('shopbus.pixel_day', $1, true), set_config('lock_timeout', '2s', true)"


async def make(conn: Connection, day: date) -> None:
    """Makes a day's partition, with the rows that waited for it; in the caller's transaction."""
    await conn.execute(NAME_DAY, day.isoformat())
    await conn.execute(MAKE)


async def drop(conn: Connection, day: date) -> None:
    """Drops a day's partition; in the caller's transaction."""
    await conn.execute(NAME_DAY, day.isoformat())
    await conn.execute(DROP)


FORGET_DEFAULT = """
DELETE FROM worker.pixel_events_default WHERE ctid IN (
    SELECT ctid FROM worker.pixel_events_default WHERE received_at < $1 LIMIT $2
)
"""


async def forget_default(conn: Connection, before: datetime, batch: int) -> int:
    """Deletes a batch of what came before a time for days without a partition; returns how many."""
    status: str = await conn.execute(FORGET_DEFAULT, before, batch)
    return int(status.rpartition(" ")[2])


COUNT_DEFAULT = "SELECT count(*) FROM (SELECT FROM worker.pixel_events_default LIMIT $1) AS found"


async def count_default(conn: Connection, most: int) -> int:
    """How many events are of days without a partition, as far as it is worth counting."""
    number: int = await conn.fetchval(COUNT_DEFAULT, most)
    return number
