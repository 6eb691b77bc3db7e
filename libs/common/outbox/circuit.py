"""Whether new messages may take the broker route: a circuit breaker that comes back gradually. No I/O.

    closed ──failure──► open ──enough good probes, hold over──► ramping ──ramp over──► closed
                         ▲                                         │
                         └─────────────── failure ─────────────────┘

The hold doubles each time the circuit opens again soon after it came back, so that a flapping broker costs one
switch a minute and not one every few seconds.

    opening again after   < 60 s of good service   hold = twice the last, at most 60 s
                          ≥ 60 s                   hold = 1 s
"""

from enum import StrEnum

from libs.common.clock import Clock

FIRST_HOLD = 1.0  # seconds
LONGEST_HOLD = 60.0
GOOD_SERVICE = 60.0
PROBES_WANTED = 3
RAMP_SECONDS = 5.0
RAMP_START = 0.1  # share of messages at the beginning of the ramp


class State(StrEnum):
    """Where the circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    RAMPING = "ramping"


class Circuit:
    """Starts open: the broker has to prove itself before it is trusted with work."""

    def __init__(
        self, clock: Clock, *, probes: int = PROBES_WANTED, ramp_seconds: float = RAMP_SECONDS
    ) -> None:
        self._clock = clock
        self._probes = probes
        self._ramp_seconds = ramp_seconds
        self.state = State.OPEN
        self.reason = "not connected yet"
        self._since = clock.monotonic()
        self._hold = 0.0
        self._good_probes = 0
        self._turn = 0.0
        self._first = True

    def failed(self, reason: str) -> bool:
        """The broker route failed; True if that opened the circuit just now."""
        self._good_probes = 0
        if self.state is State.OPEN:
            return False
        served = self._clock.monotonic() - self._since
        stable = self.state is State.CLOSED and served >= GOOD_SERVICE
        self._hold = FIRST_HOLD if stable or self._hold == 0 else min(LONGEST_HOLD, self._hold * 2)
        self._enter(State.OPEN, reason)
        return True

    def probed(self) -> None:
        """A probe came through; enough of them in a row start the ramp. The very first start needs only one."""
        if self.state is not State.OPEN:
            return
        self._good_probes += 1
        held = self._clock.monotonic() - self._since >= self._hold
        if self._first:
            self._first = False
            self._enter(State.CLOSED, "")
        elif held and self._good_probes >= self._probes:
            self._enter(State.RAMPING, "")

    def share(self) -> float:
        """The share of new messages that should take the broker route, 0 to 1."""
        if self.state is State.RAMPING:
            ramp = (self._clock.monotonic() - self._since) / self._ramp_seconds
            if ramp < 1:
                return RAMP_START + (1 - RAMP_START) * ramp
            self._enter(State.CLOSED, "")
        return 1.0 if self.state is State.CLOSED else 0.0

    def admits(self) -> bool:
        """Whether the next message takes the broker route; spread evenly over the messages, no randomness."""
        self._turn += self.share()
        if self._turn < 1:
            return False
        self._turn = min(self._turn - 1, 1.0)
        return True

    def _enter(self, state: State, reason: str) -> None:
        self.state, self.reason = state, reason
        self._since = self._clock.monotonic()
        self._good_probes = 0
        self._turn = 0.0
