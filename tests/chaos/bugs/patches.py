"""Replacing parts of the protocol in this process, for good."""

from typing import Any


def replaced(owner: object, **parts: Any) -> None:
    """Puts others in the place of an owner's parts, each of which must be there."""
    for name, part in parts.items():
        if not hasattr(owner, name):
            raise AttributeError(f"{owner!r} has no {name} that a bug could replace")
        setattr(owner, name, part)


def rewritten(module: object, name: str, old: str, new: str) -> None:
    """Changes a piece of a statement, which must be in it."""
    statement = getattr(module, name)
    if old not in statement:
        raise ValueError(f"{name} does not contain: {old}")
    setattr(module, name, statement.replace(old, new))
