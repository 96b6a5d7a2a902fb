"""A small HTTP server of one process: its metrics at `/metrics` and `/metrics/RUN`, and other pages beside them.

Works on: an address to listen on, a registry, and functions that give the other pages' bytes. Knows nothing about
what the numbers or pages say. Every answer is made anew; whatever is not a page is 404.
The run's own path is for discovery: Prometheus goes on scraping the address of a run that has ended, and on a fixed
port it would put the next run's numbers under the last run's name.
"""

import errno
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from cluster.config import MetricsSettings
from cluster.errors import RequestError

logger = logging.getLogger(__name__)

_IDLE_SECONDS = 30.0  # a client that says nothing for so long is cut off, or it would keep a thread
_WILDCARDS = ("0.0.0.0", "::", "[::]")


@dataclass(frozen=True)
class Address:
    """Where a process listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """HOST:PORT, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """What to scrape."""
        return f"http://{self}/metrics"

    def advertised(self, node_ip: Callable[[], str]) -> "Address":
        """Where others reach it: at the node's own address if it listens on all of them."""
        return Address(node_ip(), self.port) if self.host in _WILDCARDS else self


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask DNS for this machine's name, and wait for it
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone or is silent is its own affair; socketserver would print a traceback."""
        error = sys.exception()
        if not isinstance(error, OSError):
            logger.warning("A request for metrics was not answered: %s: %s", type(error).__name__, error)


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_SECONDS

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: a request every few seconds is the normal state."""


def run_path(run: str) -> str:
    """Where the metrics of one run are, and never another's."""
    return f"/metrics/{run}"


@contextmanager
def serve(
    settings: MetricsSettings,
    registry: CollectorRegistry,
    pages: Mapping[str, Callable[[], bytes]] | None = None,
    *,
    run: Callable[[], str | None] = lambda: None,
    port_key: str = "port",
) -> Iterator[Address]:
    """Serve `registry` at `/metrics` and each of `pages` (path → JSON) while the context lasts.

    Once `run` gives a name, the metrics are at its `run_path`, too. Listens at `metrics.host` and the first free of
    `metrics.port_tries` ports from the one that the key `metrics.<port_key>` has; 0 is any free one. Raises
    RequestError when nothing can listen there.
    """
    server = _listen(settings, port_key)
    server.set_app(_application(registry, run, pages or {}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield Address(settings.host, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listen(settings: MetricsSettings, port_key: str) -> _Server:
    host, first = settings.host.strip("[]"), getattr(settings, port_key)
    last = first + settings.port_tries - 1 if first else 0
    for port in range(first, last + 1):
        try:
            family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            return type("_Server", (_Server,), {"address_family": family})((host, port), _Handler)
        except (OSError, OverflowError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE and port < last:
                continue
            where = Address(host, first)
            ports = f" to {last}" if last > first else ""
            keys = f"metrics.host, metrics.{port_key} or metrics.port_tries"
            raise RequestError(
                f"metrics cannot be served at {where}{ports} ({error}); choose another {keys}"
            ) from error
    raise AssertionError("port_tries is at least 1")  # pragma: no cover


def _application(
    registry: CollectorRegistry, run: Callable[[], str | None], pages: Mapping[str, Callable[[], bytes]]
) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics" or ((name := run()) is not None and path == run_path(name)):
            return metrics(environ, start_response)
        if path not in pages:
            status, kind, body = "404 Not Found", "text/plain; charset=utf-8", b"There is no such page.\n"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, kind, body = "405 Method Not Allowed", "text/plain; charset=utf-8", b"Only GET is answered.\n"
        else:
            status, kind, body = "200 OK", "application/json", pages[path]()
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return answer
