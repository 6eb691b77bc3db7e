"""What the admin of a store shows of it: what there is, who is told, and what was told lately."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from services.sandbox.admin_api.buckets import Bucket
from services.sandbox.ledger import BulkOperation, Ledger, Subscription, WebPixel
from services.sandbox.news import Fate, News, Sent
from services.sandbox.scene import Json
from services.sandbox.stock import EVERYTHING, Stock

KINDS = ("products", "customers", "orders")


@dataclass(frozen=True, slots=True)
class Overview:
    """One store at one moment."""

    counts: dict[str, int]
    subscriptions: Sequence[Subscription]
    pixel: WebPixel | None
    bulk: Sequence[BulkOperation]
    fates: dict[str, int]  # deliveries since the sandbox started
    recent: Sequence[Sent]  # the last one first
    bucket: Json
    topics: Sequence[str]  # what can happen
    losing: float  # the share of deliveries that is not sent

    def shown(self) -> Json:
        """The same for programs."""
        return {
            "counts": self.counts,
            "subscriptions": [asdict(one) for one in self.subscriptions],
            "pixel": asdict(self.pixel) if self.pixel else None,
            "deliveries": self.fates,
            "recent": [asdict(one) for one in self.recent],
            "bucket": self.bucket,
            "losing": self.losing,
        }


def overview_of(
    shop: str, stock: Stock, news: News, ledger: Ledger, bucket: Bucket, topics: Sequence[str]
) -> Overview:
    store = ledger.look(shop)
    return Overview(
        counts={kind: stock.shelves.count(shop, kind, EVERYTHING) for kind in KINDS},
        subscriptions=sorted(store.subscriptions.values(), key=lambda one: (one.topic, one.id)),
        pixel=store.web_pixel,
        bulk=sorted(store.bulk.values(), key=lambda one: one.id, reverse=True),
        fates={fate.value: news.fates[shop, fate] for fate in Fate if fate is not Fate.WAITING},
        recent=[one for one in reversed(news.recent) if one.shop == shop],
        bucket=bucket.report(),
        topics=topics,
        losing=news.losses.share,
    )
