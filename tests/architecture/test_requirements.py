"""What is installed is what pyproject.toml asks for: pinned, hashed, and from wherever the machine gets packages."""

import re
import tomllib
from collections.abc import Iterable

import pytest

from tests.architecture.rules import REPOSITORY

NAME = re.compile(r"^([A-Za-z0-9._-]+)")
PIN = re.compile(
    r"^([a-z0-9-]+)==\S+( ;[^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def pyproject() -> dict[str, dict[str, list[str]]]:
    parsed: dict[str, dict[str, list[str]]] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    return parsed


def names(requirements: Iterable[str]) -> set[str]:
    found = [NAME.match(requirement) for requirement in requirements]
    return {match[1].lower().replace("_", "-") for match in found if match}


def lines(file: str) -> str:
    return (REPOSITORY / "requirements" / file).read_text()


@pytest.mark.parametrize(
    ("file", "groups"),
    [
        ("runtime.txt", ()),
        ("build.txt", ("build",)),
        ("dev.txt", ("build", "dev")),
        ("bench.txt", ("bench",)),
    ],
)
def test_every_dependency_is_pinned(file: str, groups: tuple[str, ...]) -> None:
    own = [] if file in ("build.txt", "bench.txt") else pyproject()["project"]["dependencies"]
    asked = names([*own, *(name for group in groups for name in pyproject()["dependency-groups"][group])])
    pinned = {name for name, _, _ in PIN.findall(lines(file))}
    assert asked - pinned == set(), "run `make lock`"


@pytest.mark.parametrize("file", ["runtime.txt", "build.txt", "dev.txt", "bench.txt"])
def test_nothing_stands_beside_hashed_pins_and_comments(file: str) -> None:
    rest = [
        line for line in PIN.sub("", lines(file)).splitlines() if line and not line.lstrip().startswith("#")
    ]
    assert rest == []


def test_development_runs_on_the_versions_of_production() -> None:
    pins = re.compile(r"^\S+==\S+", re.MULTILINE)
    assert set(pins.findall(lines("runtime.txt"))) <= set(pins.findall(lines("dev.txt")))
