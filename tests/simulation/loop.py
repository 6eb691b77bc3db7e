"""An asyncio event loop on virtual time, with a seeded scheduler, on which simulated processes can freeze and die.

Three things differ from asyncio's own loop:

* Time is a number. When nothing can run, it jumps to the next timer; so an hour costs as much as what happens in it.
* Which of the callbacks that can run is next is drawn from a seeded generator. Timers keep their order.
* Everything that is started inside a `Process` belongs to it. A frozen process' callbacks wait until it thaws; those of
  a dead one never run, not even its `finally` blocks.

There is no real I/O and no thread, so the same seed gives the same run.
"""

import asyncio
import contextvars
import heapq
import itertools
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

_BURIAL_ROUNDS = 200

PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
OUTSIDE = contextvars.copy_context()
"""The context of what belongs to no process: the broker, the database, the network."""


class State(Enum):
    """What a process is able to do."""

    RUNNING = "running"
    FROZEN = "frozen"
    DEAD = "dead"


class Process:
    """One operating-system process: what is started in its context lives and dies with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = State.RUNNING
        self.held: list[SimHandle] = []  # what could have run since it was frozen or killed
        self.context = OUTSIDE.copy()
        self.context.run(PROCESS.set, self)

    def __repr__(self) -> str:
        return f"<{self.name}, {self.state.value}>"


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where in memory it lies, so that runs repeat."""

    numbers = itertools.count()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._number = next(SimTask.numbers)
        super().__init__(*arguments, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimHandle:
    """A callback that can run, or will at its time: what asyncio's `Handle` is, without what a simulation needs not."""

    __slots__ = ("arguments", "callback", "context", "dropped")

    def __init__(
        self, callback: Callable[..., object], arguments: tuple[Any, ...], context: contextvars.Context | None
    ) -> None:
        self.callback, self.arguments = callback, arguments
        self.context = contextvars.copy_context() if context is None else context
        self.dropped = False

    def cancel(self) -> None:
        self.dropped = True

    def cancelled(self) -> bool:
        return self.dropped


class SimLoop(asyncio.BaseEventLoop):
    """See above. `advance` runs it for a while; `errors` are those that nobody took."""

    _stopping: bool  # asyncio's own: `stop` was called

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.errors: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, context: self.errors.append(context))
        self._now = 0.0
        self._can_run: list[SimHandle] = []
        self._timers: list[tuple[float, int, SimHandle]] = []
        self._order = itertools.count()
        self._tasks: list[SimTask] = []
        self._prune_at = 256
        self._burying = False
        SimTask.numbers = itertools.count()

    # what asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> SimHandle:
        handle = SimHandle(callback, args, context)
        self._can_run.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        handle = SimHandle(callback, args, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> SimTask:  # type: ignore[override]
        task = SimTask(coro, loop=self, **options)
        self._tasks.append(task)
        if len(self._tasks) > self._prune_at:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._prune_at = max(256, 2 * len(self._tasks))
        return task

    def _run_once(self) -> None:
        """Runs what can run, one by one, until it is told to stop."""
        while not self._stopping:
            if not self._can_run:
                self._jump()
            handle = self._choose()
            if not handle.dropped:
                self._run(handle)

    def _run(self, handle: SimHandle) -> None:
        """Runs a callback, unless its process cannot."""
        process = handle.context.get(PROCESS)
        if process is not None and process.state is not State.RUNNING and not self._burying:
            process.held.append(handle)
            return
        try:
            handle.context.run(handle.callback, *handle.arguments)
        except Exception as error:  # noqa: BLE001 - as in asyncio's own loop
            self.call_exception_handler({"message": f"in {handle.callback}", "exception": error})

    def _jump(self) -> None:
        """Sets time to the next timer, and lets run what is due then."""
        timers = self._timers
        while timers and timers[0][2].dropped:
            heapq.heappop(timers)
        if not timers:
            raise RuntimeError("nothing will ever happen again")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            self._can_run.append(heapq.heappop(timers)[2])

    def _choose(self) -> SimHandle:
        can_run = self._can_run
        if len(can_run) == 1:
            return can_run.pop()
        chosen = int(self.rng.random() * len(can_run))
        handle, can_run[chosen] = can_run[chosen], can_run[-1]
        can_run.pop()
        return handle

    # what the simulation asks of it

    def advance(self, seconds: float) -> None:
        """Runs everything that happens within this time."""
        timer = self.call_later(seconds, self.stop, context=OUTSIDE)
        try:
            self.run_forever()
        finally:
            timer.cancel()

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> SimTask:
        """A task of this process."""
        return self.create_task(work, context=process.context.copy())

    def freeze(self, process: Process) -> None:
        if process.state is State.RUNNING:
            process.state = State.FROZEN

    def thaw(self, process: Process) -> None:
        """What waited can run; it is later than the process thinks."""
        if process.state is State.FROZEN:
            process.state = State.RUNNING
            self._can_run += process.held
            process.held = []

    def kill(self, process: Process) -> None:
        process.state = State.DEAD

    def bury(self, processes: Iterator[Process]) -> None:
        """The end of the world: lets everything that is left unwind, so that nothing of it meets the next world."""
        self._burying = True
        for process in processes:
            process.state = State.DEAD
            self._can_run += process.held
            process.held = []
        for _ in range(_BURIAL_ROUNDS):
            left = [task for task in self._tasks if not task.done()]
            if not left:
                break
            self._unwind(left)
        else:
            raise RuntimeError(f"cannot be ended: {left}")
        self.close()

    def _unwind(self, tasks: list[SimTask]) -> None:
        for task in tasks:
            task.cancel()
        with self._entered():
            while self._can_run:
                handle = self._can_run.pop(0)
                if not handle.dropped:
                    self._run(handle)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)
