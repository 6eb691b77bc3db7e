"""Stores the pixel's events: many frames in one transaction, each event once.

An event may come again: browsers repeat what they got no answer to, and a frame may travel twice. The table's key says
which events are the same, and what is there already stays as it is.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import asyncpg

from libs.common.contracts import pixel_frame
from libs.common.contracts.pixel_frame import COLUMNS, Frame, InvalidFrame
from services.worker import metrics
from services.worker.sdk import Context, Later, Message, Never, on

# Rows are inserted in the order of their keys, so that two transactions with the same events wait for each other once
# instead of deadlocking. Times travel as milliseconds; as floating point they are exact to the microsecond.
STORE_EVENTS = """
INSERT INTO worker.pixel_events
    (day, shop, event_id, name, kind, client_id, seq, occurred_at, received_at, marks, version, content)
SELECT date '1970-01-01' + (occurred / 86400000)::integer, shop, event_id, name, kind, client_id, seq,
       to_timestamp(occurred::float8 / 1000), to_timestamp(received::float8 / 1000), marks, version, content
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::smallint[],
            $9::text[], $10::text[], $11::jsonb[])
    AS i(event_id, name, kind, client_id, seq, occurred, received, marks, version, shop, content)
ORDER BY event_id COLLATE "C", shop COLLATE "C"
ON CONFLICT (shop, event_id, day) DO NOTHING
"""


@on("pixel.frame", batch=100)
async def store_events(messages: list[Message], ctx: Context) -> None:
    """Stores the events of these frames that are not stored yet."""
    frames = [_frame(message) for message in messages]
    shops = _repeated((message.shop, len(frame)) for message, frame in zip(messages, frames, strict=True))
    columns: list[list[Any]] = [
        list(chain.from_iterable(frame.columns[number] for frame in frames)) for number in range(len(COLUMNS))
    ]
    contents = list(chain.from_iterable(frame.contents for frame in frames))
    try:
        async with ctx.transaction() as tx:
            status: str = await tx.execute(STORE_EVENTS, *columns, shops, contents)
    except asyncpg.CheckViolationError as error:  # a day's events had no partition, and just then it was made
        raise Later(1.0, "the partition of a day was just being made") from error
    stored = int(status.rpartition(" ")[2])
    metrics.PIXEL_EVENTS.labels("stored").inc(stored)
    metrics.PIXEL_EVENTS.labels("repeated").inc(len(contents) - stored)


def _frame(message: Message) -> Frame:
    if not message.shop:
        raise Never("the message names no shop")
    try:
        return pixel_frame.decode(message.body)
    except InvalidFrame as error:
        raise Never(str(error)) from error


def _repeated(shops: Iterable[tuple[str, int]]) -> list[str]:
    return [shop for shop, events in shops for _ in range(events)]
