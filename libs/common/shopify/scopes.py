"""Access scopes by Shopify's algebra: whoever may write may read, and granted scopes come back without what follows."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_WRITING = re.compile(r"(unauthenticated_)?write_(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scopes:
    """A set of scopes. Two that allow the same are equal: what another scope implies is not kept."""

    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """The set of the given names; blanks around them and empty ones do not count."""
        given = frozenset(name.strip() for name in names) - {""}
        return cls(given - _implied(given))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The set that a comma-separated list means."""
        return cls.of(text.split(","))

    @property
    def expanded(self) -> frozenset[str]:
        """The names with everything that they imply."""
        return self.names | _implied(self.names)

    def lacking(self, required: "Scopes") -> "Scopes":
        """What is required and not allowed by this set."""
        return Scopes.of(required.names - self.expanded)

    def cover(self, required: "Scopes") -> bool:
        """Whether everything that is required is allowed by this set."""
        return required.names <= self.expanded

    def __str__(self) -> str:
        return ",".join(sorted(self.names))


def _implied(names: frozenset[str]) -> frozenset[str]:
    found = (_WRITING.fullmatch(name) for name in names)
    return frozenset(f"{match[1] or ''}read_{match[2]}" for match in found if match)
