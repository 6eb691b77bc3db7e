"""What a process would have logged, for tests to look at."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from libs.common import logs


class Written:
    """What was logged so far."""

    def __init__(self, stream: io.BytesIO) -> None:
        self.stream = stream

    @property
    def text(self) -> str:
        return self.stream.getvalue().decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@contextmanager
def logged(level: Any = "INFO", style: Any = "json", stream: Any = None) -> Iterator[Written]:
    """Logs as a process does, into memory or the given stream; afterwards logging is as it was before."""
    handlers = logging.getLogger().handlers[:]
    memory = io.BytesIO()
    logs.configure(level, style, stream or memory)
    try:
        yield Written(memory)
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers[:] = handlers
