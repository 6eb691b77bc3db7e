"""Which acknowledgements may travel as one."""

from hypothesis import given
from hypothesis import strategies as st

from libs.common.bus.acks import Prefix


def test_tags_in_a_row_are_covered_by_the_last() -> None:
    prefix = Prefix()
    assert prefix.split([1, 2, 3]) == (3, [])
    assert prefix.split([4]) == (4, [])


def test_a_tag_behind_a_gap_stands_alone_until_the_gap_is_filled() -> None:
    prefix = Prefix()
    assert prefix.split([1, 3]) == (1, [3])
    assert prefix.split([5]) == (None, [5])
    assert prefix.split([2]) == (2, [])
    assert prefix.split([4, 6]) == (6, [])


@st.composite
def _batches(draw: st.DrawFn) -> list[list[int]]:
    """All tags up to some number, in any order, in batches of any size."""
    tags = draw(st.permutations(range(1, draw(st.integers(0, 30)) + 1)))
    cuts = sorted(draw(st.lists(st.integers(0, len(tags)), max_size=8)))
    return [tags[start:end] for start, end in zip([0, *cuts], [*cuts, len(tags)], strict=True)]


@given(_batches())
def test_every_tag_is_acknowledged_once_and_none_before_its_time(batches: list[list[int]]) -> None:
    """Played against RabbitMQ's rule: a tag must be waiting, and `multiple` takes all that wait up to it."""
    prefix, waiting, asked = Prefix(), set(range(1, 31)), set[int]()
    for batch in batches:
        asked |= set(batch)
        newest, alone = prefix.split(batch)
        if newest is not None:
            assert newest in waiting
            waiting -= set(range(1, newest + 1))
        for tag in alone:
            assert tag in waiting
            waiting.discard(tag)
        assert waiting == set(range(1, 31)) - asked
