"""What a request's body holds: events one by one, in whatever form, and whatever is wrong with the others. No I/O.

The forms are one event, an array, lines of JSON, and an object `{"key": …, "version": …, "events": […]}`. A body that
is JSON is read at once. One that is not is taken apart, so that half a character in one event costs no other.
"""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from libs.common.errors import ShopbusError

_GZIP = 16 + zlib.MAX_WBITS
_LONGEST_WORD = 128  # of a key or a version
_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)
_ARRAY = re.compile(r"\s*\[")
_EVENTS = re.compile(r'"events"\s*:\s*\[')
_KEY = re.compile(r'"key"\s*:\s*"([^"\\]{1,128})"')
_VERSION = re.compile(r'"version"\s*:\s*"([^"\\]{1,128})"')


class Unreadable:
    """Stands in the place of an event that is no JSON, or nested too deeply to be read."""

    def __init__(self, text: str, *, deep: bool = False) -> None:
        self.text, self.deep = text, deep


class BombRefused(ShopbusError):
    """The gzipped body becomes larger than is allowed."""


class NotGzip(ShopbusError):
    """The body is said to be gzipped and is not, or not whole."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request carries. Each value is anything that JSON can be, or `Unreadable`."""

    values: Sequence[Any]
    key: str | None = None
    version: str | None = None


def inflate(body: bytes, *, limit: int, ratio: int) -> bytes:
    """What was gzipped; raises `BombRefused` where it is too much, `NotGzip` where it is nothing."""
    most = min(limit, ratio * len(body))
    inflater = zlib.decompressobj(_GZIP)
    try:
        text = inflater.decompress(body, most + 1)
    except zlib.error as error:
        raise NotGzip from error
    if len(text) > most:
        raise BombRefused(f"the body becomes more than {most} bytes")
    if not inflater.eof:
        raise NotGzip
    return text


def read(body: bytes) -> Batch:
    """The events in a body; never fails, since what cannot be read is said in its place."""
    try:
        return _batch(orjson.loads(body))
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace").lstrip("\ufeff")
    return _lines(text) or _taken_apart(text)


def _batch(value: Any) -> Batch:
    if isinstance(value, list):
        return Batch(value)
    if isinstance(value, dict) and isinstance(value.get("events"), list) and "name" not in value:
        return Batch(value["events"], word(value.get("key")), word(value.get("version")))
    return Batch([value])


def word(value: object) -> str | None:
    """A key or a version, if this can be one."""
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD else None


def _lines(text: str) -> Batch | None:
    """Lines of JSON, if there are several and one of them is an object: a broken one is one that was cut off."""
    lines = [
        line for line in text.split("\n") if line.strip()
    ]  # not splitlines(): texts may hold other line ends
    if len(lines) < 2:  # noqa: PLR2004
        return None
    values = [one_value(line) for line in lines]
    return Batch(values) if any(isinstance(value, dict) for value in values) else None


def _taken_apart(text: str) -> Batch:
    if begins := _ARRAY.match(text):
        return Batch([one_value(part) for part in _elements(text, begins.end())])
    if begins := _EVENTS.search(text):
        key, version = _KEY.search(text), _VERSION.search(text, 0, begins.start())
        values = [one_value(part) for part in _elements(text, begins.end())]
        return Batch(values, key and key[1], version and version[1])
    return Batch([one_value(text)])


def _elements(text: str, start: int) -> Iterator[str]:
    """The texts between the commas of an array, even where it never ends."""
    depth, begun = 0, start
    for token in _TOKENS.finditer(text, start):
        sign = token[0]
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
            if depth < 0:
                yield from _filled(text[begun : token.start()])
                return
        elif sign == "," and depth == 0:
            yield text[begun : token.start()]
            begun = token.end()
    yield from _filled(text[begun:])


def _filled(text: str) -> Iterator[str]:
    if text.strip():
        yield text


def one_value(text: str) -> Any:
    """One value, as strictly as it can be read and as leniently as it must."""
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        pass
    try:
        return json.loads(text, strict=False, parse_constant=_no_number)
    except RecursionError:
        return Unreadable(text, deep=True)
    except ValueError:
        return Unreadable(text)


def _no_number(_: str) -> None:
    """NaN and Infinity are nothing that JSON could say."""
