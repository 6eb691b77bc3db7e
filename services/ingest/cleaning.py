"""Takes out of events what must not be stored: secrets and addresses in URLs, markup in titles, no text. No I/O."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

GONE = "[removed]"

# Names that hold secrets however they begin, as in `access_token` or `checkout[email]`, and names that do so alone.
_ENDINGS = (
    "token", "secret", "signature", "hmac", "password", "passwd", "api_key", "apikey", "auth", "session", "session_id",
    "email", "mail", "phone", "first_name", "last_name", "firstname", "lastname", "address", "address1", "address2",
)  # fmt: skip
_ALONE = ("code", "key", "sig", "sid", "jwt", "otp", "pwd", "zip", "tel", "uid")


def _either(names: tuple[str, ...]) -> str:
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))


_SECRET_VALUE = re.compile(
    rf"((?:^|[?&#;])(?:[^=&#;?\s]{{0,64}}?(?:{_either(_ENDINGS)})(?:%5D|\])?|(?:{_either(_ALONE)}))=)[^&#;\s\"']+",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"[\w.+%-]{1,64}?(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63})+", re.IGNORECASE)
# Whoever has these can act as the shopper: a checkout, a cart, an order's status page, a password to be set.
_SECRET_PATH = re.compile(
    r"(/(?:checkouts?|carts?|orders?|account/(?:activate|reset|login)|wallets|thank_you)(?:/[\w.-]{1,16})??/)"
    r"(?=[\w.-]*\d)[\w.-]{20,}",
    re.IGNORECASE,
)
_LONG_HEX = re.compile(r"(?<=/)[0-9a-f]{32,}(?=[/?#]|$)", re.IGNORECASE)
_MARKUP = re.compile(r"<[^<>]{0,2000}>|[<>]")
_URL = re.compile(r"^[a-z][a-z0-9+.-]*:|^/|^[?#]|\?", re.IGNORECASE)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_LOCATION = ("href", "search", "hash", "pathname")

# What an event's bytes have to hold for anything to be found in them; looked for before all else, since most have none.
_NAMES_IN_BYTES = "|".join(
    (
        *(f"(?<={name}=)|(?<={name}%5D=)|(?<={name}]=)" for name in _ENDINGS),
        *(f"(?<=[?&#;]{name}=)" for name in _ALONE),
    )
)
_TAILS = frozenset(name[-3:].encode() for name in (*_ENDINGS, *_ALONE, "%5d"))
_SUSPICIOUS = re.compile(f"=(?:{_NAMES_IN_BYTES})".encode(), re.IGNORECASE)


@lru_cache(maxsize=8_192)
def clean_url(url: str) -> str:
    """An address without what it should not tell. It is still an address."""
    url = _SECRET_VALUE.sub(rf"\g<1>{GONE}", url)
    url = _SECRET_PATH.sub(rf"\g<1>{GONE}", url)
    url = _LONG_HEX.sub(GONE, url)
    return _EMAIL.sub(GONE, url)


def clean_title(title: str) -> str:
    """A title without markup."""
    return " ".join(_MARKUP.sub(" ", title).split())


def clean_locations(context: Any) -> bool:
    """Cleans where an event says that its page is, in place; returns whether anything was there to clean."""
    if not isinstance(context, dict):
        return False
    changed = False
    for name in ("document", "window"):
        part = context.get(name)
        if not isinstance(part, dict):
            continue
        changed |= _clean_fields(part.get("location"), _LOCATION)
        changed |= _clean_fields(part, ("referrer",))
    return changed


def _clean_fields(holder: Any, names: tuple[str, ...]) -> bool:
    if not isinstance(holder, dict):
        return False
    changed = False
    for name in names:
        value = holder.get(name)
        if isinstance(value, str) and value and (cleaned := clean_url(value)) != value:
            holder[name] = cleaned
            changed = True
    return changed


def suspicious(content: bytes) -> bool:
    """Whether an event's JSON may hold anything to take out beyond its locations."""
    if b"<" in content or b"@" in content or (b"%" in content and b"%40" in content):
        return True
    if b"\\" in content and b"\\u0000" in content:
        return True
    return _may_name_secrets(content) and _SUSPICIOUS.search(content) is not None


def _may_name_secrets(content: bytes) -> bool:
    """Whether what stands before an = ends as such names do: a tenth of the time that the pattern takes."""
    ends = {part[-3:] for part in content.split(b"=")[:-1]}
    return any(end.lower() in _TAILS or end.endswith(b"]") for end in ends)


class Cleaner:
    """Goes through all of an event. `longest` is how many characters a text may have."""

    def __init__(self, longest: int) -> None:
        self.changed = False
        self.too_long = False
        self._longest = longest

    def clean(self, value: Any, name: str = "") -> Any:
        """The value with everything in it cleaned."""
        if isinstance(value, str):
            return self._text(value, name)
        if isinstance(value, dict):
            return {self._storable(key): self.clean(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.clean(inner, name) for inner in value]
        return value

    def _text(self, text: str, name: str) -> str:
        text = self._storable(text)
        if len(text) > self._longest:
            self.too_long = True
        if name == "title":
            return self._by(clean_title, text) if "<" in text else text
        return self._by(clean_url, text) if _URL.search(text) else text

    def _by(self, cleaning: Callable[[str], str], text: str) -> str:
        cleaned = cleaning(text)
        self.changed |= cleaned != text
        return cleaned

    def _storable(self, text: str) -> str:
        if text.isascii() and "\0" not in text:
            return text
        cleaned = _UNSTORABLE.sub("\ufffd", text)
        self.changed |= cleaned != text
        return cleaned
