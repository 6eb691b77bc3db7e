"""Where an event happened, as the pixel tells it: the page, the browser and its window."""

from dataclasses import dataclass
from random import Random

from services.sandbox.scene import Json, store_of

_AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.4 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
)
_SIZES = ((1792, 1120), (1920, 1080), (390, 844), (1440, 900))
_LANGUAGES = ("en-US", "en-GB", "de-DE", "fr-FR", "sv-SE")
_REFERRERS = ("", "https://www.google.com/", "https://www.instagram.com/", "https://news.example.com/gifts")


@dataclass(slots=True)
class Browser:
    """A shopper's browser, and the page it is on."""

    shop: str
    agent: str
    size: tuple[int, int]
    language: str
    referrer: str
    path: str = "/"
    title: str = ""

    @classmethod
    def drawn(cls, shop: str, draw: Random) -> "Browser":
        device = draw.randrange(len(_AGENTS))
        return cls(shop, _AGENTS[device], _SIZES[device], draw.choice(_LANGUAGES), draw.choice(_REFERRERS))

    def go_to(self, path: str, title: str) -> None:
        """Opens a page of the shop; the one before is its referrer."""
        if self.title:
            self.referrer = f"https://{self.shop}{self.path}"
        self.stand_on(path, title)

    def stand_on(self, path: str, title: str) -> None:
        self.path, self.title = path, title

    def context(self) -> Json:
        location, (width, height) = self._location(), self.size
        return {
            "document": {
                "location": location, "referrer": self.referrer, "characterSet": "UTF-8",
                "title": f"{self.title} - {store_of(self.shop).name}",
            },
            "navigator": {
                "language": self.language, "languages": [self.language, "en"], "cookieEnabled": True,
                "userAgent": self.agent,
            },
            "window": {
                "innerHeight": height - 90, "innerWidth": width, "outerHeight": height, "outerWidth": width,
                "pageXOffset": 0, "pageYOffset": 0, "location": location, "origin": f"https://{self.shop}",
                "screenX": 0, "screenY": 0, "scrollX": 0, "scrollY": 0, "screen": {"height": height, "width": width},
            },
        }  # fmt: skip

    def _location(self) -> Json:
        pathname, _, query = self.path.partition("?")
        return {
            "href": f"https://{self.shop}{self.path}", "hash": "", "host": self.shop, "hostname": self.shop,
            "origin": f"https://{self.shop}", "pathname": pathname, "port": "", "protocol": "https:",
            "search": f"?{query}" if query else "",
        }  # fmt: skip
