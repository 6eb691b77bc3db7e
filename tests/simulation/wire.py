"""One connection between a process and the broker: what is sent arrives later and in order, or never."""

from collections.abc import Callable
from enum import Enum

from tests.simulation.loop import OUTSIDE, Process, SimLoop, State

HEARTBEAT_SECONDS = 6.0  # so long a silence ends a connection, at both of its ends
_TICK = 1e-7  # what is sent later arrives later

Act = Callable[[], None]


class Way(Enum):
    """To the server, or to the client."""

    UP = "up"
    DOWN = "down"


class Wire:
    """`up` and `down` do something at the other end once it has arrived there.

    Each end learns by itself that the connection is gone: the server through `server_lost`, the client through
    `client_lost`, which runs as a part of its process. So a frozen client learns it when it thaws.
    """

    def __init__(self, loop: SimLoop, process: Process, latency: Callable[[], float]) -> None:
        self.process = process
        self.client_lost: Act = _nothing
        self.server_lost: Act = _nothing
        self.client_open = self.server_open = True
        self._loop, self._latency = loop, latency
        self._arrives = dict.fromkeys(Way, 0.0)
        self._silent: set[Way] = set()
        self._waiting: list[tuple[Way, Act]] = []  # sent into the silence
        self._silences = 0
        self._last_words = True  # whether what was sent before the client hung up still arrives

    def up(self, act: Act) -> None:
        if self.client_open:
            self._send(Way.UP, act)

    def down(self, act: Act) -> None:
        if self.server_open:
            self._send(Way.DOWN, act)

    def hang_up(self) -> None:
        """The client drops the connection without waiting for the server."""
        if self.client_open:
            self.client_open = False
            self._last_words = self._loop.rng.random() < 0.5
            self._send(Way.UP, self._end_server)

    def cut(self) -> None:
        """The connection ends in between, or at the server: both ends are told."""
        self._end_server()
        self._silent.clear()
        self._send(Way.DOWN, self._end_client)

    def silence(self, *ways: Way) -> None:
        """Nothing arrives any more, and nobody is told; too long a silence ends the connection."""
        self._silent.update(ways)
        self._silences += 1
        self._loop.call_later(HEARTBEAT_SECONDS, self._miss_heartbeats, self._silences, context=OUTSIDE)

    def speak(self) -> None:
        """What was sent into the silence arrives after all, where somebody is left to take it."""
        self._silent.clear()
        self._silences += 1
        waiting, self._waiting = self._waiting, []
        for way, act in waiting:
            self._send(way, act)

    def notice_frozen(self) -> None:
        """The client sends no heartbeats any more."""
        self._loop.call_later(HEARTBEAT_SECONDS, self._miss_client, context=OUTSIDE)

    def _miss_client(self) -> None:
        if self.process.state is not State.RUNNING:
            self.cut()

    def _miss_heartbeats(self, silence: int) -> None:
        if silence == self._silences and len(self._silent) == len(Way):
            self.cut()

    def _send(self, way: Way, act: Act) -> None:
        if way in self._silent:
            self._waiting.append((way, act))
            return
        now = self._loop.time()
        self._arrives[way] = max(self._arrives[way] + _TICK, now + self._latency())
        context = OUTSIDE if way is Way.UP else self.process.context
        self._loop.call_at(self._arrives[way], self._arrive, way, act, context=context)

    def _arrive(self, way: Way, act: Act) -> None:
        if way in self._silent:
            self._waiting.append((way, act))
        elif self._wanted(way, act):
            act()

    def _wanted(self, way: Way, act: Act) -> bool:
        if way is Way.DOWN:
            return self.client_open
        return self.server_open and (self.client_open or self._last_words or act == self._end_server)

    def _end_server(self) -> None:
        if self.server_open:
            self.server_open = False
            self.server_lost()

    def _end_client(self) -> None:
        if self.client_open:
            self.client_open = False
            self.client_lost()


def _nothing() -> None:
    """Nobody wants to know."""
