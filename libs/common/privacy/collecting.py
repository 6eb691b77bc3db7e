"""What was found about a customer, in a form that can be sent and read. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from libs.common.contracts.privacy import Answer

_PART_BYTES = 256 * 1024  # of one message; larger only where a single row is


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for JSON: payloads as the JSON that they are, else as text."""
    return {name: _value(value) for name, value in row.items() if value is not None}


def _value(value: object) -> object:
    if not isinstance(value, bytes):
        return value if isinstance(value, (int, float, bool)) else str(value)
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value.decode("utf-8", "replace")


def parts_of(answer: Answer, items: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """The answer in messages of a bearable size; one without anything, where nothing was found."""
    groups = list(_groups(items)) or [[]]
    return [
        replace(answer, part=number, parts=len(groups), items=group)
        for number, group in enumerate(groups, start=1)
    ]


def _groups(items: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    group: list[Mapping[str, Any]] = []
    size = 0
    for item in items:
        length = len(orjson.dumps(item))
        if group and size + length > _PART_BYTES:
            yield group
            group, size = [], 0
        group.append(item)
        size += length
    if group:
        yield group
