"""What auth says no with. Each names what the caller can do."""

from libs.common.errors import ShopbusError


class NotInstalled(ShopbusError):
    """The app is not installed in this shop."""


class NeedsAuthorization(ShopbusError):
    """Shopify takes none of this shop's tokens any more; its merchant has to open the app once."""


class TryLater(ShopbusError):
    """There is no token right now; the same request may get one later."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why)
        self.seconds = seconds


class AppUnknown(TryLater):
    """Shopify does not take the app's own credentials: they are wrong, or the app is not installed any more."""

    def __init__(self) -> None:
        super().__init__("Shopify does not take the app's credentials", 60.0)


class TooManyInstalls(ShopbusError):
    """Too many installs were begun and not finished. `of` says whose: shop, sender."""

    def __init__(self, of: str, seconds: float) -> None:
        whose = "for this shop" if of == "shop" else "from this address"
        super().__init__(f"too many installs were begun {whose} and not finished; begin again later")
        self.of = of
        self.seconds = seconds


class BeginAgain(ShopbusError):
    """An install was broken off after its state was used up; only a new one can succeed."""


class SessionTokenRefused(ShopbusError):
    """Shopify does not take the session token; the page has to get a new one."""


class GrantRefused(ShopbusError):
    """An install cannot be finished. `reason` is from a closed set, for programs."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
