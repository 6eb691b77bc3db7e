"""Declaring handlers with `@on` and `@every`, and finding the one for a message.

The decorators only mark functions; `collect` reads the marks. So importing a handler has no effect by itself.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from croniter import croniter

from libs.common.contracts.topology import matches
from libs.common.runtime.outcomes import HandlerDefinitionError

Function = TypeVar("Function", bound=Callable[..., Coroutine[Any, Any, None]])
_MARK = "__shopbus__"
_MOST_TYPES = 10_000  # remembered; types come from outside


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that works on messages, with its limits."""

    name: str
    function: Callable[..., Coroutine[Any, Any, None]]
    patterns: tuple[str, ...]
    retries: int = 10  # tries after the first
    timeout: float = 30.0  # seconds for one try
    per_shop: int | None = None  # how many may run at once for one shop, over all processes
    together: int = 1  # up to so many share one transaction, each called alone
    batch: int = 1  # up to so many in one call
    takes_list: bool = False
    schedule: str | None = None  # cron expression, UTC
    needs_install: bool = False  # has no point once the shop has removed the app

    @property
    def group(self) -> int:
        """How many messages one transaction may serve."""
        return max(self.together, self.batch)


@dataclass(frozen=True, slots=True)
class _Mark:
    patterns: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


def on(
    *patterns: str,
    retries: int = 10,
    timeout: float = 30.0,
    per_shop: int | None = None,
    together: int | None = None,
    batch: int | None = None,
    needs_install: bool = False,
) -> Callable[[Function], Function]:
    """Runs the function on messages of these types; `*` stands for one word, a final `#` for the rest.

    `timeout` is in seconds. `together`: up to so many messages share a transaction, for handlers that only write.
    `batch`: the function takes a list of up to so many messages. `needs_install`: what waits is cancelled when its shop
    removes the app. Raises `HandlerDefinitionError` for what cannot work.
    """
    options = {
        "retries": retries,
        "timeout": timeout,
        "per_shop": per_shop,
        "together": 1 if together is None else together,
        "batch": 1 if batch is None else batch,
        "takes_list": batch is not None,
        "needs_install": needs_install,
    }

    def mark(function: Function) -> Function:
        _check(function, patterns, options)
        setattr(function, _MARK, _Mark(patterns, options))
        return function

    return mark


def every(cron: str, *, retries: int = 3, timeout: float = 300.0) -> Callable[[Function], Function]:
    """Runs the function at each tick of a cron expression (UTC), once however many workers there are."""

    def mark(function: Function) -> Function:
        if not croniter.is_valid(cron):
            raise HandlerDefinitionError(f"{function.__name__}: {cron!r} is not a cron expression")
        options = {"retries": retries, "timeout": timeout, "schedule": cron}
        _check(function, ("schedule",), options)
        setattr(function, _MARK, _Mark((), options))
        return function

    return mark


def _check(function: Callable[..., Any], patterns: Sequence[str], options: dict[str, Any]) -> None:
    name = function.__name__
    problem = None
    if not inspect.iscoroutinefunction(function):
        problem = "a handler is an async function"
    elif not patterns:
        problem = "name at least one message type"
    elif options["retries"] < 0 or options["timeout"] <= 0:
        problem = "retries cannot be negative and timeout has to be above zero"
    elif any(
        limit is not None and limit < 1 for limit in map(options.get, ("per_shop", "together", "batch"))
    ):
        problem = "per_shop, together and batch are at least 1"
    elif (
        sum(
            (
                options.get("per_shop") is not None,
                options.get("together", 1) > 1,
                options.get("takes_list", False),
            )
        )
        > 1
    ):
        problem = "per_shop, together and batch exclude each other: each decides what shares a transaction"
    if problem:
        raise HandlerDefinitionError(f"handler {name}: {problem}")


class Registry:
    """The handlers of one service. The most exact pattern wins; two equal ones are an error."""

    def __init__(self, handlers: Iterable[Handler]) -> None:
        self.handlers = tuple(handlers)
        taken: dict[str, str] = {}
        for handler in self.handlers:
            for pattern in handler.patterns:
                if pattern in taken:
                    raise HandlerDefinitionError(
                        f"two handlers for {pattern}: {taken[pattern]} and {handler.name}"
                    )
                taken[pattern] = handler.name
        self._known: dict[str, Handler | None] = {}

    def find(self, message_type: str) -> Handler | None:
        """The handler of a message type, or None: the message then ends as unhandled."""
        if message_type not in self._known:
            if len(self._known) >= _MOST_TYPES:
                self._known.clear()
            self._known[message_type] = self._search(message_type)
        return self._known[message_type]

    def _search(self, message_type: str) -> Handler | None:
        fitting = [
            (len(pattern.replace("*", "").replace("#", "")), pattern == message_type, handler)
            for handler in self.handlers
            for pattern in handler.patterns
            if matches(pattern, message_type)
        ]
        return max(fitting, key=lambda item: (item[1], item[0]))[2] if fitting else None


def collect(modules: Iterable[ModuleType]) -> Registry:
    """The registry of all functions marked in these modules (not of those they import)."""
    return Registry(
        _handler(module, function, getattr(function, _MARK))
        for module in modules
        for function in vars(module).values()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and hasattr(function, _MARK)
    )


def _handler(module: ModuleType, function: Callable[..., Coroutine[Any, Any, None]], mark: _Mark) -> Handler:
    name = f"{module.__name__.rsplit('.', 1)[-1]}.{function.__name__}"
    return Handler(name, function, mark.patterns or (f"schedule.{name}",), **mark.options)


def discover(*packages: str) -> list[ModuleType]:
    """Imports packages (or modules) and all modules below them.

    Raises `HandlerDefinitionError` naming the package where that fails.
    """
    found: list[ModuleType] = []
    for name in packages:
        try:
            module = importlib.import_module(name)
            found.append(module)
            below = pkgutil.walk_packages(getattr(module, "__path__", ()), prefix=f"{name}.")
            found += [importlib.import_module(info.name) for info in below]
        except ImportError as error:
            raise HandlerDefinitionError(f"handlers in {name} cannot be imported: {error}") from error
    return found
