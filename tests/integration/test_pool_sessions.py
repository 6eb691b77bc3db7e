"""What the sessions of a service's pool bring along."""

from libs.common.db import open_pool
from libs.common.settings import CommonSettings

CAN = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
STORED = "SELECT pg_column_compression(body) FROM kept"


async def test_long_values_are_compressed_with_lz4_where_the_server_can(database: str) -> None:
    async with open_pool(CommonSettings.load(database_url=database)) as pool, pool.acquire() as conn:
        can = await conn.fetchval(CAN)
        await conn.execute("CREATE TABLE kept (body bytea)")
        await conn.execute("INSERT INTO kept VALUES ($1)", b'{"line_item": 12345}' * 1_000)
        assert await conn.fetchval(STORED) == ("lz4" if can else "pglz")
