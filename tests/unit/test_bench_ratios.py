from collections.abc import Awaitable, Callable

import pytest

from bench.__main__ import main
from bench.result import Ratio, median, percentile
from bench.rounds import interleaved, ratio


def test_a_ratio_is_taken_round_by_round() -> None:
    found = ratio("ours ÷ theirs", [10.0, 30.0, 20.0], [10.0, 10.0, 40.0])
    assert found.rounds == [1.0, 3.0, 0.5]
    assert found.median == 1.0
    assert found.spread == (0.5, 3.0)


def test_sides_with_unequal_rounds_are_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio("ours ÷ theirs", [1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("target", "most", "met"),
    [(None, False, None), (1.0, False, True), (1.1, False, False), (1.0, True, True), (0.9, True, False)],
)
def test_a_target_is_met_from_its_own_side(target: float | None, most: bool, met: bool | None) -> None:
    assert Ratio("what", [1.0], target, most).met is met


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 51.0, 100.0, 100.0]
    assert median([3.0, 1.0, 2.0]) == 2.0


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile([], 0.5) != percentile([], 0.5)  # NaN


async def test_sides_take_turns_and_each_goes_first_as_often() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[], Awaitable[int]]:
        async def measure() -> int:
            order.append(name)
            return len(order)

        return measure

    figures = await interleaved({"a": side("a"), "b": side("b")}, 4)
    assert "".join(order) == "abbaabba"
    assert figures == {"a": [1, 4, 5, 8], "b": [2, 3, 6, 7]}


def test_an_unknown_benchmark_is_one_line_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accept", "acept"]) == 2
    assert capsys.readouterr().err.startswith("no benchmark is called acept: there are ")
