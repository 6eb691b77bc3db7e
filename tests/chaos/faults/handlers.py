"""Handlers as no one should write them, and messages that nothing survives."""

from collections.abc import Iterable

from tests.chaos.faults.fault import Fault, Step
from tests.chaos.world import World
from tests.waiting import poll

_WORKERS = ("worker0", "worker1")

ENDED = """
SELECT count(*) FROM (SELECT message_id FROM worker.failed UNION ALL SELECT message_id FROM worker.history) AS ended
WHERE message_id = ANY ($1::text[]::uuid[])
"""


def _sent(topic: str, number: int) -> Step:
    """Sends such messages among the others, and waits until each has ended."""

    async def send(world: World) -> None:
        ids = [await world.traffic.send(topic) for _ in range(number)]
        await all_ended(world, ids, within=180)
        await world.flowing()

    return send


async def all_ended(world: World, ids: Iterable[str], *, within: float) -> None:
    """Returns once each of these messages is in `history` or `failed`."""
    wanted = list(ids)

    async def ended() -> bool:
        return bool(await world.look.ask(ENDED, wanted) == len(wanted))

    await poll(ended, within=within)


HANDLERS = (
    Fault("a message that kills its worker", touches=_WORKERS, during=_sent("chaos/poison", 1)),
    Fault("three messages that kill their workers", touches=_WORKERS, during=_sent("chaos/poison", 3)),
    Fault("a handler that hangs", touches=(), during=_sent("chaos/hangs", 20)),
    Fault("a handler that blocks the loop", touches=(), during=_sent("chaos/blocks", 6)),
)
