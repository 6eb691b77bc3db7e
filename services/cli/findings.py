"""What `shopbus doctor` says about one thing."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict, the words for it, and what mends it if it is wrong."""

    verdict: Literal["ok", "note", "wrong"]
    subject: str
    words: str
    mend: str = ""


def ok(subject: str, words: str) -> Finding:
    return Finding("ok", subject, words)


def note(subject: str, words: str, mend: str = "") -> Finding:
    """Worth knowing, and fine as it is."""
    return Finding("note", subject, words, mend)


def wrong(subject: str, words: str, mend: str) -> Finding:
    return Finding("wrong", subject, words, mend)
