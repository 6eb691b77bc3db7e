"""The network between our processes and a server is mistreated; the servers are well."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain

from tests.chaos.faults.fault import Fault, Step, Trouble, felt, flowing, flowing_long
from tests.chaos.proxy import Direction, Proxy
from tests.chaos.world import Server, World
from tests.waiting import poll

_CUTS = 4
_FLAPS = 4
_WAYS: Sequence[Direction] = ("to_server", "to_client")
_TITLES: dict[Server, str] = {"rabbitmq": "broker", "postgres": "Postgres"}


def _proxies(world: World, server: Server, *names: str) -> list[Proxy]:
    """The wires of these processes, or of all."""
    return [world.proxies[name, server] for name in names or world.stack.names]


def _broken(break_it: Callable[[Proxy], None], server: Server, *names: str, lost: bool = False) -> Trouble:
    """`lost`: what was held back never arrives."""

    @asynccontextmanager
    async def broken(world: World) -> AsyncIterator[None]:
        for proxy in _proxies(world, server, *names):
            break_it(proxy)
        yield
        for proxy in _proxies(world, server, *names):
            if lost:
                proxy.cut()
            proxy.heal()

    return broken


def _refuse(proxy: Proxy) -> None:
    proxy.refuse()
    proxy.cut()


def _flapping(server: Server) -> Step:
    """Away and there again, every few seconds."""

    async def flap(world: World) -> None:
        for _ in range(_FLAPS):
            for proxy in _proxies(world, server):
                _refuse(proxy)
            await (felt() if server == "postgres" else flowing)(world)
            for proxy in _proxies(world, server):
                proxy.heal()
            await world.flowing(world.rng.randrange(60, 240))

    return flap


def _cut_in_the_midst(server: Server) -> Step:
    """Each process loses its connections at some byte, for example between a publish or commit and its answer."""

    async def cut(world: World) -> None:
        for _ in range(_CUTS):
            for proxy in _proxies(world, server):
                cuts, way = proxy.cuts, world.rng.choice(_WAYS)
                proxy.cut_after(world.rng.randrange(1, 4000), way)
                await poll(lambda: proxy.cuts > cuts, within=90)  # noqa: B023 - awaited in the same turn
            await world.flowing()

    return cut


def _faults_of(server: Server, lighter: float) -> tuple[Fault, ...]:
    """`lighter`: how many times as much of a slow wire this server's protocol needs."""
    away = felt(60) if server == "postgres" else flowing
    title, touches = _TITLES[server], {f"wire to {server}"}
    broken, fault = partial(_broken, server=server), partial(Fault, touches=touches)
    hold_all, to_server, to_client = Proxy.blackhole, partial(_hold, "to_server"), partial(_hold, "to_client")
    slow = partial(Proxy.slow, bytes_per_second=2_000 * lighter)
    return (
        fault(f"{title} cut off by resets", broken(Proxy.cut)),
        fault(f"{title} refuses connections", broken(_refuse), during=away),
        fault(f"{title} behind a blackhole", broken(hold_all), during=away),
        fault(f"{title} behind a blackhole, packets lost", broken(hold_all, lost=True), during=away),
        fault(f"{title} hears nothing", broken(to_server), during=away),
        fault(f"{title} is not heard", broken(to_client), during=away),
        fault(f"{title} behind a slow wire", broken(slow)),
        fault(f"{title} behind a long wire", broken(partial(Proxy.slow, delay=0.05 * lighter**-0.5))),
        fault(f"{title} cut off at some byte", broken(Proxy.heal), during=_cut_in_the_midst(server)),
        fault(f"{title} flapping on the wire", broken(Proxy.heal), during=_flapping(server)),
    )


def _hold(direction: Direction, proxy: Proxy) -> None:
    proxy.hold(direction)


def _one_worker(server: Server, name: str, break_it: Callable[[Proxy], None]) -> Fault:
    """The others are not cut off. It lasts for longer than any lease."""
    touches = {f"wire to {server}"}
    return Fault(name, _broken(break_it, server, "worker0"), touches=touches, during=flowing_long(600))


WIRES = tuple(
    chain(
        _faults_of("rabbitmq", 1),
        _faults_of("postgres", 20),
        (
            _one_worker("rabbitmq", "one worker cut off from the broker", _refuse),
            _one_worker("rabbitmq", "one worker's broker in a blackhole", Proxy.blackhole),
            _one_worker("postgres", "one worker cut off from Postgres", _refuse),
            _one_worker("postgres", "one worker's Postgres in a blackhole", Proxy.blackhole),
            _one_worker("postgres", "one worker does not hear Postgres", partial(_hold, "to_client")),
        ),
    )
)
