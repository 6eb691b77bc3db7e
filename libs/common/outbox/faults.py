"""Named points between two steps of the protocol, where a chaos run may kill, freeze or fail the process."""

from collections.abc import Awaitable, Callable, Mapping

Hook = Callable[[], Awaitable[None]]

POINTS = (
    "committed, not published",
    "confirmed, not noted",
    "claimed, not started",
    "handler done, not committed",
    "committed, not acknowledged",
    "install state taken, code not sent",
    "token answered, not kept",
    "token kept, not committed",
    "sealed anew, not committed",
)


class FaultPoints:
    """Does nothing unless hooks were given: production code passes none."""

    def __init__(self, hooks: Mapping[str, Hook] | None = None) -> None:
        unknown = set(hooks or {}) - set(POINTS)
        if unknown:
            raise ValueError(f"no such fault point: {', '.join(sorted(unknown))}")
        self._hooks = dict(hooks or {})

    async def reach(self, point: str) -> None:
        """Runs the hook of a point, if it has one."""
        if self._hooks and (hook := self._hooks.get(point)):
            await hook()
