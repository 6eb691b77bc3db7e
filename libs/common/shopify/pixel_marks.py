"""What can be odd about a pixel event. It is marked and kept: whoever asks decides whether it counts."""

from enum import IntFlag


class Mark(IntFlag):
    """Bits of an event's `marks`."""

    BOT = 1  # the browser calls itself a robot
    CLOCK_SKEW = 2  # the visitor's clock is far from ours
    FOREIGN_HOST = 4  # the page is on a host that is not known as the shop's
    CLEANED = 8  # a token, an e-mail address, markup or a character that cannot be stored was taken out
    MISSHAPEN = 16  # a standard event whose data is not what is documented


def names(marks: int) -> list[str]:
    """The marks in words, for people and programs."""
    return [mark.name.lower() for mark in Mark if mark.name and marks & mark]
