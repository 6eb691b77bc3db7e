"""RabbitMQ itself is mistreated."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from libs.common.contracts.topology import Lane, queue_name
from tests.chaos.faults.fault import Fault, Trouble, do, flowing_long
from tests.chaos.world import World
from tests.servers.rabbitmq import RabbitNode

_FLAPS = 4


def _broken(break_it: Callable[[RabbitNode], None]) -> Trouble:
    @asynccontextmanager
    async def broken(world: World) -> AsyncIterator[None]:
        await do(break_it, world.rabbit)
        yield
        await do(world.rabbit.heal)

    return broken


def _broker(name: str, break_it: Callable[[RabbitNode], None]) -> Fault:
    return Fault(name, _broken(break_it), touches={"rabbitmq"})


def _delete_main_queue(rabbit: RabbitNode) -> None:
    rabbit.delete_queue(queue_name("worker", Lane.DEFAULT))


async def _freeze_and_thaw(world: World) -> None:
    for _ in range(_FLAPS):
        await do(world.rabbit.freeze)
        await world.flowing(60)
        await do(world.rabbit.thaw)
        await world.flowing(world.rng.randrange(60, 240))


BROKER = (
    _broker("broker killed", RabbitNode.kill),
    _broker("broker restarted in order", RabbitNode.stop),
    _broker("broker frozen", RabbitNode.freeze),
    _broker("broker blocked by a memory alarm", RabbitNode.raise_memory_alarm),
    _broker("broker blocked by a disk alarm", RabbitNode.raise_disk_alarm),
    _broker("broker wiped", RabbitNode.wipe),
    _broker("one queue deleted", _delete_main_queue),
    _broker("all queues deleted", RabbitNode.delete_queues),
    _broker("permission taken", RabbitNode.forbid),
    _broker("user shut out", RabbitNode.shut_out),
    _broker("connections closed by the broker", RabbitNode.close_connections),
    Fault(
        "broker frozen for longer than its leases",
        _broken(RabbitNode.freeze),
        touches={"rabbitmq"},
        during=flowing_long(1000),
    ),
    Fault("broker flapping", _broken(RabbitNode.heal), touches={"rabbitmq"}, during=_freeze_and_thaw),
)
