"""Waiting for what will become true, instead of sleeping and hoping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

_PAUSE_SECONDS = 0.02


@overload
async def poll(condition: Callable[[], Awaitable[T]], within: float = ...) -> T: ...
@overload
async def poll(condition: Callable[[], T], within: float = ...) -> T: ...
async def poll(condition: Callable[[], T | Awaitable[T]], within: float = 10.0) -> T:
    """The first true value of a condition, plain or async; fails the test when `within` seconds bring none."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        result = await value if inspect.isawaitable(value) else value
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not true within {within} s: {_described(condition)}, last value {result!r}"
            )
        await asyncio.sleep(_PAUSE_SECONDS)


def _described(condition: Callable[[], object]) -> str:
    code = getattr(condition, "__code__", None)
    name = getattr(condition, "__qualname__", repr(condition))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
