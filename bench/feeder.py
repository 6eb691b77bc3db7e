"""Messages accepted as a service accepts them, as fast as commits go: the producer of benchmarks that need no HTTP."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Self

from bench.fill import BODY_BYTES
from libs.common.contracts.envelope import Draft
from libs.common.contracts.topology import Lane
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from services.webhooks.config import Settings
from tests.waiting import poll

_CALLERS = 128
_BODY = b"x" * BODY_BYTES


class Feeder:
    """A producer of the schema `webhooks` in this process."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Mapping[str, str]) -> AsyncIterator[Self]:
        """Waits until RabbitMQ is trusted, if there is one."""
        chosen = {name.lower(): value for name, value in settings.items()}
        mine = Settings.load(_env_file=None, **chosen)
        async with open_pool(mine) as pool, open_producer(mine, schema="webhooks", pool=pool) as producer:
            if (broker := producer.broker) is not None:
                await poll(lambda: broker.circuit.share() == 1.0, within=60)
            yield cls(producer)

    async def accept(self, number: int, message_type: str) -> None:
        """Returns when all are committed."""
        left = iter(range(number))

        async def caller() -> None:
            for _ in left:
                await self.one(message_type)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CALLERS):
                tasks.create_task(caller())

    async def one(
        self, message_type: str, *, shop: str = "bench.myshopify.com", lane: Lane | None = None
    ) -> None:
        await self._producer.accept(Draft(message_type, _BODY, shop=shop, lane=lane))
