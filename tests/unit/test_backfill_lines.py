"""However the bytes of a bulk operation's file arrive, its objects come out whole, and from any place on."""

from itertools import accumulate, pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker import backfill_lines
from services.worker.backfill_lines import BadFile, Entry, Families, Lines

SIZES = st.lists(st.integers(0, 3), max_size=12)  # how many children each object has


def file_of(sizes: list[int], *, closed: bool = True) -> bytes:
    lines: list[dict[str, object]] = []
    for number, children in enumerate(sizes):
        gid = f"gid://shopify/Order/{number}"
        lines.append({"id": gid, "name": f"Straße {number}"})
        lines += [{"id": f"line {child}", "__parentId": gid} for child in range(children)]
    content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    return content if closed else content.removesuffix(b"\n")


def entries(chunks: list[bytes], position: int = 0) -> list[Entry]:
    lines, families = Lines(position), Families("lineItems")
    found = [families.add(line) for chunk in chunks for line in lines.feed(chunk)]
    found += [families.add(line) for line in lines.end()]
    return [entry for entry in [*found, families.end()] if entry is not None]


@given(SIZES, st.lists(st.integers(1, 40), min_size=1), st.booleans())
def test_any_chunks_give_the_same_objects(sizes: list[int], cuts: list[int], closed: bool) -> None:
    content = file_of(sizes, closed=closed)
    places = [0, *(place for place in accumulate(cuts) if place < len(content)), len(content)]
    chunks = [content[start:end] for start, end in pairwise(places)]
    found = entries(chunks)
    assert [entry.gid for entry in found] == [f"gid://shopify/Order/{n}" for n in range(len(sizes))]
    assert [len(orjson.loads(entry.body)["lineItems"]) for entry in found] == sizes
    assert sum(entry.lines for entry in found) == len(sizes) + sum(sizes)
    assert not found or found[-1].end == len(content)


@given(SIZES)
def test_reading_on_behind_any_object_gives_the_others(sizes: list[int]) -> None:
    content = file_of(sizes)
    every = entries([content])
    for number, entry in enumerate(every):
        assert entries([content[entry.end :]], entry.end) == every[number + 1 :]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no json\n", "not JSON"),
        (b"[1]\n", "not an object"),
        (b'{"name": "x"}\n', "no id"),
        (b'{"id": "a"}\n{"id": "b"}\n{"id": "c", "__parentId": "a"}\n', "not the object before it"),
        (b'{"id": "c", "__parentId": "a"}\n', "not the object before it"),
    ],
)
def test_what_no_bulk_operation_writes_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        entries([content])


def test_neither_a_line_nor_an_object_may_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_lines, "LONGEST_LINE", 100)
    monkeypatch.setattr(backfill_lines, "LARGEST_OBJECT", 300)
    with pytest.raises(BadFile, match="a line of the file is longer"):
        entries([b"x" * 60, b"x" * 60])
    child = b'{"id": "b", "__parentId": "a"}\n'
    with pytest.raises(BadFile, match="an object of the file is larger"):
        entries([b'{"id": "a"}\n', *[child] * 20])
