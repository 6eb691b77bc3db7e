"""What a shop may send before its messages take the overflow lane."""

from hypothesis import given
from hypothesis import strategies as st

from libs.common.outbox import shares
from libs.common.outbox.shares import ShopShares
from tests.clocks import TurnedClock


def test_a_burst_passes_and_what_follows_waits_for_the_rate() -> None:
    clock = TurnedClock()
    share = ShopShares(clock, rate=2.0, burst=3)
    assert [share.take("a") for _ in range(4)] == [True, True, True, False]
    clock.turn(0.5)
    assert [share.take("a") for _ in range(2)] == [True, False]


def test_one_shop_does_not_use_anothers_share() -> None:
    share = ShopShares(TurnedClock(), rate=1.0, burst=1)
    assert share.take("a")
    assert not share.take("a")
    assert share.take("b")


def test_a_quiet_shop_saves_up_its_burst_and_no_more() -> None:
    clock = TurnedClock()
    share = ShopShares(clock, rate=10.0, burst=5)
    share.take("a")
    clock.turn(3_600)
    assert [share.take("a") for _ in range(6)] == [True] * 5 + [False]


@given(st.lists(st.floats(0, 2), max_size=60), st.floats(0.5, 20), st.integers(1, 20))
def test_no_shop_ever_gets_more_than_its_burst_and_its_rate(
    pauses: list[float], rate: float, burst: int
) -> None:
    clock = TurnedClock()
    share = ShopShares(clock, rate=rate, burst=burst)
    taken = 0
    for pause in pauses:
        clock.turn(pause)
        taken += share.take("a")
        assert taken <= burst + clock.seconds * rate + 1e-6


def test_shops_long_unseen_are_forgotten() -> None:
    share = ShopShares(TurnedClock(), rate=1.0, burst=1)
    for number in range(shares._MOST_SHOPS + 10):
        share.take(f"shop {number}")
    assert len(share._buckets) == shares._MOST_SHOPS
    assert not share.take(f"shop {shares._MOST_SHOPS}")  # the youngest are remembered
