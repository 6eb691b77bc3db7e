"""A message is in hand once; its copies wait for its end."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from libs.common.runtime.work import Delivery, Hands
from tests.deliveries import delivery

ids = st.lists(st.integers(0, 5).map(lambda number: UUID(int=number)), max_size=30)


def counted(acks: list[UUID], identifier: UUID) -> Delivery:
    one = delivery(identifier=identifier)
    one.acks.append(lambda: acks.append(identifier))
    return one


def test_a_copy_joins_the_first_and_ends_with_it() -> None:
    hands, acks = Hands(), list[UUID]()
    first, copy = counted(acks, UUID(int=1)), counted(acks, UUID(int=1))
    assert hands.take(first)
    assert not hands.take(copy)
    assert acks == []
    hands.drop(first)
    assert acks == [UUID(int=1)] * 2
    assert len(hands) == 0


def test_messages_of_two_sources_with_one_id_are_two_messages() -> None:
    hands = Hands()
    assert hands.take(delivery(source="webhooks"))
    assert hands.take(delivery(source="worker"))
    assert len(hands) == 2


def test_a_message_that_comes_back_after_its_end_is_taken_again() -> None:
    hands, one = Hands(), delivery()
    assert hands.take(one)
    hands.drop(one)
    assert hands.take(delivery(identifier=one.message.id))


def test_what_is_in_hand_can_be_dropped_while_it_is_looked_through() -> None:
    hands = Hands()
    for number in range(3):
        hands.take(delivery(identifier=UUID(int=number)))
    for one in hands:
        hands.drop(one)
    assert len(hands) == 0


@given(ids)
def test_every_copy_is_acknowledged_once_and_not_before_the_end(arrivals: list[UUID]) -> None:
    hands, acks = Hands(), list[UUID]()
    taken = [one for one in (counted(acks, identifier) for identifier in arrivals) if hands.take(one)]
    assert acks == []
    assert {one.message.id for one in hands} == set(arrivals)
    for one in taken:
        hands.drop(one)
    assert sorted(acks) == sorted(arrivals)
