"""Steps a coroutine only while what it runs under is surely held."""

from asyncio import CancelledError
from collections.abc import Awaitable, Coroutine, Generator
from functools import partial
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Hold(Protocol):
    """What work runs under."""

    def sure(self) -> bool:
        """Whether it is surely held right now."""

    def lost(self) -> bool:
        """Whether it is surely not held any more; whoever works under it has been cancelled by then."""

    async def prove(self) -> None:
        """Tries to become sure; returns when it is, or is lost."""


class _Step(Protocol):
    def __call__(self) -> Any: ...


class Fenced(Awaitable[T]):
    """Awaits `work`. Each of its steps, from one await to the next, waits until the hold is sure.

    A cancellation is handed on at once: what follows it is cleaning up.
    """

    def __init__(self, work: Coroutine[Any, Any, T], hold: Hold) -> None:
        self._work, self._hold = work, hold

    def __await__(self) -> Generator[Any, Any, T]:
        step = yield from self._when_sure(partial(self._work.send, None))
        while True:
            try:
                awaited = step()
            except StopIteration as end:
                result: T = end.value
                return result
            step = yield from self._after(awaited)

    def _after(self, awaited: Any) -> Generator[Any, Any, _Step]:
        try:
            sent = yield awaited
        except CancelledError as error:
            return partial(self._work.throw, error)
        except BaseException as error:  # noqa: BLE001 - it is the work's to deal with
            return (yield from self._when_sure(partial(self._work.throw, error)))
        return (yield from self._when_sure(partial(self._work.send, sent)))

    def _when_sure(self, step: _Step) -> Generator[Any, Any, _Step]:
        try:
            while not self._hold.sure() and not self._hold.lost():
                yield from self._hold.prove().__await__()
                if self._hold.lost():
                    yield  # the cancellation that came with the loss arrives here, before the step
        except CancelledError as error:
            return partial(self._work.throw, error)
        return step
