"""Many concurrent callers share one commit, without a wait when there is only one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from libs.common.db import is_away

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """Gathers items while earlier ones are being written and writes what gathered together.

    `write` commits a whole batch and returns one result or error per item, in order. When it raises, and the error is
    the data's rather than the database's (`is_away`), each item is written alone, so that only the bad one fails.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        size: Callable[[Item], int],
        writers: int = 2,
        max_items: int = 500,
        max_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self._write = write
        self._size = size
        self._writers = writers
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0  # writers that will still look for more; a task outlives its last look by a moment

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Gives the item's result once it is committed; raises what writing it raised."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running < self._writers:
            self._running += 1
            task = asyncio.create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    async def close(self) -> None:
        """Waits until everything submitted has been answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._settle(self._gather())
        finally:
            self._running -= 1

    def _gather(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        total = 0
        while self._waiting and len(batch) < self._max_items:
            item, future = self._waiting[0]
            size = self._size(item)
            if batch and total + size > self._max_bytes:
                break
            self._waiting.popleft()
            if future.cancelled():  # its caller went away before anything was written
                continue
            batch.append((item, future))
            total += size
        return batch

    async def _settle(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch]) if batch else []
        except Exception as error:  # noqa: BLE001 - it is handed to the callers whose items failed
            if len(batch) > 1 and not is_away(error):
                for entry in batch:
                    await self._settle([entry])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
