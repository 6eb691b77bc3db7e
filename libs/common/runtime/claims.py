"""Where a consumer looks for work in Postgres: which lanes have some, from which id on, and when to look again. No I/O.

Claims start where the last one ended, so that rows already deleted but not yet vacuumed are not walked again and
again. What becomes claimable behind that hint (a lease that ended, a replay) is named by its wake-up, or found by
the sweep from the start. The sweep's own cost is kept below a twentieth of the time.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.common.clock import Clock
from libs.common.contracts.topology import Lane
from libs.common.outbox.claim_store import FIRST_ID
from libs.common.outbox.wakes import Wake

SWEEP_SECONDS = 3.0
CUT_OFF_SWEEP_SECONDS = 0.5  # while RabbitMQ cannot reach us, Postgres is the only way
SWEEP_COST = 20


@dataclass(slots=True)
class Spot:
    """One source's lane."""

    source: str
    lane: Lane
    hint: UUID = FIRST_ID  # claims look above it
    pending: bool = True  # there may be more
    reached: UUID = FIRST_ID  # the highest id a claim returned, to which the hint returns after a sweep
    woken: UUID | None = None  # the smallest id a wake-up named since the last claim began
    claiming: bool = False  # a claim is under way
    untouched: bool = False  # no claim began since the last sweep did


class Claims:
    """The state of looking; the intake does the looking."""

    def __init__(self, sources: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        self.spots = [Spot(source, lane) for lane in Lane for source in sources]
        self._next_sweep = clock.monotonic()
        self._asked = self._sweeping = False
        self._beside = 0.0  # seconds of claims from the start, beside the loop that sweeps, during this sweep
        self.cut_off = False

    def woken(self, wake: Wake) -> None:
        """Work is ready from an id on."""
        for spot in self.spots:
            if (spot.source, spot.lane) == (wake.source, wake.lane):
                spot.pending = True
                spot.hint = min(spot.hint, _before(wake.first))
                spot.woken = wake.first if spot.woken is None else min(spot.woken, wake.first)

    def all_pending(self) -> None:
        """Wake-ups may have been missed: look everywhere, from the start."""
        self._asked = True

    def sweep_due(self) -> bool:
        return self._asked or self._clock.monotonic() >= self._next_sweep

    def start_sweep(self) -> None:
        """A claim that is under way is followed by another one, which looks from the start."""
        self._asked, self._sweeping, self._beside = False, True, 0.0
        for spot in self.spots:
            spot.hint, spot.pending, spot.untouched = FIRST_ID, True, True
            if spot.claiming:
                spot.woken = FIRST_ID

    def nothing_beside(self, source: str, occupied: Container[Lane]) -> None:
        """The other lanes of a source hold no row: nothing is to be claimed there, unless a wake-up said so since."""
        for spot in self.spots:
            empty = spot.source == source and spot.lane not in occupied
            if empty and spot.untouched and spot.woken is None:
                spot.hint, spot.pending = spot.reached, False

    def swept(self, seconds: float) -> None:
        """A sweep took so long; the next one waits accordingly."""
        pause = CUT_OFF_SWEEP_SECONDS if self.cut_off else SWEEP_SECONDS
        self._sweeping = False
        self._next_sweep = self._clock.monotonic() + max(pause, (seconds + self._beside) * SWEEP_COST)

    def swept_beside(self, seconds: float) -> None:
        """A claim from the start, beside the loop that sweeps, took so long; the next sweep waits for it as well."""
        if self._sweeping:
            self._beside += seconds
        else:
            self._next_sweep += seconds * SWEEP_COST

    def begin(self, spot: Spot) -> UUID:
        """A claim starts; returns the id it looks above. A wake-up from now on means that there is more."""
        spot.pending, spot.woken, spot.claiming, spot.untouched = False, None, True, False
        return spot.hint

    def found(self, spot: Spot, ids: Sequence[UUID], *, full: bool) -> None:
        """The claim returned these ids; `full` if it returned as many as it asked for."""
        spot.claiming = False
        spot.reached = max((spot.reached, *ids))
        spot.pending = spot.pending or full
        spot.hint = max(ids) if full else spot.reached
        if spot.woken is not None:
            spot.hint = min(spot.hint, _before(spot.woken))

    def broke_off(self, spots: Iterable[Spot]) -> None:
        """A claim or a sweep was not finished; what it left is looked for where claims look, and by the next sweep."""
        for spot in spots:
            spot.hint, spot.pending, spot.claiming = spot.reached, True, False

    def until_sweep(self) -> float:
        """Seconds until the next sweep."""
        if self._asked:
            return 0.0
        pause = self._next_sweep - self._clock.monotonic()
        return max(0.0, min(pause, CUT_OFF_SWEEP_SECONDS) if self.cut_off else pause)


def _before(identifier: UUID) -> UUID:
    return UUID(int=max(0, identifier.int - 1))
