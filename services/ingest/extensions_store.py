"""SQL of the app's web pixels on shops: their keys, their state and the versions that were seen."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class Sighting:
    """Events of one version of the pixel on one shop."""

    shop: str
    version: str
    first_seen: datetime
    last_seen: datetime
    events: int


# Anybody can say that a pixel has any version, so a shop has a limited number of them; later ones are not noted.
SAW = """
WITH input AS (
    SELECT i.* FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[])
        AS i(shop, version, first_seen, last_seen, events)
    JOIN ingest.extensions e USING (shop)
), latest AS (
    UPDATE ingest.extensions e SET last_event_at = greatest(e.last_event_at, l.last_seen)
    FROM (SELECT shop, max(last_seen) AS last_seen FROM input GROUP BY shop) l WHERE e.shop = l.shop
)
INSERT INTO ingest.extension_versions AS v (shop, version, first_seen, last_seen, events)
SELECT shop, version, first_seen, last_seen, events FROM input
WHERE EXISTS (SELECT FROM ingest.extension_versions k WHERE k.shop = input.shop AND k.version = input.version)
   OR (SELECT count(*) FROM ingest.extension_versions k WHERE k.shop = input.shop) < $6
ORDER BY shop, version
ON CONFLICT (shop, version) DO UPDATE SET
    last_seen = greatest(v.last_seen, excluded.last_seen), events = v.events + excluded.events
"""
MOST_VERSIONS = 50


async def saw(conn: Connection, sightings: Sequence[Sighting]) -> None:
    """Adds to what is known of versions."""
    await conn.execute(SAW, *map(list, zip(*map(astuple, sightings), strict=True)), MOST_VERSIONS)


@dataclass(frozen=True, slots=True)
class Extension:
    """The app's pixel on a shop, as we know it."""

    shop: str
    wanted: bool = False
    active: bool = False
    pixel_id: str | None = None
    hosts: Sequence[str] = ()
    activated_at: datetime | None = None
    deactivated_at: datetime | None = None
    last_event_at: datetime | None = None


EXTENSION = """
SELECT shop, wanted, active, pixel_id, hosts, activated_at, deactivated_at, last_event_at
FROM ingest.extensions WHERE shop = $1
"""


async def extension(conn: Connection, shop: str) -> Extension | None:
    """The shop's, if there ever was one."""
    row = await conn.fetchrow(EXTENSION, shop)
    return None if row is None else Extension(**row)


# From here on events are taken in, whether Shopify has been told or not: a key that nobody uses does no harm.
WANT = """
INSERT INTO ingest.extensions AS e (shop, wanted, active, hosts, activated_at)
VALUES ($1, true, true, coalesce($2::text[], '{}'), $3)
ON CONFLICT (shop) DO UPDATE SET
    wanted = true, active = true, hosts = coalesce($2, e.hosts),
    activated_at = CASE WHEN e.active THEN e.activated_at ELSE excluded.activated_at END
"""


async def want(conn: Connection, shop: str, hosts: Sequence[str] | None, at: datetime) -> None:
    """The merchant wants the pixel; None leaves the hosts as they are."""
    await conn.execute(WANT, shop, None if hosts is None else list(hosts), at)


UNWANT = """
UPDATE ingest.extensions SET wanted = false, active = false, pixel_id = NULL,
    deactivated_at = CASE WHEN active THEN $2 ELSE deactivated_at END
WHERE shop = $1
"""


async def unwant(conn: Connection, shop: str, at: datetime) -> None:
    """The merchant does not want it any more."""
    await conn.execute(UNWANT, shop, at)


KEEP_PIXEL = "UPDATE ingest.extensions SET pixel_id = $2 WHERE shop = $1"


async def keep_pixel(conn: Connection, shop: str, pixel_id: str | None) -> None:
    """Shopify's id of the pixel."""
    await conn.execute(KEEP_PIXEL, shop, pixel_id)


ADD_HOST = (
    "UPDATE ingest.extensions SET hosts = hosts || $2::text WHERE shop = $1 AND NOT hosts @> ARRAY[$2::text]"
)


async def add_host(conn: Connection, shop: str, host: str) -> None:
    """The shop's pages are on this host too."""
    await conn.execute(ADD_HOST, shop, host)


INSTALLED = """
INSERT INTO ingest.extensions AS e (shop, wanted, active, generation) VALUES ($1, false, false, $2)
ON CONFLICT (shop) DO UPDATE SET generation = greatest(e.generation, excluded.generation)
RETURNING wanted AND generation > ended
"""


async def installed(conn: Connection, shop: str, generation: int) -> bool:
    """The app was installed; returns whether its pixel is wanted there, by a merchant who had it on before."""
    return bool(await conn.fetchval(INSTALLED, shop, generation))


REVIVE = """
UPDATE ingest.extensions SET active = true, pixel_id = $3,
    activated_at = CASE WHEN active THEN activated_at ELSE $4 END
WHERE shop = $1 AND wanted AND generation > ended AND $2 > ended
"""


async def revive(conn: Connection, shop: str, generation: int, pixel_id: str, at: datetime) -> None:
    """The pixel is on again, unless that install has ended meanwhile."""
    await conn.execute(REVIVE, shop, generation, pixel_id, at)


# The end of an install that another has followed says nothing about the pixel.
UNINSTALLED = """
INSERT INTO ingest.extensions AS e (shop, wanted, active, ended) VALUES ($1, false, false, $2)
ON CONFLICT (shop) DO UPDATE SET
    ended = greatest(e.ended, excluded.ended),
    active = e.active AND e.generation > excluded.ended,
    pixel_id = CASE WHEN e.generation > excluded.ended THEN e.pixel_id END,
    deactivated_at = CASE WHEN e.active AND e.generation <= excluded.ended THEN $3 ELSE e.deactivated_at END
"""


async def uninstalled(conn: Connection, shop: str, generation: int, at: datetime) -> None:
    """An install of the app ended, and with it the pixel; what the merchant wanted is kept for the next."""
    await conn.execute(UNINSTALLED, shop, generation, at)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key of a shop; one that has an end was replaced."""

    key: str
    created_at: datetime
    ends_at: datetime | None


KEYS_OF = (
    "SELECT key, created_at, ends_at FROM ingest.extension_keys WHERE shop = $1 ORDER BY created_at DESC, key"
)


async def keys_of(conn: Connection, shop: str) -> list[PublicKey]:
    """The shop's keys, the newest first."""
    return [PublicKey(**row) for row in await conn.fetch(KEYS_OF, shop)]


REPLACE_KEYS = """
WITH replaced AS (UPDATE ingest.extension_keys SET ends_at = $3 WHERE shop = $1 AND ends_at IS NULL),
over AS (DELETE FROM ingest.extension_keys WHERE shop = $1 AND ends_at < $4)
INSERT INTO ingest.extension_keys (key, shop, created_at) VALUES ($2, $1, $4)
"""


async def replace_keys(conn: Connection, shop: str, key: str, *, others_end: datetime, at: datetime) -> None:
    """Gives the shop a new key; those it had work until they end."""
    await conn.execute(REPLACE_KEYS, shop, key, others_end, at)


VERSIONS = """
SELECT version, first_seen, last_seen, events FROM ingest.extension_versions WHERE shop = $1
ORDER BY last_seen DESC, version
"""


async def versions(conn: Connection, shop: str) -> list[dict[str, object]]:
    """The versions that sent events, the last one first."""
    return [dict(row) for row in await conn.fetch(VERSIONS, shop)]


TURN = "SELECT pg_advisory_xact_lock(hashtextextended('ingest extension ' || $1, 0))"


async def take_turn(conn: Connection, shop: str) -> None:
    """Waits for others who change the same shop's extension, until the transaction ends."""
    await conn.execute(TURN, shop)
