"""Ports on 127.0.0.1 for servers that come back on the port they had."""

import random
import socket

# Below the range from which Linux (32768) and macOS (49152) take ports for outgoing connections: one of those could
# sit on a server's port while the server is down.
_FIRST, _LAST = 20_000, 32_000
_given: set[int] = set()  # most servers begin to listen a while after they were given their port


def free_port() -> int:
    """A port that nobody uses now, and that nobody in this process was given before."""
    while True:
        port = random.randint(_FIRST, _LAST)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port


def accepts(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
