"""The whole system on virtual time, and the steps by which a schedule drives and hurts it.

Each public method of `World` down to `finish` is a step: names and numbers in, nothing out. So a schedule is a list of
steps, which can be drawn, shrunk, printed and replayed.
"""

from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

from libs.common.bus.link import BrokerOptions
from libs.common.contracts.topology import Lane, queue_name
from libs.common.outbox.faults import Point
from libs.common.runtime.config import ConsumerSettings
from tests.chaos.history import Trouble
from tests.simulation import patches
from tests.simulation.amqp import SimPublisher
from tests.simulation.broker import Broker, Fate, Reach
from tests.simulation.clock import SimClock
from tests.simulation.database import Database
from tests.simulation.diary import Diary
from tests.simulation.faults import DatabaseFaults, Happening, When
from tests.simulation.handlers import EFFECT, EFFECT_COLUMNS, EFFECTS
from tests.simulation.host import Host
from tests.simulation.loop import PROCESS, SimLoop
from tests.simulation.traffic import Shopify

WEBHOOKS, WORKERS = "webhooks", ("worker0", "worker1")
NAMES = (WEBHOOKS, *WORKERS)
SHOPS = ("one.myshopify.com", "two.myshopify.com")

DRAIN_SECONDS = 120.0  # within which all is done after everything was healed
_AFTERMATH_SECONDS = 3.0  # in which late copies may come
_SLICE = 0.5
_WAITING = ("webhooks.outbox", "worker.outbox", "worker.scheduled")


@dataclass(frozen=True, slots=True)
class Profile:
    """What differs from world to world."""

    latency: float = 0.005  # seconds; most answers take less, a few take up to a hundred times as long
    settings: tuple[tuple[str, object], ...] = ()


PROFILES = {
    "calm": Profile(),
    "slow": Profile(latency=0.02),  # some confirms are late
    "tight": Profile(settings=(
        ("consumer_concurrency", 2), ("consumer_buffer", 3), ("consumer_claim_batch", 2), ("consumer_prefetch", 1),
        ("broker_high_water", 3), ("shop_share_burst", 4), ("database_pool_size", 3),
    )),
    "long leases": Profile(settings=(("broker_lease_seconds", 15.0), ("consumer_lease_seconds", 6.0))),
}  # fmt: skip


@cache
def settings_of(changes: tuple[tuple[str, object], ...]) -> ConsumerSettings:
    """Leases are short, so that little happens while a schedule waits for their end."""
    short: dict[str, object] = {
        "database_url": "postgresql://simulated", "rabbitmq_url": "amqp://simulated",
        "broker_lease_seconds": 4.0, "consumer_lease_seconds": 2.0, "consumer_prefetch": 2,
    }  # fmt: skip
    return ConsumerSettings.load(**{**short, **dict(changes)})


class World:
    """One producer of webhooks and two workers, with Postgres and RabbitMQ between them."""

    def __init__(self, seed: int, profile: str = "calm") -> None:
        self.profile = PROFILES[profile]
        self.loop = SimLoop(seed)
        self.database = Database(SimClock(self.loop))
        self.database.latency = self._latency
        self.faults = DatabaseFaults()
        self.database.faults = self.faults
        self.database.register("EFFECT", EFFECT, EFFECTS, EFFECT_COLUMNS)
        self.broker = Broker(self.loop, self._latency)
        self.diary = Diary(self.loop.time)
        self.troubles: list[Trouble] = []
        self._stack = ExitStack()
        self._stack.enter_context(patches.randomness(seed))
        self._stack.enter_context(patches.broker_client(self._publisher))
        self._stack.enter_context(patches.tracebacks(self._trouble))
        settings = settings_of(self.profile.settings)
        self.hosts = {
            name: Host(name, self.loop, self.database, self.broker, self.diary, settings) for name in NAMES
        }
        self.shopify = Shopify(self.loop, self.hosts[WEBHOOKS])
        for host in self.hosts.values():
            host.start()

    # The steps that concern traffic and time.

    def accept(self, topic: str, shop: int = 0, number: int = 1, delay: float = 0.0) -> None:
        """So many webhooks come in at once."""
        for _ in range(number):
            self.shopify.send(topic, SHOPS[shop], delay)

    def repeat(self, back: int) -> None:
        """A webhook comes in again, whatever became of it."""
        self.shopify.repeat(back)

    def advance(self, seconds: float) -> None:
        self.loop.advance(seconds)

    # The steps that concern processes.

    def start(self, name: str) -> None:
        self.hosts[name].start()

    def kill(self, name: str) -> None:
        self.hosts[name].kill()

    def freeze(self, name: str) -> None:
        self.hosts[name].freeze()

    def thaw(self, name: str) -> None:
        self.hosts[name].thaw()

    def stop(self, name: str) -> None:
        self.hosts[name].stop()

    def kill_at(self, name: str, point: Point, count: int) -> None:
        host = self.hosts[name]
        host.at(point, count, host.kill)

    def freeze_at(self, name: str, point: Point, count: int) -> None:
        host = self.hosts[name]
        host.at(point, count, host.freeze)

    def set_clock(self, name: str, offset: float) -> None:
        """A wall clock is ahead by so many seconds from now on."""
        self.hosts[name].clock.offset = offset

    # The steps that concern RabbitMQ.

    def reach(self, name: str, how: str) -> None:
        self.broker.reach(name, Reach(how))

    def reach_all(self, how: str) -> None:
        for name in NAMES:
            self.reach(name, how)

    def block(self) -> None:
        self.broker.block(True)

    def unblock(self) -> None:
        self.broker.block(False)

    def crash_broker(self) -> None:
        self.broker.crash()

    def wipe_broker(self) -> None:
        self.broker.crash(wiped=True)

    def cut(self, name: str) -> None:
        self.broker.cut(name)

    def delete_queue(self, lane: str) -> None:
        self.broker.delete(queue_name("worker", Lane(lane)))

    def forget_acks(self) -> None:
        self.broker.forget_acks()

    def publishes(self, name: str, *fates: str) -> None:
        """What becomes of a process' next publishes."""
        self.broker.fates[name] = deque(map(Fate, fates))

    # The steps that concern Postgres.

    def database_down(self) -> None:
        self.database.down = True

    def database_up(self) -> None:
        self.database.down = False

    def database_fault(
        self, name: str, when: str, statement: str | None, count: int, what: Happening
    ) -> None:
        """The n-th such statement from now loses its connection, or is never answered."""
        self.faults.plan(name, When(when), statement, count, what)

    def database_cut(self, name: str) -> None:
        self.database.cut(name)

    def database_silence(self, name: str) -> None:
        """The connections that a process has now go dead, and nobody is told."""
        self.database.silence(name)

    # The end.

    def heal(self) -> None:
        """Everything that was broken works again, but for the wall clocks."""
        self.faults.clear()
        self.database_up()
        self.unblock()
        self.broker.fates.clear()
        self.reach_all(Reach.OPEN)
        for host in self.hosts.values():
            host.forgive()
            host.thaw()
            host.start()

    def finish(self, drain_seconds: float) -> None:
        """Heals, delivers what was never accepted, and waits until all is done, or for so long."""
        self.heal()
        deadline = self.loop.time() + drain_seconds
        while self.loop.time() < deadline:
            self.advance(_SLICE)
            for host in self.hosts.values():
                host.start()  # where a poison message killed it
            if self.quiet():
                self.advance(_AFTERMATH_SECONDS)
                break
            self.shopify.send_again()

    def close(self) -> None:
        """Ends everything. What the loop met and nobody took becomes a trouble."""
        self.loop.bury(process for host in self.hosts.values() for process in host.processes)
        self._stack.close()

    def quiet(self) -> bool:
        """Whether everything was accepted and nothing waits."""
        waiting = any(len(self.database.tables[name]) for name in _WAITING)
        return not waiting and self.shopify.satisfied()

    def _publisher(self, options: BrokerOptions) -> SimPublisher:
        process = PROCESS.get()
        assert process is not None
        return SimPublisher(self.broker, process, options.confirm_seconds)

    def _latency(self) -> float:
        """Mostly short, seldom a hundred times as long."""
        return self.profile.latency * (0.2 + 100 * self.loop.rng.random() ** 200)

    def _trouble(self, text: str) -> None:
        process = PROCESS.get()
        self.troubles.append(Trouble(process.name if process else "nobody", text))
