"""SQL that a service's sessions begin with."""

import asyncpg

# A session's setting, so that it needs no right and no migration. Servers may be built without lz4.
COMPRESS_WITH_LZ4 = """
SELECT set_config(name, 'lz4', false) FROM pg_settings
WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)
"""
_SECONDS = 5.0


async def compress_with_lz4(conn: asyncpg.Connection) -> None:
    """Values above 2 KB, as most webhooks' bodies are, are stored in half the time that Postgres' own way takes."""
    try:
        await conn.execute(COMPRESS_WITH_LZ4, timeout=_SECONDS)
    except BaseException:
        conn.terminate()  # a silent server would make whoever waits for a connection wait for its orderly end, too
        raise
