from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sandbox.search import LARGEST, BadSearch, Range, Search, parse_search
from services.sandbox.store import Place, Row, Shelves, SortKey

SHOP = "sandbox-001.myshopify.com"
moments = st.floats(1_577_836_800, 1_893_456_000).map(lambda second: datetime.fromtimestamp(second, UTC))
comparisons = st.sampled_from(["", "<", "<=", ">", ">="])


def holds(comparison: str, value: float, bound: float) -> bool:
    return {
        "": value == bound,
        "<": value < bound,
        "<=": value <= bound,
        ">": value > bound,
        ">=": value >= bound,
    }[comparison]


@given(moments, st.sampled_from(["<", "<=", ">", ">="]), st.integers(-3, 3))
def test_a_time_in_a_search_means_what_it_says_for_whole_seconds(
    moment: datetime, comparison: str, away: int
) -> None:
    found = parse_search(f"updated_at:{comparison}'{moment.isoformat()}'").updated
    second = int(moment.timestamp()) + away
    assert (found.low <= second <= found.high) is holds(comparison, second, moment.timestamp())


@given(st.integers(0, LARGEST - 1), comparisons, st.integers(-2, 2))
def test_an_id_in_a_search_means_what_it_says(bound: int, comparison: str, away: int) -> None:
    found = parse_search(f"id:{comparison}{bound}").id
    value = max(bound + away, 0)
    assert (found.low <= value <= found.high) is holds(comparison, value, bound)


@given(st.lists(st.tuples(comparisons, st.integers(0, 1000)), max_size=4))
def test_terms_together_mean_all_of_them(terms: list[tuple[str, int]]) -> None:
    found = parse_search(" AND ".join(f"id:{comparison}{bound}" for comparison, bound in terms)).id
    for value in range(1001):
        wanted = all(holds(comparison, value, bound) for comparison, bound in terms)
        assert (found.low <= value <= found.high) is wanted


def test_a_whole_day_lies_before_what_is_after_it() -> None:
    day = int(datetime(2026, 11, 3, tzinfo=UTC).timestamp())
    assert parse_search("created_at:>=2026-11-03").created == Range(day, LARGEST)
    assert parse_search("created_at:>2026-11-03").created == Range(day + 86_400, LARGEST)
    assert parse_search("created_at:<=2026-11-03").created == Range(0, day + 86_399)
    assert parse_search("created_at:<2026-11-03").created == Range(0, day - 1)
    assert parse_search("created_at:2026-11-03").created == Range(day, day + 86_399)


def test_words_and_quotes_are_taken_as_shopify_takes_them() -> None:
    found = parse_search("""status:open financial_status:"PAID" AND id:'gid://shopify/Order/7' colour:red""")
    assert found == Search(id=Range(7, 7), status="open", payment="paid", unknown=("colour",))
    assert parse_search("status:any") == parse_search(None) == parse_search("  ") == Search()


@pytest.mark.parametrize("text", ["open", "status:", "id:one", "updated_at:>soon", "(id:1)", "id:1 OR id:2"])
def test_what_is_no_search_is_refused(text: str) -> None:
    with pytest.raises(BadSearch):
        parse_search(text)


rows = st.lists(
    st.tuples(st.integers(1, 50), st.integers(0, 20), st.integers(0, 20)),
    max_size=30,
    unique_by=lambda row: row[0],
)


@given(rows, st.sampled_from(SortKey), st.booleans(), st.integers(1, 7), st.integers(0, 20))
def test_pages_of_the_shelves_are_the_sorted_list_in_pieces(
    drawn: list[tuple[int, int, int]], key: SortKey, reverse: bool, limit: int, since: int
) -> None:
    shelves = Shelves()
    made = [
        Row(SHOP, "orders", number, identifier, "orders/create", "open", "pending", created, updated)
        for number, (identifier, created, updated) in enumerate(drawn)
    ]
    shelves.put(made)
    search = Search(updated=Range(since, LARGEST))
    wanted = [row for row in made if row.updated_at >= since]
    wanted.sort(key=lambda row: (row.value(key), row.id), reverse=reverse)
    seen: list[Row] = []
    after = None
    while page := shelves.page(SHOP, "orders", search, key=key, limit=limit, after=after, reverse=reverse):
        seen += page
        after = Place(page[-1].value(key), page[-1].id)
    assert seen == wanted
    assert shelves.count(SHOP, "orders", search) == len(wanted)
    shelves.close()


def test_a_number_is_never_used_again() -> None:
    shelves = Shelves()
    now = int((datetime.now(UTC) - timedelta(days=1)).timestamp())
    row = Row(SHOP, "orders", 0, 5, "orders/create", "open", "pending", now, now)
    shelves.put([row])
    shelves.remove(row)
    assert shelves.by_number(SHOP, "orders", 0) is None
    assert shelves.next_number(SHOP, "orders") == 1
    shelves.close()
