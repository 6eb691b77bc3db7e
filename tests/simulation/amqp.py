"""The two clients of the broker model, with the faces of the real ones in libs/common/bus."""

import asyncio
import random
from collections.abc import Callable, Mapping
from functools import partial

from libs.common.bus.deliveries import IncomingWork
from libs.common.bus.errors import (
    ChannelLost,
    ConnectionLost,
    PublishNacked,
    PublishReturned,
    PublishTimeout,
)
from libs.common.bus.packing import Packet, decode
from libs.common.contracts.topology import Lane, dead_letter_queue, queue_name
from libs.common.errors import BrokerAway
from tests.simulation.broker import CONNECT_SECONDS, Answer, Broker, Entry, Reply, Tap
from tests.simulation.loop import Process
from tests.simulation.wire import Wire

_DEAD_LETTER_PREFETCH = 10
_FIRST_WAIT, _LONGEST_WAIT, _GOOD_SERVICE = 0.2, 5.0, 5.0  # as in libs/common/bus/consumer.py


class Line:
    """A client's end of a wire: what was asked over it ends with it."""

    def __init__(self, wire: Wire, lost: Callable[[], None]) -> None:
        self.wire = wire
        self._tell = lost
        self._asked: dict[asyncio.Future[object], None] = {}
        wire.client_lost = self._lost

    async def ask(self, question: Callable[[Reply], None], seconds: float) -> object:
        """What the broker replies; raises `BrokerAway` without an answer in time."""
        if not self.wire.client_open:
            raise ConnectionLost("not connected")
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._asked[answer] = None
        self.wire.up(partial(question, lambda said: self.wire.down(partial(_settle, answer, said))))
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise PublishTimeout from None
        finally:
            del self._asked[answer]

    def drop(self) -> None:
        """Hangs up; what was asked fails."""
        self.wire.hang_up()
        self._fail()

    def _lost(self) -> None:
        self._fail()
        self._tell()

    def _fail(self) -> None:
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(ConnectionLost("the connection was lost"))


def _settle(answer: "asyncio.Future[object]", said: object) -> None:
    if not answer.done():
        answer.set_result(said)


class SimPublisher:
    """`libs.common.bus.publisher.BrokerPublisher` on the model."""

    def __init__(self, broker: Broker, process: Process, confirm_seconds: float) -> None:
        self.on_lost: Callable[[str], None] | None = None
        self._broker, self._process, self._confirm_seconds = broker, process, confirm_seconds
        self._line: Line | None = None
        self._opening, self._probing = asyncio.Lock(), asyncio.Lock()
        self._doubted = False

    async def open(self) -> None:
        async with self._opening:
            if self._line is None:
                wire = await self._broker.connect(self._process, "publish")
                self._line, self._doubted = Line(wire, self._lost), False

    async def publish(self, routing_key: str, packet: Packet, *, mandatory: bool = True) -> None:
        """As the real one: a packet that no queue takes is returned, which is an error."""
        line = self._ready()
        said = await line.ask(
            partial(self._broker.publish, line.wire, routing_key, packet), self._confirm_seconds
        )
        if said is Answer.NACK:
            raise PublishNacked
        if said is Answer.RETURN and mandatory:
            self._doubted = True
            raise PublishReturned

    async def probe(self) -> None:
        async with self._probing:
            if self._doubted:
                self.abort()
            await self.open()
            try:
                await self._ready().ask(_echo, CONNECT_SECONDS)
            except BrokerAway:
                self.abort()
                raise

    async def depth(self, queue: str) -> int:
        ready = await self._ready().ask(partial(self._broker.depth, queue), CONNECT_SECONDS)
        if not isinstance(ready, int):
            raise ChannelLost(f"there is no queue {queue}")
        return ready

    def abort(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.drop()

    def _ready(self) -> Line:
        if self._line is None:
            raise ConnectionLost("not connected")
        return self._line

    def _lost(self) -> None:
        self._line = None
        if self.on_lost is not None:
            self.on_lost(str(ConnectionLost.cause))


def _echo(reply: Reply) -> None:
    reply(None)


class SimConsumer:
    """`libs.common.bus.consumer.BrokerConsumer` on the model."""

    def __init__(
        self,
        broker: Broker,
        process: Process,
        destination: str,
        deliver: Callable[[IncomingWork], None],
        prefetch: Mapping[Lane, int],
        *,
        on_up: Callable[[], None],
        on_down: Callable[[], None],
    ) -> None:
        self._broker, self._process, self._deliver = broker, process, deliver
        self._on_up, self._on_down = on_up, on_down
        self._queues = {queue_name(destination, lane): count for lane, count in prefetch.items()}
        self._queues[dead_letter_queue(destination)] = _DEAD_LETTER_PREFETCH
        self._session: _Session | None = None
        self._stopping = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._session is not None

    async def run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            served = await self._once()
            failures = 1 if served >= _GOOD_SERVICE else failures + 1
            await self._wait(failures)

    async def pause(self) -> None:
        self._stopping.set()
        if self._session is not None:
            await self._session.pause()

    async def close(self) -> None:
        self._stopping.set()
        if self._session is not None:
            await self._session.close()

    async def _once(self) -> float:
        """One session; returns how long it served."""
        loop = asyncio.get_running_loop()
        try:
            wire = await self._broker.connect(self._process, "consume")
            session = _Session(self._broker, wire, self._deliver)
            await session.consume(self._queues)
        except BrokerAway:
            return 0.0
        began = loop.time()
        self._session = session
        self._on_up()
        try:
            session.go()
            await session.ended.wait()
        finally:
            session.end()
            self._session = None
            self._on_down()
        return loop.time() - began

    async def _wait(self, failures: int) -> None:
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(failures - 1, 10))
        try:
            async with asyncio.timeout(longest * random.uniform(0.5, 1)):
                await self._stopping.wait()
        except TimeoutError:
            return


class _Session:
    """One consuming connection."""

    def __init__(self, broker: Broker, wire: Wire, deliver: Callable[[IncomingWork], None]) -> None:
        self.ended = asyncio.Event()
        self._broker, self._deliver = broker, deliver
        self._line = Line(wire, self.ended.set)
        self._taps: list[Tap] = []
        self._early: list[Callable[[], None]] | None = []
        self._paused = False

    async def consume(self, queues: Mapping[str, int]) -> None:
        """Starts consuming; what arrives waits for `go`."""
        for name, prefetch in queues.items():
            tap = Tap(self._line.wire, prefetch, self._receive, self.ended.set)
            self._taps.append(tap)
            self._line.wire.up(partial(self._broker.consume, name, tap))
        try:
            await self._line.ask(_echo, CONNECT_SECONDS)
        except BaseException:
            self.end()
            raise

    def go(self) -> None:
        early, self._early = self._early or [], None
        for receive in early:
            receive()

    async def pause(self) -> None:
        """Stops deliveries; where the broker does not answer, the session ends."""
        self._paused = True
        try:
            await self._line.ask(self._stop_taps, CONNECT_SECONDS)
        except BrokerAway:
            self.ended.set()

    async def close(self) -> None:
        self._paused = True
        try:
            await self._line.ask(_echo, CONNECT_SECONDS)  # behind the last acknowledgements
        except BrokerAway:
            pass
        finally:
            self.end()

    def end(self) -> None:
        self.ended.set()
        self._line.drop()

    def _stop_taps(self, reply: Reply) -> None:
        for tap in self._taps:
            tap.paused = True
        reply(None)

    def _receive(self, tap: Tap, tag: int, entry: Entry) -> None:
        if self._early is not None:
            self._early.append(partial(self._receive, tap, tag, entry))
        elif not self._paused and not self.ended.is_set():
            self._deliver(self._work(tap, tag, entry))

    def _work(self, tap: Tap, tag: int, entry: Entry) -> IncomingWork:
        packet = entry.packet
        return IncomingWork(
            decode(packet.body, packet.headers, packet.content_type), entry.lane, redelivered=entry.returns > 0,
            delivery_count=entry.returns, dead_lettered=entry.dead,
            _acknowledge=partial(self._line.wire.up, partial(self._broker.settle, tap, tag)),
        )  # fmt: skip
