"""Ports on 127.0.0.1 for servers that come back on the port they had."""

import random
import socket

# Below the range from which Linux (32768) and macOS (49152) take ports for outgoing connections: one of those could
# sit on a server's port while the server is down.
_FIRST, _LAST = 20_000, 32_000


def free_port() -> int:
    """A port that nobody uses now."""
    while True:
        port = random.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def accepts(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
