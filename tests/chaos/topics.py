"""What a chaos run sends, and what has to become of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """What a message has to end as: with one effect of its handler, or given up for a reason and without effect."""

    handler: str
    reason: str | None = None  # of its row in `failed`; None is one effect
    failures: int = 0  # attempts that its handler lets fail before it ends well
    per_shop: int | None = None
    shops: int = 5  # how many send it


TOPICS = {
    "chaos/plain": Kind("plain"),
    "chaos/together": Kind("together"),
    "chaos/slow": Kind("slow", per_shop=2, shops=2),
    "chaos/chain": Kind("chain"),
    "chaos/refused": Kind("refused", reason="never"),
    "chaos/raises": Kind("raises", reason="exhausted"),
    "chaos/again": Kind("again", failures=1),
    "chaos/hangs": Kind("hangs", reason="exhausted"),
    "chaos/blocks": Kind("blocks"),
    "chaos/poison": Kind("poison", reason="poison"),
}

ALWAYS = tuple(TOPICS)[:7]
"""Topics of all traffic. A fault asks for the others."""

LINK_TYPE, LINK = "chaos.link", Kind("link")
"""What each handler of chaos/chain emits."""

PROMPT = frozenset(
    topic for topic, kind in TOPICS.items() if (kind.reason, kind.failures, kind.per_shop) == (None, 0, None)
)
"""Topics whose handlers end well at once, if they get there: how long these wait says how well work flows."""

LIMITS = {kind.handler: kind.per_shop for kind in TOPICS.values() if kind.per_shop is not None}
