"""`shopbus why`: the story of one message in words."""

from collections.abc import Mapping
from datetime import UTC, datetime

import typer

from libs.common.contracts.envelope import RECONCILED
from libs.common.outbox.cancel_store import NEVER_STARTED
from services.cli.api import IdArgument, Json, UrlOption, with_api
from services.cli.filters import short_type
from services.cli.jobs import took
from services.cli.screen import clean, duration, moment, read_time

_ROUTES = {"rabbitmq": "through RabbitMQ", "postgres": "straight from Postgres"}
_ORIGINS = {
    RECONCILED: " It did not come by itself: the reconciler asked Shopify's Admin API for what it tells.",
}
_WAITS_BECAUSE = {
    "retry": "the last attempt failed",
    "later": "its handler asked for it later",
    "busy": "its shop has as many of its kind running as it may",
}
_GIVEN_UP_BECAUSE = {
    "never": "its handler said that no retry will help",
    "exhausted": "the last of its attempts failed",
    "poison": "every start of it ended with its worker, or with Postgres",
}


def why(identifier: IdArgument, url: UrlOption = None) -> None:
    """Tell where a message is and how it got there."""
    job = with_api(url, lambda api: api.job(identifier))
    for sentence in story(job, datetime.now(UTC)):
        typer.echo(sentence)


def story(job: Json, now: datetime) -> list[str]:
    """The message's life so far, what holds now, and what happens next; one sentence or two a line."""
    attempts = job.get("attempts") or []
    return [
        _beginning(job, now),
        *(_attempt(number, attempt, now) for number, attempt in enumerate(attempts, start=1)),
        _ENDINGS.get(job["status"], _unknown)(job, now),
    ]


def _beginning(job: Json, now: datetime) -> str:
    origin = f"from {clean(job['shop'])}" if job.get("shop") else "of no particular shop"
    lane = f", on the {clean(job['lane'])} lane" if job.get("lane") else ""
    accepted = moment(read_time(job.get("created_at")), now)
    made_up = _ORIGINS.get(job.get("origin") or "", "")
    return f"Accepted {accepted}: {_subject(clean(job['type']))} {origin}{lane}.{made_up}"


def _subject(kind: str) -> str:
    topic = short_type(kind)
    return f"a message {kind}" if topic == kind else f"a webhook {topic}"


def _attempt(number: int, attempt: Json, now: datetime) -> str:
    if (error := attempt.get("error") or "").startswith(NEVER_STARTED):
        ended = moment(read_time(attempt.get("finished_at")), now)
        return f"It was cancelled {ended}, {clean(error).rstrip('.')}."
    route = attempt.get("route")
    came = f" came {_ROUTES.get(route, f'by {clean(route)}')} and" if route else ""
    started = moment(read_time(attempt.get("started_at")), now)
    return f"Attempt {number}{came} began {started}: {_result(attempt)}."


def _result(attempt: Json) -> str:
    if not attempt.get("finished_at"):
        return "it is still running"
    if attempt.get("error"):
        return f"it failed after {took(attempt)} with {clean(attempt['error']).rstrip('.')}"
    if attempt.get("outcome") == "unhandled":
        return "no handler was registered for it"
    return f"it succeeded after {took(attempt)}"


def _pending(job: Json, now: datetime) -> str:
    upcoming = read_time(job.get("next_attempt_at"))
    if upcoming is None:
        return "Now it waits in Postgres; the next free worker takes it."
    reason = _because(job, _WAITS_BECAUSE)
    return (
        f"Now it waits in Postgres until {moment(upcoming, now)}{reason}. Then the next free worker takes it."
    )


def _because(job: Json, words: Mapping[str, str]) -> str:
    reason: str = job.get("reason") or ""
    return f", because {words[reason]}" if reason in words else f" ({clean(reason)})" if reason else ""


def _queued(_job: Json, _now: datetime) -> str:
    return (
        "Now it is in RabbitMQ's hands. Should the broker not bring it before its lease runs out, "
        "a worker takes it from Postgres."
    )


def _processing(_job: Json, _now: datetime) -> str:
    return "Now a worker is on it. Should that worker die, another takes it over when the lease runs out."


def _completed(job: Json, now: datetime) -> str:
    handler = f" by {clean(job['handler'])}" if job.get("handler") else ""
    done = f"Done{handler} {moment(read_time(job.get('finished_at')), now)}{_age(job)}"
    if job.get("outcome") == "cancelled":
        return f"{done}: the work had lost its point. To do it all the same: shopbus jobs retry {clean(job['id'])}"
    if job.get("outcome") == "unhandled":
        return (
            f"{done}: there was nothing to do, since no handler is registered for {clean(job['type'])}. "
            f"Once there is one, replay it: shopbus jobs retry {clean(job['id'])}"
        )
    return f"{done}. Nothing more will happen."


def _age(job: Json) -> str:
    created, finished = read_time(job.get("created_at")), read_time(job.get("finished_at"))
    return (
        f", {duration((finished - created).total_seconds())} after it was accepted"
        if created and finished
        else ""
    )


def _failed(job: Json, now: datetime) -> str:
    given_up = f"Given up {moment(read_time(job.get('finished_at')), now)}{_because(job, _GIVEN_UP_BECAUSE)}."
    return f"{given_up} It waits to be replayed: shopbus jobs retry {clean(job['id'])}"


def _unknown(job: Json, _now: datetime) -> str:
    return f"Now it is {clean(job['status'])}."


_ENDINGS = {
    "pending": _pending,
    "queued": _queued,
    "processing": _processing,
    "completed": _completed,
    "failed": _failed,
}
