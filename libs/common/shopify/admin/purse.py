"""Points that a process has leased for one shop, until they are spent or too old to be. No I/O."""

from dataclasses import dataclass

from libs.common.shopify.admin.budget import HOLD


@dataclass(slots=True)
class _Grant:
    points: float
    begins: float  # on the monotonic clock


class Purse:
    """What may be spent now, and what was promised for a later moment."""

    def __init__(self) -> None:
        self._grants: list[_Grant] = []

    def __bool__(self) -> bool:
        return bool(self._grants)

    def add(self, points: float, begins: float) -> None:
        self._grants.append(_Grant(points, begins))
        self._grants.sort(key=lambda grant: grant.begins)

    def ready_at(self, cost: float) -> float | None:
        """From when on so many points can be spent; None where there are not that many."""
        total = 0.0
        for grant in self._grants:
            total += grant.points
            if total >= cost:
                return grant.begins
        return None

    def spend(self, cost: float, now: float) -> bool:
        """Takes points that may be spent now, those that end first first."""
        valid = [grant for grant in self._grants if grant.begins <= now < grant.begins + HOLD]
        if sum(grant.points for grant in valid) < cost:
            return False
        for grant in valid:
            part = min(cost, grant.points)
            grant.points -= part
            cost -= part
        self._grants = [grant for grant in self._grants if grant.points > 0]
        return True

    def expired(self, now: float) -> float:
        """Takes out what is too old to be spent; it goes back."""
        old = [grant for grant in self._grants if grant.begins + HOLD <= now]
        if old:
            self._grants = [grant for grant in self._grants if grant.begins + HOLD > now]
        return sum(grant.points for grant in old)
