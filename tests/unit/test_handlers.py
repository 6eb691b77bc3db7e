"""Declaring handlers, and finding the one for a message."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from libs.common.contracts.envelope import Message
from libs.common.runtime import handlers
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import Registry, collect, discover, every, on
from libs.common.runtime.outcomes import HandlerDefinitionError


async def keep(message: Message, ctx: Context) -> None:
    """A handler without a mark."""


def marked(name: str, mark: Callable[..., Any]) -> Any:
    async def function(message: Message, ctx: Context) -> None:
        """A handler."""

    function.__name__ = name
    function.__module__ = "app.orders"
    return mark(function)


def registry(**marks: Callable[..., Any]) -> Registry:
    module = ModuleType("app.orders")
    for name, mark in marks.items():
        setattr(module, name, marked(name, mark))
    return collect([module])


def found(registry: Registry, message_type: str) -> str | None:
    handler = registry.find(message_type)
    return None if handler is None else handler.name


def test_a_handler_is_named_after_its_file_and_function() -> None:
    handlers_found = registry(keep_order=on("webhook.orders.create"))
    assert found(handlers_found, "webhook.orders.create") == "orders.keep_order"


def test_a_message_nobody_wants_has_no_handler() -> None:
    assert found(registry(one=on("webhook.orders.create")), "webhook.orders.updated") is None


def test_the_most_exact_pattern_wins() -> None:
    several = registry(
        everything=on("#"),
        webhooks=on("webhook.#"),
        creations=on("webhook.*.create"),
        exact=on("webhook.orders.create"),
    )
    assert found(several, "webhook.orders.create") == "orders.exact"
    assert found(several, "webhook.products.create") == "orders.creations"
    assert found(several, "webhook.products.update") == "orders.webhooks"
    assert found(several, "pixel.frame") == "orders.everything"


def test_an_exact_pattern_wins_over_any_longer_one() -> None:
    several = registry(exact=on("a.b"), wide=on("a.b.#"))
    assert found(several, "a.b") == "orders.exact"
    assert found(several, "a.b.c") == "orders.wide"


def test_two_handlers_for_one_pattern_are_refused_and_both_named() -> None:
    with pytest.raises(HandlerDefinitionError, match=r"webhook\.\*.*orders\.first and orders\.second"):
        registry(first=on("webhook.*"), second=on("webhook.*"))


def test_one_handler_may_serve_several_types() -> None:
    both = registry(
        keep=on("webhook.orders.create", "webhook.orders.updated", retries=3, timeout=5, per_shop=2)
    )
    first, second = both.find("webhook.orders.create"), both.find("webhook.orders.updated")
    assert first is not None
    assert first is second
    assert (first.retries, first.timeout, first.per_shop) == (3, 5, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retries": -1}, "retries"),
        ({"timeout": 0}, "timeout"),
        ({"per_shop": 0}, "at least 1"),
        ({"per_shop": -1}, "at least 1"),
        ({"together": 0}, "at least 1"),
        ({"batch": 0}, "at least 1"),
        ({"together": 2, "batch": 2}, "exclude"),
        ({"per_shop": 1, "together": 2}, "exclude"),
        ({"per_shop": 1, "batch": 2}, "exclude"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(HandlerDefinitionError, match=f"keep.*{words}"):
        on("webhook.orders.create", **options)(keep)


def test_a_handler_has_to_be_async_and_to_want_something() -> None:
    with pytest.raises(HandlerDefinitionError, match="async"):
        on("webhook.orders.create")(lambda message, ctx: None)  # type: ignore[type-var]
    with pytest.raises(HandlerDefinitionError, match="at least one"):
        on()(keep)


def test_a_schedule_is_a_handler_of_its_own_ticks() -> None:
    scheduled = registry(clean_up=every("0 3 * * *"))
    handler = scheduled.find("schedule.orders.clean_up")
    assert handler is not None
    assert handler.schedule == "0 3 * * *"
    with pytest.raises(HandlerDefinitionError, match="not a cron"):
        every("at teatime")(keep)


def test_batch_handlers_take_lists_and_together_handlers_do_not() -> None:
    several = registry(batch=on("a", batch=100), single_list=on("b", batch=1), together=on("c", together=50))
    shapes = {name: several.find(name) for name in "abc"}
    assert {name: (h.takes_list, h.group) for name, h in shapes.items() if h} == {
        "a": (True, 100),
        "b": (True, 1),
        "c": (False, 50),
    }


def test_importing_a_marked_handler_does_not_declare_it_twice() -> None:
    home, guest = ModuleType("app.orders"), ModuleType("app.guest")
    home.keep = guest.keep = marked("keep", on("webhook.orders.create"))  # type: ignore[attr-defined]
    assert [handler.name for handler in collect([home, guest]).handlers] == ["orders.keep"]


def test_types_from_outside_do_not_fill_the_memory() -> None:
    one = registry(keep=on("webhook.#"))
    for number in range(handlers._MOST_TYPES + 10):
        assert found(one, f"webhook.{number}") == "orders.keep"
    assert len(one._known) <= handlers._MOST_TYPES


def test_files_in_a_package_are_found_by_themselves(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = elsewhere / "shop_of_mine"
    (package / "deeper").mkdir(parents=True)
    for folder in (package, package / "deeper"):
        (folder / "__init__.py").touch()
    (package / "deeper" / "orders.py").write_text(
        "from libs.common.runtime.handlers import on\n@on('a.b')\nasync def keep(message, ctx): ...\n"
    )
    monkeypatch.syspath_prepend(str(elsewhere))
    assert found(collect(discover("shop_of_mine")), "a.b") == "orders.keep"


@pytest.mark.parametrize(
    "content", ["import no_such_module_anywhere", "from libs.common.errors import Nothing"]
)
def test_a_handler_file_that_cannot_be_imported_is_named(
    content: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "broken_handlers.py").write_text(content)
    monkeypatch.syspath_prepend(str(elsewhere))
    with pytest.raises(HandlerDefinitionError, match="broken_handlers"):
        discover("broken_handlers")
