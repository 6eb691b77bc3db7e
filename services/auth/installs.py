"""Install generations: which install a grant or an uninstall belongs to. No I/O.

Webhooks come late, repeatedly, and out of order. What decides is when a thing happened: the time at which Shopify was
asked for a grant, and the time at which it triggered an uninstall.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

CLOCKS_DIFFER = timedelta(seconds=5)
"""An uninstall this close to a grant says too little: our clock and Shopify's are not the same."""


@dataclass(frozen=True, slots=True)
class Install:
    """What is known of a shop's latest install."""

    generation: int
    installed_at: datetime  # the first grant of this generation
    granted_at: datetime  # the latest one
    uninstalled_at: datetime | None = None

    @property
    def alive(self) -> bool:
        return self.uninstalled_at is None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Shopify told of the install whose latest grant this is; nothing of any other."""

    granted_at: datetime | None = None
    alive: bool | None = None  # None where it was not asked, or could not tell


class Meaning(StrEnum):
    """What an uninstall means for the install that is known."""

    UNKNOWN = "unknown"  # there is none
    EARLIER = "earlier"  # of an install before this one, or told before
    REPLACED = "replaced"  # this install ended unnoticed, and another one followed, whose grant is known
    ENDED = "ended"


def granted(known: Install | None, at: datetime) -> Install:
    """The install after a grant."""
    if known is None:
        return Install(1, at, at)
    if not known.alive:
        return Install(known.generation + 1, at, at)
    return replace(known, granted_at=max(known.granted_at, at))


def meaning(known: Install | None, at: datetime) -> Meaning:
    """What an uninstall at this moment means."""
    if known is None:
        return Meaning.UNKNOWN
    if at < known.installed_at or not known.alive:
        return Meaning.EARLIER
    return Meaning.REPLACED if at < known.granted_at else Meaning.ENDED


def is_unsure(known: Install | None, at: datetime) -> bool:
    """Whether the order of an uninstall and the latest grant hangs on whose clock is right."""
    return known is not None and known.alive and abs(at - known.granted_at) <= CLOCKS_DIFFER


def uninstalled(known: Install, at: datetime, what: Meaning) -> Install:
    """The install after an uninstall with this meaning."""
    if what is Meaning.ENDED:
        return replace(known, uninstalled_at=at)
    if what is Meaning.REPLACED:
        return Install(known.generation + 1, known.granted_at, known.granted_at)
    return known


def is_stale(known: Install | None, at: datetime, verdict: Verdict) -> bool:
    """Whether Shopify has to be asked anew: there was a grant since, as close to the uninstall."""
    return known is not None and is_unsure(known, at) and verdict.granted_at != known.granted_at


def meaning_told(known: Install | None, at: datetime, verdict: Verdict) -> Meaning:
    """What an uninstall means, by what Shopify itself has told of this install, else by the times."""
    if known is None or verdict.alive is None or verdict.granted_at != known.granted_at:
        return meaning(known, at)
    if not known.alive:
        return Meaning.EARLIER
    if not verdict.alive:
        return Meaning.ENDED
    return Meaning.REPLACED if known.installed_at < known.granted_at else Meaning.EARLIER
