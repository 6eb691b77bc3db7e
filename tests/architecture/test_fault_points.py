"""A fault point that nothing reaches, or that nobody can look up, would be a promise without a proof."""

import re

import pytest

from libs.common.outbox.faults import POINTS
from tests.architecture.rules import REPOSITORY, sources

REACHED = [
    point
    for path in sources(REPOSITORY)
    for point in re.findall(r'\.reach\(\s*"([^"]+)"\s*\)', path.read_text())
]
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text()
TESTED = "".join(
    path.read_text() for path in (REPOSITORY / "tests" / "integration").glob("test_fault_points*.py")
)


@pytest.mark.parametrize("point", POINTS)
def test_the_protocol_passes_it_docs_tell_it_and_a_test_kills_there(point: str) -> None:
    assert point in REACHED
    assert f"`{point}`" in ARCHITECTURE
    assert f'"{point}"' in TESTED


def test_no_other_is_passed() -> None:
    assert set(REACHED) <= set(POINTS)
