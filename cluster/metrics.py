"""What a run's driver tells Prometheus.

Works on: counts, seconds and bytes. Knows nothing about how they came about, nor about other processes: actors
return what they counted, and the driver counts what it commits, so that these numbers equal the manifest's.
Names follow Prometheus: base units, `_total` for counters, and no label whose values grow with the catalog.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server

from cluster.errors import RequestError

# Seconds. A fetch or a mesh takes milliseconds; an exact 1024³ field on a CPU takes minutes.
STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Requests(Protocol):
    """`count` store requests of one operation with one outcome, and the bytes that they moved."""

    @property
    def operation(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def received(self) -> int: ...
    @property
    def sent(self) -> int: ...


class DriverMetrics:
    """One run's series, in a registry of their own. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._images = Counter(
            "isofleet_images_total", "Images whose manifest row is committed.", ["outcome"], registry=self.registry
        )
        self._stages = Histogram(
            "isofleet_stage_seconds",
            "Time that one image spent in a stage.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self._points = Counter(
            "isofleet_decoder_points_total", "Points that the decoder evaluated.", registry=self.registry
        )
        self._in_flight = Gauge(
            "isofleet_images_in_flight", "Images taken up that have no row yet.", registry=self.registry
        )
        self._vanished = Gauge(
            "isofleet_images_vanished",
            "Images of the previous outputs that are no longer in the catalog.",
            registry=self.registry,
        )
        self._shards = Counter(
            "isofleet_shards_committed_total", "Shards committed by this driver.", registry=self.registry
        )
        self._restarts = Counter(
            "isofleet_actor_restarts_total", "Actors replaced after a death.", ["reason"], registry=self.registry
        )
        self._requests = Counter(
            "isofleet_store_requests_total",
            "Requests to the object store.",
            ["operation", "outcome"],
            registry=self.registry,
        )
        self._bytes = Counter(
            "isofleet_store_bytes_total", "Bytes moved from and to the store.", ["direction"], registry=self.registry
        )
        self._last_success = Gauge(
            "isofleet_last_success_timestamp_seconds",
            "Unix time at which a run last ended within its error budget; 0 if none has.",
            registry=self.registry,
        )
        # Present from the start at 0: a rate over a series that appears with its first event misses that event.
        for outcome in ("ok", "failed", "carried"):
            self._images.labels(outcome)
        for direction in ("received", "sent"):
            self._bytes.labels(direction)

    def image(self, outcome: str) -> None:
        """A row was committed: `ok`, `failed`, or `carried` from an earlier output, which is not counted as `ok`."""
        self._images.labels(outcome).inc()

    def stage(self, stage: str, seconds: float) -> None:
        """An image went through `fetch`, `encode`, `decode`, `mesh` or `upload`."""
        self._stages.labels(stage).observe(seconds)

    def points(self, count: int) -> None:
        """The decoder evaluated so many points."""
        self._points.inc(count)

    def in_flight(self, images: int) -> None:
        """So many images have been taken up and have no row yet."""
        self._in_flight.set(images)

    def vanished(self, images: int) -> None:
        """So many images of the previous outputs are no longer in the catalog."""
        self._vanished.set(images)

    def shard_committed(self) -> None:
        """This driver committed a shard."""
        self._shards.inc()

    def actor_restarted(self, reason: str) -> None:
        """An actor died for one of the pool's reasons and was replaced."""
        self._restarts.labels(reason).inc()

    def store_request(self, operation: str, outcome: str, received: int, sent: int) -> None:
        """One request of the driver's own: the observer that `cluster.store.Stores` takes. Sizes in bytes."""
        self._count(operation, outcome, 1, received, sent)

    def store_requests(self, requests: Iterable[Requests]) -> None:
        """What an actor's requests added up to."""
        for of in requests:
            self._count(of.operation, of.outcome, of.count, of.received, of.sent)

    def _count(self, operation: str, outcome: str, count: int, received: int, sent: int) -> None:
        self._requests.labels(operation, outcome).inc(count)
        self._bytes.labels("received").inc(received)
        self._bytes.labels("sent").inc(sent)

    def succeeded(self) -> None:
        """The run ended within its error budget, now."""
        self._last_success.set_to_current_time()

    def render(self) -> str:
        """All series in Prometheus's text format."""
        return generate_latest(self.registry).decode()

    @contextmanager
    def serve(self, host: str, port: int) -> Iterator[str]:
        """Serve the series over HTTP and give the address to scrape. Port 0 is any free one.

        Raises RequestError when nothing can listen there.
        """
        try:
            server, thread = start_http_server(port, host, self.registry)
        except (OSError, OverflowError) as error:
            raise RequestError(
                f"metrics cannot be served at {host}:{port} ({error}); choose another metrics.host or metrics.port"
            ) from error
        name = f"[{host}]" if ":" in host else host
        try:
            yield f"http://{name}:{server.server_port}/metrics"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
