"""Judges a run: what was accepted equals what was done, once each."""

from collections import Counter
from dataclasses import dataclass

import asyncpg

from tests.chaos.traffic import Record, roots
from tests.waiting import poll

TABLE = """
CREATE TABLE worker.chaos_effects (
    message_id text, handler text, root text, at timestamptz DEFAULT clock_timestamp()
)
"""

LEFT = """
SELECT (SELECT count(*) FROM webhooks.outbox) + (SELECT count(*) FROM worker.outbox)
     + (SELECT count(*) FROM worker.scheduled)
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong; nothing is what a run wants."""

    problems: list[str]
    effects: int
    by_route: dict[str, int]


async def drained(conn: asyncpg.Connection, within: float) -> None:
    """Returns once no work is left; fails after `within` seconds."""

    async def nothing_left() -> bool:
        return bool(await conn.fetchval(LEFT) == 0)

    await poll(nothing_left, within=within)


async def judge(conn: asyncpg.Connection, record: Record) -> Verdict:
    """Compares the sender's record with the effects, the history and the failed ones."""
    effects = await conn.fetch("SELECT message_id, handler, root FROM worker.chaos_effects")
    failed = {str(row["message_id"]) for row in await conn.fetch("SELECT message_id FROM worker.failed")}
    history = await conn.fetch("SELECT message_id, attempts, route, log FROM worker.history")
    stored = {str(row["id"]) for row in await conn.fetch("SELECT id FROM webhooks.messages")}

    first = Counter(row["message_id"] for row in effects if row["handler"] != "link")
    links = Counter(row["root"] for row in effects if row["handler"] == "link")
    wanted = roots(record, ("chaos/plain", "chaos/together", "chaos/slow", "chaos/chain"))
    refused = roots(record, ("chaos/refused",))
    chains = roots(record, ("chaos/chain",))
    problems = [
        *(f"{w}: answered with different ids {ids}" for w, ids in record.accepted.items() if len(ids) > 1),
        *(f"{m}: accepted, but {first[m]} effects" for m in wanted if first[m] != 1),
        *(f"{m}: its emitted message has {links[m]} effects" for m in chains if links[m] != 1),
        *(f"{m}: refused, but not in failed" for m in refused if m not in failed),
        *(f"{m}: an effect without acceptance" for m in first if m not in stored),
        *(f"{m}: an effect although refused" for m in refused if first[m]),
        *(f"{m}: failed, but nothing refused it" for m in failed - refused if m in record.topics),
        *(
            f"{row['message_id']}: an outage used up an attempt: {row['log']}"
            for row in history
            if row["attempts"] != 1
        ),
    ]
    return Verdict(problems, len(effects), dict(Counter(row["route"] for row in history)))
