"""Whose calls go first where a shop's points are short."""

from enum import IntEnum


class ApiLane(IntEnum):
    """What a call is for; the lower goes first."""

    PRIVACY = 0  # what the law sets a date for
    ORDERS = 1  # what people wait for
    CATALOGUE = 2
    BACKFILL = 3  # what may take the night
