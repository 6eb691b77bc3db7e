import pytest

from libs.common.shopify.admin.breaker import FAILURES, FIRST_HOLD, LONGEST_HOLD, Breakers
from libs.common.shopify.admin.errors import CircuitOpen
from tests.clocks import TurnedClock

SHOP, OTHER = "one.myshopify.com", "two.myshopify.com"


def broken(clock: TurnedClock) -> Breakers:
    breakers = Breakers(clock)
    for _ in range(FAILURES):
        breakers.admit(SHOP)
        breakers.failed(SHOP, "503")
    return breakers


def refused(breakers: Breakers, shop: str = SHOP) -> float:
    with pytest.raises(CircuitOpen) as caught:
        breakers.admit(shop)
    return caught.value.seconds


def test_opens_after_failures_in_a_row_and_for_that_shop_alone() -> None:
    breakers = broken(TurnedClock())
    assert refused(breakers) == FIRST_HOLD
    breakers.admit(OTHER)


def test_a_call_that_works_forgets_the_failures() -> None:
    breakers = Breakers(TurnedClock())
    for _ in range(FAILURES * 3):
        breakers.failed(SHOP, "503")
        breakers.worked(SHOP)
        breakers.admit(SHOP)


def test_one_call_tries_whether_it_works_again() -> None:
    clock = TurnedClock()
    breakers = broken(clock)
    clock.turn(FIRST_HOLD)
    breakers.admit(SHOP)
    assert refused(breakers) > 0
    breakers.worked(SHOP)
    breakers.admit(SHOP)


def test_each_trial_that_fails_doubles_the_hold() -> None:
    clock = TurnedClock()
    breakers, holds = broken(clock), []
    for _ in range(8):
        holds.append(refused(breakers))
        clock.turn(holds[-1])
        breakers.admit(SHOP)
        breakers.failed(SHOP, "503")
    assert holds[:3] == [5, 10, 20]
    assert holds[-1] == LONGEST_HOLD


def test_a_trial_that_was_not_made_is_left_to_the_next() -> None:
    clock = TurnedClock()
    breakers = broken(clock)
    clock.turn(FIRST_HOLD)
    breakers.admit(SHOP)
    breakers.unused(SHOP)
    breakers.admit(SHOP)


def test_a_trial_nobody_hears_of_again_does_not_close_the_door_for_ever() -> None:
    clock = TurnedClock()
    breakers = broken(clock)
    clock.turn(FIRST_HOLD)
    breakers.admit(SHOP)
    clock.turn(refused(breakers))
    breakers.admit(SHOP)


def test_a_shop_can_be_left_alone_at_once() -> None:
    breakers = Breakers(TurnedClock())
    breakers.hold(SHOP, 900, "430")
    assert refused(breakers) == 900
