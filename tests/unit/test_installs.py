"""Install generations: whatever order webhooks arrive in, and however often, what happened last decides."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.installs import (
    CLOCKS_DIFFER,
    Install,
    Meaning,
    Verdict,
    granted,
    is_stale,
    is_unsure,
    meaning,
    meaning_told,
    uninstalled,
)

START = datetime(2026, 11, 21, tzinfo=UTC)
DAY = timedelta(days=1)

# A shop's true story: it installs and removes the app in turn, each time at a later moment.
STORIES = st.integers(1, 8).map(lambda number: [START + DAY * step for step in range(number)])


def told(known: Install | None, at: datetime) -> Install | None:
    """What is known after an uninstall was heard of."""
    what = meaning(known, at)
    return known if known is None else uninstalled(known, at, what)


@given(STORIES, st.data())
def test_uninstalls_in_any_order_and_any_number_leave_what_is_true(
    story: list[datetime], data: st.DataObject
) -> None:
    grants, removals = story[::2], story[1::2]
    known: Install | None = None
    waiting: list[datetime] = []
    for at in story:  # grants are known at once; of removals we hear whenever
        if at in grants:
            known = granted(known, at)
        else:
            waiting += [at] * data.draw(st.integers(1, 3))
        for heard in data.draw(st.permutations([w for w in waiting if data.draw(st.booleans())])):
            known = told(known, heard)
    for heard in data.draw(st.permutations([*waiting, *removals])):
        known = told(known, heard)
    assert known is not None
    assert known.alive == (len(story) % 2 == 1)
    assert known.granted_at == grants[-1]
    assert known.generation <= len(grants)


@given(STORIES)
def test_removals_that_are_heard_of_at_once_count_every_generation(story: list[datetime]) -> None:
    known: Install | None = None
    for number, at in enumerate(story):
        known = told(known, at) if number % 2 else granted(known, at)
    assert known is not None
    assert known.generation == (len(story) + 1) // 2


@given(st.lists(st.integers(0, 1_000), min_size=1))
def test_grants_alone_are_one_generation_and_the_latest_counts(minutes: list[int]) -> None:
    known: Install | None = None
    for minute in minutes:
        known = granted(known, START + timedelta(minutes=minute))
    assert known is not None
    assert (known.generation, known.granted_at) == (1, START + timedelta(minutes=max(minutes)))


def test_an_uninstall_between_two_grants_means_that_the_app_was_installed_again() -> None:
    known = granted(granted(None, START), START + DAY * 2)
    assert meaning(known, START + DAY) is Meaning.REPLACED
    after = uninstalled(known, START + DAY, Meaning.REPLACED)
    assert (after.generation, after.installed_at, after.alive) == (2, START + DAY * 2, True)
    assert meaning(after, START + DAY) is Meaning.EARLIER


def test_an_uninstall_of_nothing_is_unknown() -> None:
    assert meaning(None, START) is Meaning.UNKNOWN
    assert not is_unsure(None, START)


@pytest.mark.parametrize("apart", [-CLOCKS_DIFFER, timedelta(0), CLOCKS_DIFFER])
def test_close_to_a_grant_the_times_say_too_little(apart: timedelta) -> None:
    known = granted(None, START)
    assert is_unsure(known, START + apart)
    assert not is_unsure(known, START + apart + 3 * CLOCKS_DIFFER)
    assert not is_unsure(uninstalled(known, START, Meaning.ENDED), START + apart)


def test_what_shopify_says_of_an_install_counts_more_than_the_times() -> None:
    once, twice = granted(None, START), granted(granted(None, START), START + DAY)
    over = uninstalled(once, START, Meaning.ENDED)
    assert meaning_told(once, START, Verdict(START, alive=True)) is Meaning.EARLIER
    assert meaning_told(twice, START, Verdict(START + DAY, alive=True)) is Meaning.REPLACED
    assert meaning_told(once, START - DAY, Verdict(START, alive=False)) is Meaning.ENDED
    assert meaning_told(over, START, Verdict(START, alive=False)) is Meaning.EARLIER


def test_what_shopify_said_before_a_grant_says_nothing_of_the_install_after_it() -> None:
    twice = granted(granted(None, START), START + DAY)
    before = Verdict(START, alive=False)
    assert meaning_told(twice, START, before) is Meaning.REPLACED
    assert is_stale(twice, START + DAY, before)
    assert not is_stale(twice, START, before)
    assert not is_stale(twice, START + DAY, Verdict(START + DAY))
    assert not is_stale(None, START, Verdict())
