"""What a seeded bug is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Service = Literal["webhooks", "worker"]


@dataclass(frozen=True, slots=True)
class Bug:
    """A way to break the protocol in a process, and how it is found out."""

    name: str
    services: tuple[Service, ...]  # which are built with it
    apply: Callable[[], None]  # breaks the protocol in this process
    provoke: str  # the provocation that brings it to light: a name in tests/chaos/provocations.py
    expected_rules: frozenset[str]  # each of these rules of the checker must fire
    schema: str = ""  # SQL that the bug needs beforehand
    drain_seconds: float = 45.0  # after which it is judged; less where something is left for ever
