"""A wake-up says where work is, and nothing else is ever taken for one."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.topology import SOURCES, Lane
from libs.common.outbox.wakes import Wake, channel

WAKES = st.builds(Wake, st.sampled_from(SOURCES), st.sampled_from(Lane), st.uuids())


@given(WAKES)
def test_a_wake_up_is_read_as_it_was_written(wake: Wake) -> None:
    assert Wake.parse(wake.payload()) == wake


@pytest.mark.parametrize(
    "payload", ["", "webhooks", "webhooks default", "webhooks nolane 00", "webhooks default xyz", "a b c d"]
)
def test_anything_else_is_refused(payload: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Wake.parse(payload)


@given(WAKES)
def test_a_wake_up_fits_into_a_notification(wake: Wake) -> None:
    assert len(wake.payload().encode()) < 8_000


def test_consumers_do_not_wake_each_other() -> None:
    assert channel("worker") != channel("auth")
    assert Wake("webhooks", Lane.BULK, UUID(int=5)).payload().isprintable()
