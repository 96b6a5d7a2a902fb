"""Ports of loopback for servers that tests start."""

import random
import socket
from contextlib import ExitStack

# Above those that Ray gives its workers, and below those that Linux gives to whoever asks for any: between the moment
# when a port is found free and the start of its server, no other process takes it by chance.
_PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """So many ports in a row that nobody listens on now."""
    while True:
        first = random.choice(_PORTS[:-count])
        with ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    probes.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
        return list(range(first, first + count))


def free_port() -> int:
    """A port that nobody listens on now."""
    return free_ports(1)[0]
