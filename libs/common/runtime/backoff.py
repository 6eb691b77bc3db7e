"""How long a failed message waits.

    attempt   1   2   3   4    5    6    7     8     9    10     (±20 % jitter)
    wait      1 s 2 s 4 s 8 s 16 s 32 s 64 s 128 s 256 s 512 s   about 17 minutes in all, for the default of 10 retries

Doubling from one second answers most passing faults at once and leaves a shop's API time to recover;
the cap of one hour keeps a handler with many retries trying every hour for as long as its author wants.
"""

import random

FIRST = 1.0  # seconds
CAP = 3600.0
JITTER = 0.2


def wait_after(attempt: int) -> float:
    """Seconds until the next try after failed attempt number `attempt`, which starts at 1."""
    return spread(min(CAP, FIRST * 2.0 ** min(attempt - 1, 20)))


def spread(seconds: float) -> float:
    """A wait with jitter, so that what failed together does not come back together."""
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)
