"""What a handler can say besides "done": later, and never. Anything else it raises is a retry with backoff."""

from libs.common.errors import ShopbusError


class Later(ShopbusError):
    """The handler asks for the message to come again after a delay; no retry is used up."""

    def __init__(self, seconds: float, why: str = "the handler asked to be called later") -> None:
        if seconds < 0:
            raise ValueError("a delay cannot be negative")
        super().__init__(why)
        self.seconds = seconds


class Never(ShopbusError):
    """The handler says that no retry will help: the message goes straight to `failed`."""


class Cancelled(ShopbusError):
    """The work has lost its point, as when the shop has removed the app: it ends and did not fail."""


class AlreadyDone(ShopbusError):
    """The message's row is gone: someone was faster, or it is a duplicate. The transaction is rolled back."""


class TransactionUsed(ShopbusError):
    """A handler has one transaction, the one that ends its message; it opened a second one, or emitted after it."""


class TransactionOpen(ShopbusError):
    """Shopify was called inside the handler's transaction: call first, then open it, and write."""


class NotWired(ShopbusError):
    """The Admin API was not opened for the handlers of this service."""


class HandlerDefinitionError(ShopbusError):
    """A handler is declared in a way that cannot work; the message names it."""


class HandlerTimeout(ShopbusError):
    """The handler did not finish within its timeout."""


class HandlerCancelled(ShopbusError):
    """The handler was cancelled from within: something it awaited had been cancelled."""


class NothingCommitted(ShopbusError):
    """The handler returned, but its transaction had been rolled back: nothing it did was kept."""
