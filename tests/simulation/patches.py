"""What production code takes from the machine comes from the simulation: randomness, log lines, RabbitMQ's client."""

import logging
import os
import random
import secrets
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, NoReturn
from unittest.mock import patch

import structlog

from libs.common.outbox import open as opening

_TRACEBACK_CHARACTERS = 3_000


@contextmanager
def randomness(seed: int) -> Iterator[None]:
    """Ids, names and jitter come from a seeded generator."""
    source = random.Random(seed)
    before = random.getstate()
    random.seed(seed)
    try:
        with patch.object(os, "urandom", source.randbytes), patch.object(secrets, "token_hex", _hex(source)):
            yield
    finally:
        random.setstate(before)


def _hex(source: random.Random) -> Callable[[int], str]:
    return lambda number: source.randbytes(number).hex()


@contextmanager
def broker_client(make: Callable[..., object]) -> Iterator[None]:
    """`open_producer` opens this instead of `BrokerPublisher`."""
    with patch.object(opening, "BrokerPublisher", make):
        yield


@contextmanager
def tracebacks(take: Callable[[str], None]) -> Iterator[None]:
    """Of all log lines those with a traceback are taken, and nothing is printed."""

    def process(_logger: object, _method: str, line: MutableMapping[str, Any]) -> NoReturn:
        if line.get("exc_info"):
            told = structlog.processors.format_exc_info(None, "error", dict(line))
            take(f"{line['event']} {told['exception'][-_TRACEBACK_CHARACTERS:]}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[process], wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )  # fmt: skip
    try:
        yield
    finally:
        structlog.configure(**before)
