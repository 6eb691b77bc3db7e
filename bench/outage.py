"""After an hour without workers: how fast the backlog goes while traffic goes on."""

import asyncio
import time
from dataclasses import dataclass
from functools import partial

import asyncpg

from bench import fill, stage
from bench.effects import Effects
from bench.processes import Processes
from bench.result import Curve, Plot, Ratio, Result, Table
from bench.scale import Scale
from bench.sender import Sender, paced
from bench.stage import Stage

_KIND = "together"
_TOPIC, _TYPE = f"bench/{_KIND}", f"webhook.bench.{_KIND}"
_BODY = 300
_TRAFFIC = 100.0  # webhooks a second
_EVERY = 1.0
_MOST_SECONDS = 900.0

# Counted by Postgres as it goes: no query that grows with the backlog disturbs the run.
_DONE = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relid = 'worker.history'::regclass"

NOTE = (
    f"One worker, started after the backlog was there; handlers share transactions (`{_KIND}`); "
    f"{_TRAFFIC:g} webhooks a second are accepted all the while by one webhooks process. Until the "
    "outbox is empty, with every effect there once."
)


@dataclass(frozen=True, slots=True)
class Drain:
    """Messages done by each moment, in seconds from the worker's start."""

    seconds: list[float]
    done: list[int]

    def pace(self, first: float, last: float) -> float:
        """Messages per second in a part of the run, given as shares of it."""
        a, b = (round(share * (len(self.done) - 1)) for share in (first, last))
        return (self.done[b] - self.done[a]) / (self.seconds[b] - self.seconds[a])


async def run(scale: Scale) -> Result:
    """One long run: a backlog of an hour is worked off once."""
    number = max(scale.backlogs[:1])
    with stage.opened() as servers, Processes({}) as processes:
        drain, total = await _after_outage(servers, processes, number, scale)
    return _result(number, drain, total)


async def _after_outage(servers: Stage, processes: Processes, number: int, scale: Scale) -> tuple[Drain, int]:
    url = await servers.database("outage")
    conn = await asyncpg.connect(url)
    scale.progress(f"an hour's {number:,} messages")
    await fill.fill(conn, number, _TYPE, body=_BODY)
    await fill.settle(conn)
    settings = stage.environment(url)
    port, _ = await processes.started("services.webhooks", **settings)
    async with Sender.opened(port) as sender:
        stop = asyncio.Event()
        traffic = asyncio.create_task(_traffic(sender, stop))
        drain = await _watched(conn, processes, settings, number, scale)
        stop.set()
        await traffic
    total = await Effects(conn).settled()
    await conn.close()
    return drain, total


async def _traffic(sender: Sender, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await paced(_TRAFFIC, 1.0, partial(sender.send, _TOPIC))


async def _watched(
    conn: asyncpg.Connection, processes: Processes, settings: dict[str, str], number: int, scale: Scale
) -> Drain:
    await processes.started("services.worker", **settings)
    drain, started = Drain([], []), time.monotonic()
    while (passed := time.monotonic() - started) < _MOST_SECONDS:
        done = await conn.fetchval(_DONE) or 0
        drain.seconds.append(passed)
        drain.done.append(done)
        scale.progress(f"{done:,} of {number:,} done")
        if done >= number:
            break
        await asyncio.sleep(_EVERY)
    return drain


def _result(number: int, drain: Drain, total: int) -> Result:
    thirds = [drain.pace(part / 3, (part + 1) / 3) for part in range(3)]
    rows = [(f"{name} third", pace) for name, pace in zip(("first", "second", "last"), thirds, strict=True)]
    steps = [
        (b - a) / (after - before)
        for a, b, before, after in zip(
            drain.done, drain.done[1:], drain.seconds, drain.seconds[1:], strict=False
        )
    ]
    return Result(
        "outage",
        f"A backlog of {number:,} after an outage",
        ratios=(Ratio("pace of the last third ÷ the first", [thirds[2] / thirds[0]]),),
        tables=(
            Table(("", "messages/s"), rows),
            Table(("", "figure"), [("seconds", drain.seconds[-1]), ("messages with one effect each", total)]),
        ),
        plots=(
            Plot(
                "Drain after an outage",
                "seconds",
                "messages/s",
                [Curve("one worker", drain.seconds[1:], steps)],
            ),
        ),
        notes=(NOTE,),
    )
