"""A run as it is now, from what its driver and its nodes tell Prometheus.

Works on: the driver's `/metrics` and `/discovery`, and the exporters that the latter names. Knows nothing about how a
frame is shown, and asks neither Ray nor the store; `jobs.status` tells from the store how a run that is over ended.
"""

import json
import math
import re
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException, IncompleteRead

from prometheus_client.parser import text_string_to_metric_families

from cluster.errors import RequestError
from jobs.progress import Pace

_AT_ONCE = 16  # nodes asked at the same time
_ANSWERS = ("ok", "not_found", "already_exists")  # the last two are how a run asks what is there
_SECONDS = 5.0  # an exporter measures for some milliseconds; one that takes longer is as good as gone
_ADDRESS = re.compile(r"(?:http://)?(\[[0-9a-fA-F:]+\]|[^/:\s]+):(\d+)(?:/\S*)?")
# As the driver prints it when it begins, into its job's log for instance.
_PRINTED = re.compile(r"^metrics: (http://\S+)/metrics$", re.MULTILINE)

_Samples = dict[str, list[tuple[dict[str, str], float]]]  # labels and value, by name


@dataclass(frozen=True, slots=True)
class Stage:
    """Times of one stage since the driver began, in seconds; `p95` is estimated from the histogram's buckets."""

    images: int
    mean: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: `busy` from 0 to 1, None where it does not tell; memory in bytes."""

    index: str
    busy: float | None
    memory_used: float
    memory_total: float


@dataclass(frozen=True, slots=True)
class Actors:
    """A node's actors of one class, of all runs together: how many, and their resident memory in bytes."""

    count: int
    resident: float


@dataclass(frozen=True, slots=True)
class Node:
    """A machine: `cpu` is the busy share of its CPUs, 0 to 1; memory in bytes. `answers` is False where its exporter
    did not, and then nothing else is known."""

    name: str
    answers: bool = True
    cpu: float = 0.0
    memory_used: float = 0.0
    memory_total: float = 0.0
    gpus: tuple[Gpu, ...] = ()
    actors: dict[str, Actors] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """A run at one moment. Counts of images are those of committed rows, `planned` is how many are known so far;
    `rate` is in images a second, `at` and `started` in seconds since 1970."""

    at: float
    run_id: str
    output: str
    code_version: str
    resolution: int
    format: str
    started: float
    ok: int
    failed: int
    carried: int
    planned: int
    shards: int
    shards_planned: int
    in_flight: int
    rate: float | None
    seconds_left: float | None
    queues: dict[str, int]
    stages: dict[str, Stage]
    points: int
    actors: dict[str, int]
    restarts: dict[str, int]
    store_requests: int
    store_errors: int
    store_retries: int
    bytes_received: int
    bytes_sent: int
    succeeded: bool
    nodes: tuple[Node, ...]

    @property
    def done(self) -> int:
        """Images whose row is committed."""
        return self.ok + self.failed + self.carried


class Gone(Exception):  # noqa: N818
    """Nobody answers where the driver was."""


class Watch:
    """Looks at one run again and again."""

    def __init__(self, address: str) -> None:
        """`address` is what the driver prints. Raises RequestError for what cannot be one."""
        found = _ADDRESS.fullmatch(address)
        if not found:
            raise RequestError(f"{address!r} is not the HOST:PORT or http://HOST:PORT/metrics that a driver prints.")
        self.base = f"http://{found[1]}:{found[2]}"
        self._pace: Pace | None = None

    def look(self) -> Frame | None:
        """The run now; None while the driver has not taken it up. Raises Gone when nobody answers there, RequestError
        when it is somebody else."""
        now = time.time()
        try:
            seen = _samples(_get(f"{self.base}/metrics"))
            targets = json.loads(_get(f"{self.base}/discovery"))
        except urllib.error.HTTPError as error:
            raise _not_a_driver(self.base) from error
        except (OSError, IncompleteRead) as error:  # it may go in the middle of an answer
            raise Gone(str(getattr(error, "reason", error))) from error
        except (ValueError, HTTPException) as error:
            raise _not_a_driver(self.base) from error
        if "isofleet_images_total" not in seen:
            raise _not_a_driver(self.base)
        if not seen.get("isofleet_run_info"):
            return None
        addresses = [
            (group["labels"]["node"], f"http://{target}{group['labels']['__metrics_path__']}")
            for group in targets
            if group["labels"]["role"] == "node"
            for target in group["targets"]
        ]
        with ThreadPoolExecutor(max(1, min(_AT_ONCE, len(addresses)))) as pool:
            nodes = tuple(pool.map(lambda one: _node(*one), addresses))
        return self._frame(now, seen, nodes)

    def _frame(self, now: float, seen: _Samples, nodes: tuple[Node, ...]) -> Frame:
        info, _ = seen["isofleet_run_info"][0]
        images = _by(seen, "isofleet_images_total", "outcome")
        stages = {name: _stage(seen, name) for name in _by(seen, "isofleet_stage_seconds_count", "stage")}
        started = _sum(seen, "isofleet_run_started_timestamp_seconds")
        planned, done = _sum(seen, "isofleet_images_planned"), sum(images.values())
        rate = self._rate(now, started, stages["upload"].images)
        traffic = _by(seen, "isofleet_store_bytes_total", "direction")
        outcomes = _by(seen, "isofleet_store_requests_total", "outcome")
        return Frame(
            at=now,
            run_id=info["run_id"],
            output=info["output"],
            code_version=info["code_version"],
            resolution=int(info["resolution"]),
            format=info["format"],
            started=started,
            ok=int(images["ok"]),
            failed=int(images["failed"]),
            carried=int(images["carried"]),
            planned=int(planned),
            shards=int(_sum(seen, "isofleet_shards_committed_total")),
            shards_planned=int(_sum(seen, "isofleet_shards_planned")),
            in_flight=int(_sum(seen, "isofleet_images_in_flight")),
            rate=rate,
            seconds_left=(planned - done) / rate if rate else None,
            queues=_whole(_by(seen, "isofleet_queue_depth", "queue")),
            stages=stages,
            points=int(_sum(seen, "isofleet_decoder_points_total")),
            actors=_whole(_by(seen, "isofleet_actors", "pool")),
            restarts={why: n for why, n in _whole(_by(seen, "isofleet_actor_restarts_total", "reason")).items() if n},
            store_requests=int(sum(outcomes.values())),
            store_errors=int(sum(count for outcome, count in outcomes.items() if outcome not in _ANSWERS)),
            store_retries=int(_sum(seen, "isofleet_store_retries_total")),
            bytes_received=int(traffic["received"]),
            bytes_sent=int(traffic["sent"]),
            succeeded=_sum(seen, "isofleet_last_success_timestamp_seconds") > 0,
            nodes=nodes,
        )

    def _rate(self, now: float, started: float, made: int) -> float | None:
        """Meshes a second over the last minute; at the first look, since the driver began."""
        if self._pace is None:
            self._pace = Pace()
            self._pace.see(now, made)
            return made / (now - started) if made and now > started else None
        return self._pace.see(now, made)


def printed_address(log: str) -> str | None:
    """The address that the last driver in a job's log printed."""
    found = _PRINTED.findall(log)
    return found[-1] if found else None


def _not_a_driver(base: str) -> RequestError:
    return RequestError(f"what answers at {base} is no driver; give the address that one prints when it begins.")


def _get(url: str) -> str:
    request = urllib.request.Request(url, headers={"Accept": "text/plain"})
    # No proxy of the environment: a driver is on this machine or this network.
    with _OPENER.open(request, timeout=_SECONDS) as answer:
        return str(answer.read().decode())


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _samples(text: str) -> _Samples:
    found: _Samples = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append((sample.labels, sample.value))
    return found


def _node(name: str, url: str) -> Node:
    try:
        seen = _samples(_get(url))
    except (OSError, HTTPException, ValueError):
        return Node(name, answers=False)
    used, total = (_by(seen, f"isofleet_node_gpu_memory_{what}_bytes", "gpu") for what in ("used", "total"))
    busy = _by(seen, "isofleet_node_gpu_utilization_ratio", "gpu")
    resident = _by(seen, "isofleet_actor_resident_memory_bytes", "actor")
    return Node(
        name=name,
        cpu=_sum(seen, "isofleet_node_cpu_utilization_ratio"),
        memory_used=_sum(seen, "isofleet_node_memory_used_bytes"),
        memory_total=_sum(seen, "isofleet_node_memory_total_bytes"),
        gpus=tuple(Gpu(index, busy.get(index), used[index], total[index]) for index in sorted(total, key=int)),
        actors={
            actor: Actors(int(count), resident[actor])
            for actor, count in _by(seen, "isofleet_node_actors", "actor").items()
        },
    )


def _stage(seen: _Samples, stage: str) -> Stage:
    def of(suffix: str) -> float:
        return sum(value for labels, value in seen[f"isofleet_stage_seconds_{suffix}"] if labels["stage"] == stage)

    count = int(of("count"))
    if not count:
        return Stage(0, None, None)
    buckets = sorted(
        (float(labels["le"]), value)
        for labels, value in seen["isofleet_stage_seconds_bucket"]
        if labels["stage"] == stage
    )
    return Stage(count, of("sum") / count, quantile(buckets, 0.95))


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """As Prometheus's histogram_quantile has it: linear within a bucket; the last bound where it lies beyond.

    `buckets` are upper bounds and cumulative counts, sorted.
    """
    rank = share * buckets[-1][1]
    below, before = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank and count > before:
            return below if math.isinf(bound) else below + (bound - below) * (rank - before) / (count - before)
        below, before = bound, count
    return below


def _by(seen: _Samples, name: str, label: str) -> dict[str, float]:
    """The values of a series added up by one of its labels."""
    totals: dict[str, float] = defaultdict(float)
    for labels, value in seen.get(name, ()):
        totals[labels[label]] += value
    return totals


def _sum(seen: _Samples, name: str) -> float:
    return sum(value for _, value in seen.get(name, ()))


def _whole(values: dict[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in values.items()}
