"""Senders whose traffic goes on while a test does harm."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from libs.common.contracts.envelope import Draft
from libs.common.errors import DatabaseAway
from libs.common.outbox.producer import Producer
from tests.waiting import poll


@dataclass
class Traffic:
    """Senders that do as Shopify does: a delivery is sent again until it is accepted.

    They hurry while somebody waits for more. Otherwise the traffic only goes on: it would take the time of the server
    that is being started beside it.
    """

    producer: Producer
    accepted: dict[str, UUID] = field(default_factory=dict)
    refused: int = 0
    stopped: bool = False
    wanted: int = 0

    async def send(self, message_type: str) -> None:
        while not self.stopped:
            key = f"{message_type} {len(self.accepted)}"
            if (identifier := await self._accepted(Draft(message_type, b"{}", key=key))) is not None:
                self.accepted[key] = identifier
            await asyncio.sleep(0.002 if len(self.accepted) < self.wanted else 0.05)

    async def _accepted(self, draft: Draft) -> UUID | None:
        while not self.stopped:
            with suppress(DatabaseAway):
                return (await self.producer.accept(draft)).id
            self.refused += 1
            await asyncio.sleep(0.01)
        return None

    async def more(self, number: int = 100) -> None:
        """Returns once so many more were accepted."""
        self.wanted = len(self.accepted) + number
        await poll(lambda: len(self.accepted) >= self.wanted, within=60)


@asynccontextmanager
async def sending(producer: Producer, message_types: Sequence[str]) -> AsyncIterator[Traffic]:
    """A sender for each of these types, until the end of the block."""
    traffic = Traffic(producer)
    senders = [asyncio.create_task(traffic.send(message_type)) for message_type in message_types]
    try:
        yield traffic
    finally:
        traffic.stopped = True
        await asyncio.gather(*senders)
