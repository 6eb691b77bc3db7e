"""What services say to each other about a privacy case is read by processes of the version before and after, too."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from libs.common.contracts.envelope import InvalidBody, Message
from libs.common.contracts.privacy import Command, Subject

NOW = datetime(2026, 11, 28, tzinfo=UTC)
ANNA = Subject("a.myshopify.com", NOW, customer_id=191167, orders=[299938])


def message(body: bytes) -> Message:
    return Message(UUID(int=1), "privacy.erase.webhooks", "worker", "", NOW, body)


def said(subject: Subject) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(Command(UUID(int=2), subject).body())
    return body


def test_a_command_comes_back_as_it_was() -> None:
    for subject in (
        ANNA,
        replace(ANNA, clients=["a browser"]),
        Subject("a.myshopify.com", NOW, whole_shop=True),
    ):
        assert said(Command.of(message(orjson.dumps(said(subject)))).subject) == said(subject)


def test_browsers_are_named_only_where_there_are_some() -> None:
    """A process that knows nothing of them can do what names none."""
    assert "clients" not in said(ANNA)["subject"]
    assert said(replace(ANNA, clients=["a browser"]))["subject"]["clients"] == ["a browser"]


def test_what_only_a_later_version_knows_is_passed_over() -> None:
    later = said(ANNA)
    later["subject"]["shoe_size"] = 39
    assert Command.of(message(orjson.dumps(later))).subject == replace(ANNA, linked=[])


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"case": "1", "subject": 1}', b'{"subject": {}}'])
def test_what_is_no_command_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(InvalidBody):
        Command.of(message(body))
