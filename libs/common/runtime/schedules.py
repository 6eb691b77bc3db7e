"""`@every`: at each tick one worker, whichever is first, puts the schedule's message into the outbox.

Time is Postgres' time, so that a process whose clock is off neither runs ahead nor behind. A tick that passed while
no worker was there is made up for once.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import structlog
from croniter import croniter

from libs.common.clock import Clock
from libs.common.contracts.envelope import Draft
from libs.common.db import Connection, connection, is_away
from libs.common.outbox.names import bind
from libs.common.outbox.producer import Producer
from libs.common.runtime.handlers import Handler

_log = structlog.get_logger(__name__)
_LONGEST_NAP = 30.0  # seconds; how late a change of the database's clock is noticed

KNOW = """
INSERT INTO CONSUMER.schedules (name, last_tick) SELECT unnest($1::text[]), now() ON CONFLICT (name) DO NOTHING
"""
LOOK = "SELECT name, last_tick, now() AS now FROM CONSUMER.schedules WHERE name = ANY ($1)"
# Only the first of several workers moves the tick forward; the message goes out in the same transaction.
TAKE = "UPDATE CONSUMER.schedules SET last_tick = $2 WHERE name = $1 AND last_tick < $2 RETURNING name"


class Schedules:
    """Emits `schedule.<handler>` messages for the handlers declared with `@every`."""

    def __init__(
        self, consumer: str, handlers: Sequence[Handler], pool: asyncpg.Pool, producer: Producer, clock: Clock
    ) -> None:
        self._consumer, self._pool, self._producer, self._clock = consumer, pool, producer, clock
        self._handlers = {handler.name: handler for handler in handlers if handler.schedule}
        self._known = False

    async def run(self) -> None:
        """Emits ticks until cancelled."""
        while self._handlers:
            try:
                nap = await self.tick()
            except Exception as error:
                if not is_away(error):
                    raise
                nap = 1.0
            await self._clock.sleep(nap)

    async def tick(self) -> float:
        """Emits what is due; returns seconds until the next tick, at most half a minute."""
        async with connection(self._pool, 3.0) as conn:
            if not self._known:
                await conn.execute(bind(KNOW, consumer=self._consumer), list(self._handlers))
                self._known = True
            rows = await conn.fetch(bind(LOOK, consumer=self._consumer), list(self._handlers))
            naps = [await self._consider(conn, row["name"], row["last_tick"], row["now"]) for row in rows]
        return min(naps, default=_LONGEST_NAP)

    async def _consider(self, conn: Connection, name: str, last: datetime, now: datetime) -> float:
        cron = self._handlers[name].schedule or ""
        due: datetime = croniter(cron, now + timedelta(microseconds=1)).get_prev(datetime)
        if due > last:
            await self._emit(conn, name, due)
        following: datetime = croniter(cron, now).get_next(datetime)
        return min(_LONGEST_NAP, max(0.01, (following - now).total_seconds()))

    async def _emit(self, conn: Connection, name: str, due: datetime) -> None:
        draft = Draft(f"schedule.{name}", b"{}", key=f"schedule {name} {due.isoformat()}", time=due)
        async with conn.transaction():
            if await conn.fetchval(bind(TAKE, consumer=self._consumer), name, due) is None:
                return
            sent = await self._producer.put(conn, [draft])
        self._producer.sent(sent)
        _log.info("A schedule's time has come.", handler=name, tick=due.isoformat())
