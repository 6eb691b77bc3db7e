"""What can go wrong between the app and Shopify. The sandbox's own weather is fine; tests bring theirs."""

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random


class Mishap(StrEnum):
    """What becomes of one request."""

    NONE = "none"
    UNHEARD = "unheard"  # 520, and nothing happened
    UNTOLD = "untold"  # 520, and it happened: the answer is lost
    CUT_OFF = "cut_off"  # no answer at all, and it happened
    TOO_MANY = "too_many"  # 429 with Retry-After

    # Of the Admin API alone; the token endpoint is not concerned.
    SLOW = "slow"  # answered as usual, but late
    BROKEN = "broken"  # 503, and nothing happened
    SUSPICIOUS = "suspicious"  # 430, and nothing happened
    FROZEN = "frozen"  # 402, and nothing happened: the merchant owes Shopify money
    DISOWNED = "disowned"  # 401, whatever token it is: the app has to be authorised again
    PARTIAL = "partial"  # 200, but a part of the answer is an error
    LYING = "lying"  # 200, but throttleStatus says that the bucket is full

    EXPIRED = "expired"  # of bulk operations: after ten days, which the sandbox makes short, with a part of the file


@dataclass(slots=True)
class Weather:
    """How often each mishap comes, as shares of all requests."""

    shares: dict[Mishap, float] = field(default_factory=dict)
    draw: Random = field(default_factory=Random)
    seen: dict[Mishap, int] = field(default_factory=dict)
    delay: float = 1.0  # seconds that a slow answer takes longer

    def next(self) -> Mishap:
        """What becomes of the next request."""
        left = self.draw.random()
        mishap = Mishap.NONE
        for candidate, share in self.shares.items():
            left -= share
            if left < 0:
                mishap = candidate
                break
        self.seen[mishap] = self.seen.get(mishap, 0) + 1
        return mishap
