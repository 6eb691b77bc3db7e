"""Asks the job API again and again where some of the messages stand, also through outages."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import aiohttp

from tests.chaos.history import Sighting

_ASKING = 4  # requests at once; each message is in the hand of one asker, so its sightings are in order
_PAUSE_SECONDS = 0.2
_LOOKS_AFTER_THE_END = 3
_TIMEOUT = aiohttp.ClientTimeout(total=1)
_FINAL = ("completed", "failed")
_OK, _UNKNOWN = 200, 404
_MISSING = {"status": "missing", "attempts": ()}


class Watcher:
    """Watches messages until they ended and a little longer; `last_look` sees each of them once more."""

    def __init__(self, bases: Sequence[str], token: str) -> None:
        self.sightings: list[Sighting] = []
        self._bases = itertools.cycle(bases)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self._watched: list[str] = []
        self._askers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, headers=self._headers)
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()
        await self._session.close()

    def watch(self, message_id: str) -> None:
        """Begins to ask for a message that was accepted."""
        self._watched.append(message_id)
        self._queue.put_nowait((message_id, _LOOKS_AFTER_THE_END))

    async def last_look(self) -> None:
        """Asks once more for every message that is or was watched, and forgets them."""
        await self._end()
        while self._watched:
            some, self._watched = self._watched[:_ASKING], self._watched[_ASKING:]
            await asyncio.gather(*(self._ask(message_id) for message_id in some))
        self._queue = asyncio.Queue()
        self._begin()

    def _begin(self) -> None:
        self._askers = [asyncio.create_task(self._ask_for_ever()) for _ in range(_ASKING)]

    async def _end(self) -> None:
        for asker in self._askers:
            asker.cancel()
        await asyncio.gather(*self._askers, return_exceptions=True)

    async def _ask_for_ever(self) -> None:
        while True:
            message_id, looks = await self._queue.get()
            status = await self._ask(message_id)
            if status in _FINAL:
                looks -= 1
            if looks:
                self._queue.put_nowait((message_id, looks))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _ask(self, message_id: str) -> str | None:
        """The status; None where nobody answered, which is no sighting."""
        try:
            async with self._session.get(f"{next(self._bases)}/api/jobs/{message_id}") as answer:
                if answer.status not in (_OK, _UNKNOWN):
                    return None
                job = await answer.json() if answer.status == _OK else _MISSING
        except (aiohttp.ClientError, TimeoutError):
            return None
        seen = Sighting(message_id, str(job["status"]), len(job["attempts"]), time.monotonic())
        self.sightings.append(seen)
        return seen.status
