"""Named points between two steps of the protocol, where a chaos run may kill, freeze or fail the process.

Each stands for a crash that docs/architecture.md tells the consequences of, arrow by arrow.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, get_args

Hook = Callable[[], Awaitable[None]]

Point = Literal[
    # a producer accepts (arrow 1)
    "received, not stored",
    "stored, not announced",
    "stored, not answered",
    # it publishes (2) and frees (3)
    "committed, not published",
    "confirmed, not noted",
    "lost, not freed",
    "freed, not announced",
    # it brings messages to other programs
    "claimed, not relayed",
    "relayed, not ended",
    # a consumer takes messages in hand (5, 6, 12), keeps them (7) and starts them
    "redelivered, not taken over",
    "taken over, not started",
    "moved due, not started",
    "claimed, not started",
    "lease ending, not renewed",
    "suspicion noted, not started",
    "slot taken, not started",
    # it ends them: done (8), later (9), given up (10), given back (11)
    "handler done, not committed",
    "judged, not scheduled",
    "scheduled, not acknowledged",
    "judged, not given up",
    "given up, not acknowledged",
    "committed, not acknowledged",
    "owed, not given back",
    "given back, not announced",
    # a person puts them back to work (13)
    "replayed, not answered",
    # the worker cancels what waits for a shop that removed the app (14)
    "some cancelled, not all",
    # the worker fetches what a shop has in bulk
    "bulk operation begun, not kept",
    "pack stored, not committed",
    "pack committed, not announced",
    # auth gets tokens, and seals them with another key
    "install state taken, code not sent",
    "token answered, not kept",
    "token kept, not committed",
    "token committed, not announced",
    "sealed anew, not committed",
    # webhooks feeds what had not come
    "some fed, not all",
    # a service erases a person or a shop
    "rows erased, not committed",
    "rows erased, not answered",
]

POINTS: tuple[Point, ...] = get_args(Point)


class FaultPoints:
    """Does nothing unless hooks were given: production code passes none."""

    def __init__(self, hooks: Mapping[Point, Hook] | None = None) -> None:
        unknown = set(hooks or {}) - set(POINTS)
        if unknown:
            raise ValueError(f"no such fault point: {', '.join(sorted(unknown))}")
        self._hooks = dict(hooks or {})

    async def reach(self, point: Point) -> None:
        """Runs the hook of a point, if it has one."""
        if self._hooks and (hook := self._hooks.get(point)):
            await hook()
