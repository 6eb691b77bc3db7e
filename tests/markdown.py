"""What tests need to know of a Markdown page: its links, its headings' anchors, its code."""

import re
from collections.abc import Iterator
from pathlib import Path

_CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def code(page: Path, language: str) -> list[str]:
    """The fenced blocks in a language."""
    return [block for name, block in _CODE.findall(page.read_text()) if name == language]


def anchors(page: Path) -> set[str]:
    """What a link to the page may name after the `#`, as GitHub makes it of the headings."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text()))
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def relative_links(page: Path) -> Iterator[tuple[Path, str]]:
    """The pages that a page links to beside it, with the anchor there or an empty text."""
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link) is None:
            target, _, anchor = link.partition("#")
            yield (page.parent / target if target else page), anchor
