"""Several faults at once, in an order that chance decides."""

import asyncio
import random
from collections.abc import Collection, Sequence

from tests.chaos.faults.fault import Fault
from tests.chaos.world import World

_WITHIN_SECONDS = 5.0  # each begins within so long


class Storm(Fault):
    """Faults that overlap: each begins in its own time, and is healed when it has done its harm."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(
            " + ".join(fault.name for fault in faults),
            touches=frozenset().union(*(fault.touches for fault in faults)),
            during=self._rage,
            build={name: build for fault in faults for name, build in fault.build.items()},
            needs_small_disk=any(fault.needs_small_disk for fault in faults),
        )
        self._faults = tuple(faults)

    async def heal(self, world: World) -> None:
        """Heals what broke off."""
        for fault in self._faults:
            await fault.heal(world)

    async def _rage(self, world: World) -> None:
        async with asyncio.TaskGroup() as lives:
            for fault in self._faults:
                lives.create_task(_live(fault, world))


async def _live(fault: Fault, world: World) -> None:
    await asyncio.sleep(world.rng.uniform(0, _WITHIN_SECONDS))
    await fault.harm(world)
    await fault.during(world)
    await fault.heal(world)


def drawn(rng: random.Random, faults: Collection[Fault], number: int) -> Storm:
    """So many of these faults that do not get into each other's way."""
    chosen: list[Fault] = []
    for fault in rng.sample(list(faults), len(faults)):
        if len(chosen) < number and not any(fault.touches & other.touches for other in chosen):
            chosen.append(fault)
    return Storm(chosen)
