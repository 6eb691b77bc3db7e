"""SQL that reads tokens out of the table of another app, once."""

from dataclasses import dataclass, field

import asyncpg

from libs.common.db import Connection
from libs.common.errors import ShopbusError
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain


class NoSuchTable(ShopbusError):
    """There is no such table, or not with such columns."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns are called; the defaults are those of Shopify's session tables for JavaScript."""

    shop: str = "shop"
    token: str = "accessToken"  # noqa: S105 - a column's name
    scopes: str = "scope"
    refresh: str = "refreshToken"
    online: str = "isOnline"


@dataclass(frozen=True, slots=True)
class Plain:
    """A token as it lay there."""

    shop: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    scopes: str


# Postgres itself writes the statement, so that every name in it is quoted. Columns that are not there read as NULL.
STATEMENT = """
WITH had AS (
    SELECT array_agg(attname::text) AS names FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
)
SELECT format('SELECT %I::text AS shop, %I::text AS token, %s AS scopes, %s AS refresh FROM %s WHERE %s',
              $2::text, $3::text,
              CASE WHEN $4::text = ANY (names) THEN format('%I::text', $4::text) ELSE 'NULL' END,
              CASE WHEN $5::text = ANY (names) THEN format('%I::text', $5::text) ELSE 'NULL' END,
              to_regclass($1),
              CASE WHEN $6::text = ANY (names) THEN format('NOT coalesce(%I, false)', $6::text) ELSE 'true' END)
FROM had WHERE $2 = ANY (names) AND $3 = ANY (names)
"""


async def plain_tokens(conn: Connection, table: str, columns: Columns) -> list[Plain]:
    """Every offline token in a table; rows without a shop or a token are left out. Raises `NoSuchTable`."""
    try:
        statement = await conn.fetchval(
            STATEMENT, table, columns.shop, columns.token, columns.scopes, columns.refresh, columns.online
        )
        rows = await conn.fetch(statement) if statement else None
    except (asyncpg.PostgresSyntaxError, asyncpg.InvalidNameError, asyncpg.FeatureNotSupportedError) as error:
        raise NoSuchTable(str(error)) from None
    if rows is None:
        raise NoSuchTable(f"there is no table {table} with the columns {columns.shop} and {columns.token}")
    return [plain for row in rows if (plain := _plain(row)) is not None]


def _plain(row: asyncpg.Record) -> Plain | None:
    try:
        shop = shop_domain(row["shop"] or "")
    except InvalidShopDomain:
        return None
    return Plain(shop, row["token"], row["refresh"] or None, row["scopes"] or "") if row["token"] else None
