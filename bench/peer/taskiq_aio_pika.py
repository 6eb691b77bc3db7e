"""taskiq with taskiq-aio-pika.

docs/available-components/brokers: a quorum queue (its default), `qos` raised for short tasks; docs/guide/cli: one
process a core, `--max-async-tasks`, acknowledged when executed (its default). Sent by many callers at once. At least
once.
"""

import asyncio
import os
import sys

import asyncpg
import uvloop
from taskiq import TaskiqEvents, TaskiqState
from taskiq_aio_pika import AioPikaBroker, Queue

from bench.peer.program import BODY, CALLERS, WRITE, database, timed
from bench.peer.program import broker as broker_url

broker = AioPikaBroker(broker_url(), qos=100, task_queues=[Queue(name="taskiq-rows")])
_state: dict[str, asyncpg.Pool] = {}


async def _open(_: TaskiqState) -> None:
    _state["pool"] = await asyncpg.create_pool(database(), min_size=8, max_size=8)


async def _write(number: int, body: str) -> None:  # noqa: ARG001 - the body travels, as with the others
    await _state["pool"].execute(WRITE, str(number))


broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, _open)
write = broker.task(task_name="row")(_write)


async def put(number: int) -> None:
    await broker.startup()
    left = iter(range(number))

    async def caller() -> None:
        for n in left:
            await write.kiq(n, BODY)

    async def send() -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CALLERS):
                tasks.create_task(caller())

    await timed(send())
    await broker.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "put":
        uvloop.run(put(int(sys.argv[2])))
    else:
        command = ["taskiq", "worker", "bench.peer.taskiq_aio_pika:broker", "--max-async-tasks", "100"]
        os.execv(sys.executable, [sys.executable, "-m", *command, "--log-level", "ERROR"])  # noqa: S606
