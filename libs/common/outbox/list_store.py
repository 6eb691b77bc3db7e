"""SQL that walks messages by their id, newest first, place by place.

Ids are UUIDv7s, so their order is that of acceptance and every walk is a range of an index. What a filter asks for is
looked for among the next `depth` rows only: a page costs the same however rare the answer is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from libs.common.outbox.look_store import BY_BROKER, BY_WORKER, FREE, LANES, PLACES_OF, SHORT_FORM
from libs.common.outbox.names import bind

FIRST_ID, LAST_ID = UUID(int=0), UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where messages stand: the statement for a page, the one for the id where a page's look ends."""

    page: str
    floor: str
    keys: Callable[[str, str], tuple[Any, ...]]  # parameters that both need after their own
    sourced: bool = True  # whether each source is walked for itself


@dataclass(frozen=True, slots=True)
class Window:
    """Ids from `since` up to, and without, `before`; None is any."""

    before: UUID = LAST_ID
    since: UUID = FIRST_ID
    type: str | None = None
    shop: str | None = None


EVERYWHERE = Place(
    SHORT_FORM
    + """
FROM (
    SELECT id FROM (
        SELECT id, type, shop FROM SOURCE.messages WHERE id < $4 AND id >= $5 ORDER BY id DESC LIMIT $6
    ) AS looked
    WHERE ($7::text IS NULL OR type = $7) AND ($8::text IS NULL OR shop = $8) ORDER BY id DESC LIMIT $9
) AS w
"""
    + PLACES_OF
    + "ORDER BY w.id DESC",
    "",
    lambda source, consumer: (consumer, LANES, source),
)
