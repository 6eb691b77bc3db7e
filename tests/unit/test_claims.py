"""Where a consumer looks for work: where it last found some, where a wake-up points, and now and then everywhere."""

from uuid import UUID

from libs.common.contracts.topology import SOURCES, Lane
from libs.common.outbox.claim_store import FIRST_ID
from libs.common.outbox.wakes import Wake
from libs.common.runtime.claims import CUT_OFF_SWEEP_SECONDS, SWEEP_COST, SWEEP_SECONDS, Claims, Spot
from tests.clocks import TurnedClock


def looked_through() -> tuple[Claims, TurnedClock]:
    """A consumer that has just swept and found nothing."""
    clock = TurnedClock()
    claims = Claims(SOURCES, clock)
    claims.start_sweep()
    for spot in claims.spots:
        spot.pending = False
    claims.swept(0.0)
    return claims, clock


def spot_of(claims: Claims, source: str, lane: Lane) -> Spot:
    return next(spot for spot in claims.spots if (spot.source, spot.lane) == (source, lane))


def pending(claims: Claims) -> list[tuple[str, Lane]]:
    return [(spot.source, spot.lane) for spot in claims.spots if spot.pending]


def test_a_new_consumer_looks_everywhere_from_the_start_at_once() -> None:
    claims = Claims(SOURCES, TurnedClock())
    assert claims.sweep_due()
    assert len(pending(claims)) == len(SOURCES) * len(Lane)
    assert {spot.hint for spot in claims.spots} == {FIRST_ID}


def test_critical_lanes_are_looked_at_first() -> None:
    claims = Claims(SOURCES, TurnedClock())
    assert [spot.lane for spot in claims.spots[: len(SOURCES)]] == [Lane.CRITICAL] * len(SOURCES)


def test_claims_go_on_where_the_last_one_ended() -> None:
    claims, _ = looked_through()
    spot = spot_of(claims, "webhooks", Lane.DEFAULT)
    assert claims.begin(spot) == FIRST_ID
    claims.found(spot, [UUID(int=5), UUID(int=9), UUID(int=7)], full=True)
    assert (spot.hint, spot.pending) == (UUID(int=9), True)
    assert claims.begin(spot) == UUID(int=9)
    claims.found(spot, [UUID(int=11)], full=False)
    assert (spot.hint, spot.pending) == (UUID(int=11), False)


def test_a_wake_up_concerns_its_place_only() -> None:
    claims, _ = looked_through()
    claims.woken(Wake("worker", Lane.BULK, UUID(int=3)))
    assert pending(claims) == [("worker", Lane.BULK)]


def test_a_wake_up_of_an_older_id_leads_back_to_it() -> None:
    claims, _ = looked_through()
    spot = spot_of(claims, "webhooks", Lane.DEFAULT)
    claims.found(spot, [UUID(int=100)], full=False)
    claims.woken(Wake("webhooks", Lane.DEFAULT, UUID(int=40)))
    assert spot.hint < UUID(int=40)
    claims.woken(Wake("webhooks", Lane.DEFAULT, UUID(int=200)))
    assert spot.hint < UUID(int=40)  # the older one is still to be found


def test_a_wake_up_of_an_older_id_counts_also_while_a_claim_is_under_way() -> None:
    claims, _ = looked_through()
    spot = spot_of(claims, "webhooks", Lane.DEFAULT)
    claims.found(spot, [UUID(int=100)], full=False)
    claims.begin(spot)
    claims.woken(Wake("webhooks", Lane.DEFAULT, UUID(int=40)))
    claims.found(spot, [UUID(int=150)], full=False)
    assert spot.pending
    assert claims.begin(spot) < UUID(int=40)


def test_a_sweep_that_has_looked_through_returns_to_the_front() -> None:
    """What was done before it lies dead at the start of the index, and is not to be walked by each claim."""
    claims, _ = looked_through()
    spot = spot_of(claims, "webhooks", Lane.DEFAULT)
    claims.begin(spot)
    claims.found(spot, [UUID(int=100)], full=False)
    claims.start_sweep()
    assert claims.begin(spot) == FIRST_ID
    claims.found(spot, [UUID(int=30)], full=True)
    assert claims.begin(spot) == UUID(int=30)  # there may be more between
    claims.found(spot, [], full=False)
    assert claims.begin(spot) == UUID(int=100)


def test_a_wake_up_of_the_very_first_id_is_no_error() -> None:
    claims, _ = looked_through()
    claims.woken(Wake("webhooks", Lane.DEFAULT, FIRST_ID))
    assert spot_of(claims, "webhooks", Lane.DEFAULT).hint == FIRST_ID


def test_now_and_then_everything_is_looked_through_from_the_start() -> None:
    claims, clock = looked_through()
    spot = spot_of(claims, "webhooks", Lane.DEFAULT)
    claims.found(spot, [UUID(int=100)], full=False)
    assert not claims.sweep_due()
    clock.turn(SWEEP_SECONDS)
    assert claims.sweep_due()
    claims.start_sweep()
    assert (spot.hint, spot.pending) == (FIRST_ID, True)


def test_a_sweep_passes_over_lanes_without_rows() -> None:
    claims, _ = looked_through()
    claims.start_sweep()
    claims.woken(Wake("webhooks", Lane.BULK, UUID(int=7)))  # after the rows were looked for
    claims.nothing_beside("webhooks", {Lane.DEFAULT})
    spots = {spot.lane: (spot.hint, spot.pending) for spot in claims.spots if spot.source == "webhooks"}
    assert spots == {
        Lane.CRITICAL: (FIRST_ID, False),
        Lane.DEFAULT: (FIRST_ID, True),
        Lane.OVERFLOW: (FIRST_ID, False),
        Lane.BULK: (FIRST_ID, True),
    }
    assert all(spot.pending for spot in claims.spots if spot.source != "webhooks")


def test_a_costly_sweep_is_rarer() -> None:
    claims, clock = looked_through()
    claims.swept(1.0)
    clock.turn(SWEEP_COST - 0.1)
    assert not claims.sweep_due()
    clock.turn(0.2)
    assert claims.sweep_due()


def test_cut_off_from_rabbitmq_the_sweeps_are_close_together() -> None:
    claims, clock = looked_through()
    claims.cut_off = True
    assert claims.until_sweep() <= CUT_OFF_SWEEP_SECONDS
    claims.swept(0.0)
    clock.turn(CUT_OFF_SWEEP_SECONDS)
    assert claims.sweep_due()


def test_when_wake_ups_may_have_been_missed_everything_is_looked_through_at_once() -> None:
    claims, _ = looked_through()
    claims.all_pending()
    assert claims.sweep_due()
    assert claims.until_sweep() == 0


def test_after_a_claim_that_was_broken_off_all_lanes_are_asked_again_and_the_next_sweep_keeps_its_time() -> (
    None
):
    claims, clock = looked_through()
    spot = spot_of(claims, "webhooks", Lane.DEFAULT)
    claims.begin(spot)
    claims.found(spot, [UUID(int=100)], full=False)
    clock.turn(SWEEP_SECONDS)
    claims.start_sweep()
    claims.begin(spot)
    claims.broke_off(claims.spots)
    claims.swept(0.0)
    assert len(pending(claims)) == len(claims.spots)
    assert claims.begin(spot) == UUID(int=100)
    assert not claims.sweep_due()
    clock.turn(SWEEP_SECONDS)
    assert claims.sweep_due()


def test_a_sweep_that_starts_while_a_claim_is_under_way_is_not_forgotten_by_its_end() -> None:
    claims, clock = looked_through()
    spot = spot_of(claims, "webhooks", Lane.BULK)
    claims.begin(spot)
    clock.turn(SWEEP_SECONDS)
    claims.start_sweep()
    claims.found(spot, [UUID(int=100)], full=False)
    assert spot.pending
    assert claims.begin(spot) == FIRST_ID


def test_what_broke_off_in_one_loop_leaves_the_other_loops_claims_alone() -> None:
    claims, _ = looked_through()
    bulk = spot_of(claims, "webhooks", Lane.BULK)
    claims.begin(bulk)
    claims.broke_off([spot for spot in claims.spots if spot.lane in (Lane.CRITICAL, Lane.DEFAULT)])
    assert not bulk.pending
    assert {lane for _, lane in pending(claims)} == {Lane.CRITICAL, Lane.DEFAULT}


def test_what_was_asked_for_during_a_sweep_is_not_put_off_by_its_end() -> None:
    claims, clock = looked_through()
    clock.turn(SWEEP_SECONDS)
    claims.start_sweep()
    claims.all_pending()
    claims.swept(10.0)
    assert claims.sweep_due()
    assert claims.until_sweep() == 0.0
    claims.start_sweep()
    claims.swept(0.0)
    assert not claims.sweep_due()


def test_a_lane_that_was_empty_and_had_a_claim_since_is_left_as_that_claim_left_it() -> None:
    claims, clock = looked_through()
    spot = spot_of(claims, "webhooks", Lane.BULK)
    clock.turn(SWEEP_SECONDS)
    claims.start_sweep()
    claims.begin(spot)
    claims.found(spot, [UUID(int=100)], full=True)
    claims.nothing_beside("webhooks", ())
    assert spot.pending
    assert pending(claims).count(("webhooks", Lane.BULK)) == 1


def test_claims_beside_a_sweep_put_the_next_one_off_by_all_that_they_took() -> None:
    claims, clock = looked_through()
    clock.turn(SWEEP_SECONDS)
    claims.start_sweep()
    claims.swept_beside(1.0)
    claims.swept_beside(1.0)
    claims.swept(0.0)
    claims.swept_beside(1.0)
    clock.turn(3 * SWEEP_COST - 0.1)
    assert not claims.sweep_due()
    clock.turn(0.1)
    assert claims.sweep_due()
