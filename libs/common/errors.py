"""The base of every error shopbus raises itself."""


class ShopbusError(Exception):
    """Something in shopbus went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class ConfigurationError(ShopbusError):
    """A setting is missing or wrong; the message names it."""


class DatabaseAway(ShopbusError):
    """Postgres cannot be reached or does not answer in time."""


class BrokerAway(ShopbusError):
    """RabbitMQ cannot be reached, is blocked, or does not confirm in time."""
