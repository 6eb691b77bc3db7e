import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.common.contracts.envelope import Draft
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from libs.common.runtime.handlers import collect, discover
from libs.common.settings import CommonSettings
from services.worker.app import open_service
from services.worker.config import Settings
from tests.defined_metrics import ROOT, defined_metrics
from tests.environment import MakeSettings
from tests.markdown import anchors, code, relative_links
from tests.waiting import poll

README, OPERATIONS = ROOT / "README.md", ROOT / "docs" / "operations.md"
ARCHITECTURE, STORES = ROOT / "docs" / "architecture.md", ROOT / "libs" / "common" / "outbox"
PAGES = sorted([README, ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

ENDED = "SELECT handler || ' ' || outcome FROM worker.history WHERE type = 'product.announced'"

_ROW = re.compile(r"^\| `([^`]+)` \| (.*) \|$", re.MULTILINE)


def settings_classes() -> Iterator[type[CommonSettings]]:
    """Every class of settings there is."""
    yield CommonSettings
    for path in sorted(ROOT.glob("services/*/config.py")):
        module = importlib.import_module(f"services.{path.parent.name}.config")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, CommonSettings) and value is not CommonSettings:
                yield value


def all_settings() -> set[tuple[str, str]]:
    """The name of each setting, and its default as the tables write it."""
    return {
        (name.upper(), "required" if field.is_required() else _written(field.default))
        for kind in settings_classes()
        for name, field in kind.model_fields.items()
    }


def _written(default: object) -> str:
    if default is None or default == "":
        return "none"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def rows() -> dict[str, list[str]]:
    """The table rows of docs/operations.md, by what stands in their first column."""
    found: dict[str, list[str]] = {}
    for name, rest in _ROW.findall(OPERATIONS.read_text()):
        found.setdefault(name, []).append(rest)
    return found


ROWS = rows()


@pytest.mark.parametrize(("name", "default"), sorted(all_settings()))
def test_every_setting_is_explained_with_its_default(name: str, default: str) -> None:
    assert any(default in row for row in ROWS.get(name, [])), (
        f"{name} ({default}) is not in {OPERATIONS.name}"
    )


def test_every_setting_that_is_explained_exists() -> None:
    shouted = {name for name in ROWS if name.isupper()}
    assert shouted == {name for name, _ in all_settings()}


def named_in(*examples: str) -> set[str]:
    """The variables that example environments name."""
    text = "".join((ROOT / example).read_text() for example in examples)
    return set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE))


def test_every_setting_can_be_set_in_the_example_environment() -> None:
    assert {name for name, _ in all_settings()} <= named_in(".env.example")


def test_every_variable_that_compose_asks_for_is_in_an_example_environment() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert asked <= named_in(".env.example", "deploy/compose.env.example")


def test_every_metric_is_explained_and_every_explained_metric_exists() -> None:
    explained = {name for name in ROWS if re.fullmatch(r"[a-z]+(_[a-z]+)+", name)}
    assert explained == set(defined_metrics())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target, anchor in relative_links(page):
        assert target.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(target), f"{target.name} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^|\bPORT=\d+ )make ([a-z]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"`((?:libs|services|deploy|tests|docs)/[\w./*-]+)`", page.read_text())
    missing = [path for path in named if not list(ROOT.glob(path.rstrip("/"))) and "my_first" not in path]
    assert not missing


def test_every_statement_that_moves_a_message_is_where_the_page_says() -> None:
    arrows = re.findall(r"^\| (?:\d+|\W) \|.*$", ARCHITECTURE.read_text(), re.MULTILINE)
    placed = re.findall(r"`(\w+_store\.py): ([A-Z_]+)`", "\n".join(arrows))
    assert len(placed) >= 10
    for file, constant in placed:
        assert f"\n{constant} = " in (STORES / file).read_text(), f"{constant} is not in {file}"
    known = "".join(path.read_text() for path in STORES.glob("*_store.py"))
    named = set(re.findall(r"`([A-Z_]{3,})`", "\n".join(arrows)))
    assert {constant for constant in named if f"\n{constant} = " not in known} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_in_python_compiles(page: Path) -> None:
    for example in code(page, "python"):
        ast.parse(example)


async def test_the_first_handler_does_what_the_readme_says(
    database: str, settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [example] = code(README, "python")
    (tmp_path / "readme_example.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    mine = settings(Settings, database_url=database)
    async with (
        open_pool(mine) as pool,
        open_producer(mine, schema="webhooks", pool=pool) as shopify,
        open_service(mine, registry=collect(discover("readme_example"))),
    ):
        await shopify.accept(Draft("webhook.products.create", b'{"title": "Mug"}', shop="a.myshopify.com"))
        assert await poll(lambda: pool.fetchval(ENDED)) == "readme_example.greet completed"
