"""Our own processes are killed, frozen, stopped, cut short at a step of the protocol, or given a wrong clock."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from tests.chaos.faults.fault import Fault, Step, Trouble, felt, flowing, flowing_long, nothing
from tests.chaos.process import Build
from tests.chaos.stack import Stack
from tests.chaos.world import World

_ALL = ("webhooks", "worker0", "worker1")
_WORKERS = _ALL[1:]
_TURNS = 3
_MINUTES = 60.0


def _broken(
    break_it: Callable[[Stack, str], None], mend_it: Callable[[Stack, str], None]
) -> Callable[..., Trouble]:
    def of(*names: str) -> Trouble:
        @asynccontextmanager
        async def broken(world: World) -> AsyncIterator[None]:
            for name in names:
                break_it(world.stack, name)
            yield
            for name in names:
                mend_it(world.stack, name)

        return broken

    return of


_killed, _frozen = _broken(Stack.kill, Stack.start), _broken(Stack.freeze, Stack.thaw)


def _fault(name: str, trouble: Callable[..., Trouble], names: Sequence[str], during: Step = flowing) -> Fault:
    return Fault(name, trouble(*names), touches=names, during=during)


async def _kill_again_and_again(world: World) -> None:
    """Each comes back at once, with all of its work open."""
    for _ in range(_TURNS):
        for name in world.rng.sample(_ALL, len(_ALL)):
            world.stack.kill(name)
            world.stack.start(name)
            await world.flowing(world.rng.randrange(5, 60))


async def _deploy(world: World) -> None:
    """As a rolling deployment does: each process is stopped in order and started again."""
    for name in _ALL:
        await world.rebuild(name)
        await world.flowing()


def _wrong_clock(name: str, minutes: int) -> Fault:
    build = {name: Build(clock_offset=minutes * _MINUTES)}
    title = f"clock of {name.rstrip('0')} {abs(minutes)} minutes {'ahead' if minutes > 0 else 'behind'}"
    return Fault(title, touches={name}, build=build, during=flowing_long(200))


PROCESSES = (
    _fault("one worker killed", _killed, ["worker0"]),
    _fault("all workers killed", _killed, _WORKERS),
    _fault("webhooks killed", _killed, ["webhooks"], felt()),
    _fault("one worker frozen past its lease", _frozen, ["worker0"], flowing_long(600)),
    _fault("all workers frozen past their leases", _frozen, _WORKERS, flowing_long(600)),
    _fault("webhooks frozen", _frozen, ["webhooks"], felt()),
    Fault("all processes killed again and again", nothing, touches=_ALL, during=_kill_again_and_again),
    Fault("all processes stopped in order, one by one", nothing, touches=_ALL, during=_deploy),
    *(_wrong_clock(name, minutes) for name in ("webhooks", "worker0") for minutes in (5, -5)),
)
