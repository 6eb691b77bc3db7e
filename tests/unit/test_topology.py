"""Which message goes where, through which lane."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.topology import (
    CONSUMERS,
    LANE_WEIGHTS,
    ROUTES,
    Lane,
    matches,
    queue_name,
    route_for,
    work_key,
)

WORD = st.sampled_from(["webhook", "orders", "create", "x", "ordersx"])
TYPES = st.lists(WORD, min_size=1, max_size=4).map(".".join)
PATTERNS = st.builds(
    lambda words, rest: ".".join([*words, *rest]),
    st.lists(WORD | st.just("*"), min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
) | st.just("#")


def oracle(pattern: str, message_type: str) -> bool:
    """The same rule as a regular expression over words that each end in a dot."""
    parts = {"*": r"[^.]+\.", "#": r"([^.]+\.)*"}
    expression = "".join(parts.get(word, re.escape(word) + r"\.") for word in pattern.split("."))
    return re.fullmatch(expression, message_type + ".") is not None


@given(PATTERNS, TYPES)
def test_a_pattern_covers_what_its_words_say(pattern: str, message_type: str) -> None:
    assert matches(pattern, message_type) == oracle(pattern, message_type)


@given(TYPES)
def test_a_pattern_without_wildcards_covers_itself_only(message_type: str) -> None:
    assert matches(message_type, message_type)
    assert not matches(message_type, message_type + ".more")
    assert matches("#", message_type)
    assert matches(message_type + ".#", message_type)


@given(st.text(max_size=30))
def test_every_type_has_a_route(message_type: str) -> None:
    assert route_for(message_type) in ROUTES


@pytest.mark.parametrize(
    "message_type",
    [
        "webhook.customers.data_request",
        "webhook.customers.redact",
        "webhook.shop.redact",
        "webhook.app.uninstalled",
        "webhook.app.scopes_update",
        "shop.installed",
        "token.rotated",
    ],
)
def test_compliance_and_lifecycle_are_critical(message_type: str) -> None:
    assert route_for(message_type).lane is Lane.CRITICAL


def test_pixels_are_bulk_and_the_rest_is_default() -> None:
    assert route_for("pixel.frame").lane is Lane.BULK
    assert route_for("webhook.orders.create").lane is Lane.DEFAULT
    assert (
        route_for("webhook.shop.update").lane is Lane.DEFAULT
    )  # not of the app's life cycle, but of the shop's data


def test_every_destination_is_a_consumer_and_every_lane_has_its_own_queue() -> None:
    assert {name for route in ROUTES for name in route.destinations} <= set(CONSUMERS)
    assert len({queue_name("worker", lane) for lane in Lane}) == len(Lane)
    assert len({work_key("worker", lane) for lane in Lane}) == len(Lane)


def test_every_lane_has_a_weight_and_the_critical_one_the_greatest() -> None:
    assert set(LANE_WEIGHTS) == set(Lane)
    assert min(LANE_WEIGHTS.values()) > 0
    assert max(LANE_WEIGHTS, key=lambda lane: LANE_WEIGHTS[lane]) is Lane.CRITICAL
