"""What can be asked of the job API, and how several walks become one page."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.ids import id_floor
from services.worker.jobs import (
    BadParameter,
    Filter,
    Status,
    read_cursor,
    read_filter,
    read_flag,
    read_id,
    read_limit,
    refuse_unknown,
    write_cursor,
)
from services.worker.jobs_page import one_page

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class TestReading:
    def test_everything_named(self) -> None:
        given = {"status": "failed", "type": "webhook.orders.create", "shop": "A.myshopify.com"}
        times = {"since": "2026-11-20T12:00:00Z", "until": "2026-11-20T13:00:00+01:00"}
        assert read_filter(given | times) == Filter(
            Status.FAILED, "webhook.orders.create", "a.myshopify.com", NOON, NOON
        )

    @pytest.mark.parametrize("spelling", ["2026-11-20T12:00:00Z", "2026-11-20T12:00", "2026-11-20 12:00"])
    def test_times_are_utc_unless_they_say_otherwise(self, spelling: str) -> None:
        assert read_filter({"since": spelling}).since == NOON

    def test_a_plus_that_nobody_escaped(self) -> None:
        assert read_filter({"since": "2026-11-20T13:00:00 01:00"}).since == NOON

    def test_empty_and_absent_are_any(self) -> None:
        assert read_filter({"status": "", "type": None}) == Filter()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("status", "lost"),
            ("status", 7),
            ("type", "a\0b"),
            ("type", "\ud800"),
            ("type", "x" * 300),
            ("shop", "example.com"),
            ("since", "yesterday"),
            ("until", "2026-13-01"),
            ("until", 20261101),
        ],
    )
    def test_what_cannot_be_meant_is_named(self, name: str, value: object) -> None:
        with pytest.raises(BadParameter, match=f"^{name} has to be "):
            read_filter({name: value})

    @given(
        st.dictionaries(st.sampled_from(["status", "type", "shop", "since", "until", "cursor"]), st.text())
    )
    def test_any_text_is_understood_or_refused(self, given: dict[str, str]) -> None:
        named = None
        try:
            read_filter(given).window(read_cursor(given))
        except BadParameter as refused:
            named = refused.name
        assert named is None or given[named]

    @given(st.datetimes(timezones=st.timezones()))
    def test_any_time_becomes_an_id(self, moment: datetime) -> None:
        window = read_filter({"since": moment.isoformat()}).window()
        assert window.since == id_floor(datetime.fromisoformat(moment.isoformat()))

    @pytest.mark.parametrize(
        "value", ["0", "201", "1.5", "-1", "٣", "", " 5", "1" * 20, 0, 201, True, 1.0, [1]]
    )
    def test_a_limit_is_a_whole_number_within_bounds(self, value: object) -> None:
        with pytest.raises(BadParameter, match=r"^limit has to be a whole number from 1 to 200$"):
            read_limit({"limit": value}, 50, 200)

    @pytest.mark.parametrize(("value", "limit"), [("1", 1), ("200", 200), (7, 7), (None, 50)])
    def test_limits(self, value: object, limit: int) -> None:
        assert read_limit({"limit": value}, 50, 200) == limit

    @given(st.uuids())
    def test_a_cursor_comes_back_as_it_was(self, before: UUID) -> None:
        assert read_cursor({"cursor": write_cursor(before)}) == before

    @pytest.mark.parametrize("text", ["!", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAA", "é" * 22, "=" * 22])
    def test_an_invented_cursor_is_refused(self, text: str) -> None:
        with pytest.raises(BadParameter, match=r"^cursor has to be "):
            read_cursor({"cursor": text})

    def test_flags(self) -> None:
        assert [read_flag({"f": text}, "f") for text in ("1", "true", "TRUE", "0", "false")] == [
            *(True, True, True),
            *(False, False),
        ]
        assert not read_flag({}, "f")
        with pytest.raises(BadParameter, match="f has to be 1 or 0"):
            read_flag({"f": "yes please"}, "f")

    def test_ids(self) -> None:
        text = "019aa3c0-7e55-7000-8000-0123456789ab"
        assert read_id(text) == UUID(text)
        with pytest.raises(BadParameter, match=r"^id has to be "):
            read_id("019aa3c0")

    def test_a_misspelt_filter_does_not_mean_everything(self) -> None:
        refuse_unknown({"status": "failed"}, ("status",))
        with pytest.raises(BadParameter, match=r"^staus has to be one of status, type$"):
            refuse_unknown({"staus": "failed"}, ("status", "type"))


@dataclass
class Walked:
    """A walk over some numbers, as a statement would have done it."""

    numbers: list[int]
    before: int
    depth: int
    limit: int
    wanted: range
    rows: list[dict[str, Any]] = field(init=False)
    floor: UUID | None = field(init=False)

    def __post_init__(self) -> None:
        looked = sorted((n for n in self.numbers if n < self.before), reverse=True)[: self.depth]
        found = [n for n in looked if n in self.wanted][: self.limit]
        self.rows = [{"id": UUID(int=n), "status": "failed"} for n in found]
        end = found[-1] if len(found) == self.limit else looked[-1] if len(looked) == self.depth else None
        self.floor = None if end is None else UUID(int=end)


@given(
    place_of=st.dictionaries(st.integers(1, 200), st.integers(0, 3), max_size=120),
    depth=st.integers(1, 10),
    limit=st.integers(1, 10),
    wanted=st.sampled_from([range(300), range(0, 300, 7), range(100, 120), range(0)]),
)
def test_page_after_page_brings_everything_once_in_order(
    place_of: dict[int, int], depth: int, limit: int, wanted: range
) -> None:
    places = [[number for number, place in place_of.items() if place == which] for which in range(4)]
    before, found = 300, []
    while True:
        walks = [Walked(numbers, before, max(depth, limit), limit, wanted) for numbers in places]
        page = one_page(walks, limit)
        found += [row["id"].int for row in page.rows]
        assert len(page.rows) <= limit
        if page.next is None:
            break
        assert page.next.int < before
        before = page.next.int
    assert found == sorted((number for number in place_of if number in wanted), reverse=True)
