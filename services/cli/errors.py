"""What goes wrong at the command line; each becomes one line on stderr."""

from libs.common.errors import ConfigurationError, ShopbusError
from services.sandbox.payloads import UnknownTopic


class BadInput(ShopbusError):
    """What was typed cannot be meant."""


class ServerAway(ShopbusError):
    """The server does not answer."""


class Refused(ShopbusError):
    """The server answered, and it was no."""


class FolderTaken(ShopbusError):
    """Another `shopbus run` uses the state folder."""


class PortTaken(ShopbusError):
    """Another program listens on the port."""


_BAD_INPUT = (BadInput, ConfigurationError, UnknownTopic)


def exit_code(error: ShopbusError) -> int:
    """2 for what the caller can put right by typing or setting something else, 1 for the rest."""
    return 2 if isinstance(error, _BAD_INPUT) else 1
