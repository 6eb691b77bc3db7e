"""The consuming connection: work in, acknowledgements out, and back by itself whatever happens."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog

from libs.common.bus import metrics
from libs.common.bus.deliveries import IncomingWork
from libs.common.bus.errors import ConnectionLost, QueueSilent
from libs.common.bus.link import BrokerOptions
from libs.common.bus.session import Session
from libs.common.bus.silence import Silence
from libs.common.contracts.topology import Lane
from libs.common.errors import BrokerAway

_log = structlog.get_logger(__name__)

_PURPOSE = "consume"

# Waits between attempts to connect: 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, … seconds, each shortened by up to half at
# random, so that not all processes come back at the same moment. Good service starts the row from the top.
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 5.0
_GOOD_SERVICE = 5.0
_CHECK_EVERY = 1.0


def _nothing() -> None:
    """What is called where the owner does not want to be called."""


class BrokerConsumer:
    """Brings one destination's work to `deliver`, which is called in the event loop and must not wait.

    All lanes and the dead letters share one connection, each with its own channel and prefetch. When any part
    of it ends, all of it starts over. `on_up` and `on_down` are called in turns, `deliver` in between.
    """

    def __init__(
        self,
        options: BrokerOptions,
        destination: str,
        deliver: Callable[[IncomingWork], None],
        prefetch: Mapping[Lane, int],
        *,
        on_up: Callable[[], None] = _nothing,
        on_down: Callable[[], None] = _nothing,
    ) -> None:
        self._options = options
        self._destination = destination
        self._deliver = deliver
        self._prefetch = dict(prefetch)
        self._on_up, self._on_down = on_up, on_down
        self._session: Session | None = None
        self._up_since: float | None = None
        self._silence = Silence(options.silence_seconds)
        self._stopping = asyncio.Event()
        self._opened_before = False
        self._connected = metrics.CONNECTED.labels(options.service, _PURPOSE)
        self._connected.set(0)

    @property
    def connected(self) -> bool:
        return self._session is not None

    async def run(self) -> None:
        """Connects, consumes and starts over until cancelled, or until `pause` and the connection's end."""
        failures = 0
        while not self._stopping.is_set():
            served = await self._once()
            failures = 1 if served >= _GOOD_SERVICE else failures + 1
            await self._wait(failures)

    async def check(self, seconds: float | None = None) -> None:
        """Asks RabbitMQ something over this connection; raises `BrokerAway` and starts over if it fails."""
        session = self._session
        if session is None:
            raise ConnectionLost("not connected to RabbitMQ")
        await session.check(seconds or self._options.connect_seconds)

    async def pause(self) -> None:
        """Takes no more work, for good. What was delivered can still be acknowledged until `close`."""
        self._stopping.set()
        if self._session is not None:
            await self._session.pause()

    async def close(self) -> None:
        """Sends the last acknowledgements and says goodbye, within deadlines.

        RabbitMQ gives what was not acknowledged to others.
        """
        self._stopping.set()
        if self._session is not None:
            await self._session.close()

    async def _once(self) -> float:
        """One session; returns how long it served."""
        self._up_since = None
        try:
            await self._serve()
        except QueueSilent as error:
            self._silence.kept(error.queue, time.monotonic())
            _log.warning("Cannot consume from RabbitMQ.", service=self._options.service, error=str(error))
        except BrokerAway as error:
            self._silence.broken()
            _log.warning("Cannot consume from RabbitMQ.", service=self._options.service, error=str(error))
        except Exception:  # noqa: BLE001  # what nobody foresaw must not stop consuming for ever
            _log.exception("Consuming from RabbitMQ failed in an unknown way.", service=self._options.service)
        return 0.0 if self._up_since is None else time.monotonic() - self._up_since

    async def _serve(self) -> None:
        replace = self._silence.hopeless(time.monotonic())
        session = await Session.start(
            self._options, self._destination, self._deliver, self._prefetch, replace=replace
        )
        self._silence.broken()
        try:
            self._up(session)
            session.go()
            reason = await self._watched(session)
        finally:
            session.drop()
            self._down()
        _log.info("Consuming from RabbitMQ ended.", service=self._options.service, reason=reason)

    async def _watched(self, session: Session) -> str:
        """Why the session ended. One that is silent looks like one without work until heartbeats tell, 18 s later."""
        watching = asyncio.ensure_future(self._watch(session))
        try:
            return await session.ended
        finally:
            watching.cancel()

    async def _watch(self, session: Session) -> None:
        while not session.ended.done():
            await asyncio.sleep(_CHECK_EVERY)
            with suppress(BrokerAway):  # it has ended the session
                await session.check(self._options.check_seconds)

    def _up(self, session: Session) -> None:
        self._session = session
        self._up_since = time.monotonic()
        self._connected.set(1)
        if self._opened_before:
            metrics.RECONNECTS.labels(self._options.service, _PURPOSE).inc()
        self._opened_before = True
        _log.info("Consuming from RabbitMQ.", service=self._options.service)
        self._on_up()

    def _down(self) -> None:
        self._session = None
        self._connected.set(0)
        self._on_down()

    async def _wait(self, failures: int) -> None:
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(failures - 1, 10))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({stopping}, timeout=longest * random.uniform(0.5, 1))
        finally:
            stopping.cancel()
