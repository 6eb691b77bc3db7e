"""What is known of a run when it is over. Times are seconds of this machine's monotonic clock.

Where Postgres gives a time, it is its wall clock, turned into the monotonic one when the history is collected. The wall
clocks of the services are used nowhere: a run may have set one of them wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["ok", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Request:
    """One try of one delivery: "fail" was refused, "unknown" may have been accepted."""

    webhook_id: str
    topic: str
    shop: str
    invoked: float
    ended: float | None = None  # None where the answer never came
    outcome: Outcome = "unknown"
    message_id: str | None = None
    forged: bool = False  # its signature is wrong on purpose: it must never be accepted


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of `messages` in one of the producing schemas."""

    message_id: str
    source: str  # the schema
    type: str
    shop: str
    key: str | None  # of a webhook, its webhook id
    root: str | None = None  # of an emitted message, the id of the one whose handler emitted it


@dataclass(frozen=True, slots=True)
class Effect:
    """One committed row of `worker.chaos_effects`, which has no key: doubles show."""

    message_id: str
    handler: str
    root: str
    at: float


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a handler, from its first line to the last sign of life it wrote."""

    message_id: str
    handler: str
    shop: str
    process: str
    began: float
    last: float


@dataclass(frozen=True, slots=True)
class Sighting:
    """What `GET /api/jobs/{id}` said; `missing` is a 404."""

    message_id: str
    status: str
    attempts: int
    at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """One row of `worker.history`."""

    message_id: str
    type: str
    outcome: str
    attempts: int
    route: str
    log: tuple[str, ...]  # the errors of the attempts that failed before
    at: float


@dataclass(frozen=True, slots=True)
class Failed:
    """One row of `worker.failed`."""

    message_id: str
    reason: str
    error: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """What no process of ours may do: end by itself, or log a traceback."""

    process: str
    text: str


@dataclass(frozen=True, slots=True)
class History:
    """All of it, each kind in the order of time."""

    requests: tuple[Request, ...] = ()
    stored: tuple[Stored, ...] = ()
    effects: tuple[Effect, ...] = ()
    ended: tuple[Ended, ...] = ()
    failed: tuple[Failed, ...] = ()
    runs: tuple[Run, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    left: Mapping[str, str] = field(
        default_factory=dict
    )  # messages not done after the drain, and where they are
    limits: Mapping[str, int] = field(default_factory=dict)  # handlers with `per_shop`
    undisturbed: bool = False  # nothing was broken, so that no two processes should work on one message
