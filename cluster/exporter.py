"""What a Ray node's machine does for a run: one exporter on each node, and the driver's watch over them.

Works on: Ray's list of nodes, NVML (GPUs) and psutil (CPU, memory, processes). Knows nothing about what the actors
do. An exporter is a convenience: none that dies or cannot start ever harms the run.
"""

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import psutil
import pynvml
import ray
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster import endpoint
from cluster.config import MetricsSettings
from cluster.discovery import Target, Targets, node_ip
from cluster.endpoint import Address
from cluster.metrics import Metrics, Series

_Values: TypeAlias = dict[tuple[str, ...], float]  # of one series, by the values of its labels

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0  # between two looks at the nodes
_SOON_SECONDS = 1.0  # the same while an exporter is starting
_RETRY_SECONDS = 60.0  # until an exporter that could not start is tried again
_LEAVE_SECONDS = 5.0  # a look that hangs, because the cluster has gone, does not hold up the run's end for longer
_RAYLET = "RAY_RAYLET_PID"  # in every worker's environment: the process that started it
_TITLE = re.compile(r"ray::(\w+)")  # Ray's titles: `ray::Reconstructor` idle, `ray::Reconstructor.reconstruct` busy


class NodeMetrics(Metrics, Collector):
    """The series of one Ray node, measured anew at each scrape.

    `actors` are the names of the classes whose processes are counted: those that this process's own raylet started.
    """

    def __init__(self, actors: Iterable[str]) -> None:
        super().__init__()
        self._classes = tuple(actors)
        gpu = "the GPU's index in NVML"
        actor = "the actor's class: `Reconstructor` or `Mesher`"
        self._gpu_used = self._measured("isofleet_node_gpu_memory_used_bytes", "GPU memory in use.", gpu=gpu)
        self._gpu_total = self._measured("isofleet_node_gpu_memory_total_bytes", "GPU memory there is.", gpu=gpu)
        self._gpu_busy = self._measured(
            "isofleet_node_gpu_utilization_ratio",
            "Share of the last moments (NVML: up to 1 s) in which a kernel ran, 0 to 1.",
            gpu=gpu,
        )
        self._cpu = self._measured(
            "isofleet_node_cpu_utilization_ratio", "Share of the machine's CPUs that was busy since the last scrape."
        )
        self._used = self._measured("isofleet_node_memory_used_bytes", "Memory that is not available to new processes.")
        self._total = self._measured("isofleet_node_memory_total_bytes", "Memory of the machine.")
        self._resident = self._measured(
            "isofleet_actor_resident_memory_bytes",
            "Resident memory of the node's actors of a class, of all runs together.",
            actor=actor,
        )
        self._count = self._measured(
            "isofleet_node_actors", "Actors of a class on the node, of all runs together.", actor=actor
        )
        self._has_gpus = _nvml_starts()
        psutil.cpu_percent()  # the first call only notes where the measurement begins
        self.registry.register(self)

    def _measured(self, name: str, meaning: str, **labels: str) -> Series:
        series = Series(name, "gauge", meaning, labels)
        self.series.append(series)
        return series

    def describe(self) -> list[GaugeMetricFamily]:
        """What `collect` gives, without measuring."""
        return [_family(series, {}) for series in self.series]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All series, as of now."""
        if self._has_gpus:
            yield from self._gpus()
        yield _family(self._cpu, {(): psutil.cpu_percent() / 100})
        memory = psutil.virtual_memory()
        yield _family(self._used, {(): memory.total - memory.available})
        yield _family(self._total, {(): memory.total})
        resident, count = dict.fromkeys(self._classes, 0), dict.fromkeys(self._classes, 0)
        for name, size in _actors():
            if name in count:
                count[name] += 1
                resident[name] += size
        yield _family(self._resident, {(name,): value for name, value in resident.items()})
        yield _family(self._count, {(name,): value for name, value in count.items()})

    def _gpus(self) -> Iterator[GaugeMetricFamily]:
        used: _Values = {}
        total: _Values = {}
        busy: _Values = {}
        with suppress(pynvml.NVMLError):  # the driver has gone since
            for index in range(pynvml.nvmlDeviceGetCount()):
                # A GPU that is split (MIG), or one of a kind that does not tell, lacks some of these.
                with suppress(pynvml.NVMLError):
                    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
                    used[str(index),], total[str(index),] = memory.used, memory.total
                    busy[str(index),] = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        yield _family(self._gpu_used, used)
        yield _family(self._gpu_total, total)
        yield _family(self._gpu_busy, busy)


class NodeExporter:
    """The actor that serves a node's metrics, on that node, to those who watch `run`."""

    def __init__(self, settings: MetricsSettings, run: str | None, actors: tuple[str, ...]) -> None:
        registry = NodeMetrics(actors).registry
        self._serving = endpoint.serve(settings, registry, run=lambda: run, port_key="node_exporter_port")
        self._address = self._serving.__enter__()  # for as long as the process lives

    def address(self) -> Address:
        """Where others reach it."""
        return self._address.advertised(node_ip)

    def live(self) -> None:
        """Never returns: that this call ends is how the driver learns of the actor's death."""
        threading.Event().wait()


@dataclass
class _Exporter:
    """One node's exporter. `address` is None until it has started."""

    node: str
    actor: Any
    starting: ray.ObjectRef
    life: ray.ObjectRef
    address: Address | None = None


class NodeExporters:
    """Keeps one exporter on every node of the cluster, and tells `targets` where they are."""

    def __init__(self, settings: MetricsSettings, targets: Targets, actors: tuple[str, ...]) -> None:
        self._settings = settings
        self._targets = targets
        self._actors = actors
        self._exporters: dict[str, _Exporter] = {}  # by the node's id
        self._not_before: dict[str, float] = {}  # by the node's id, on time.monotonic's clock
        self._said: set[str] = set()
        self._class: Any = ray.remote(NodeExporter)

    def look(self) -> bool:
        """Start and forget exporters as nodes come and go. True while one is starting."""
        nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        for node_id, exporter in list(self._exporters.items()):
            if node_id not in nodes:
                self._forget(node_id)
            elif self._ended(node_id, exporter):
                self._forget(node_id)
                rest = _LOOK_SECONDS if exporter.address else _RETRY_SECONDS
                self._not_before[node_id] = time.monotonic() + rest
        for node_id, node in nodes.items():
            rested = time.monotonic() >= self._not_before.get(node_id, 0.0)
            if node_id not in self._exporters and rested and self._reachable(node):
                self._start(node_id, node)
        return any(exporter.address is None for exporter in self._exporters.values())

    def close(self) -> None:
        """End all exporters."""
        for node_id in list(self._exporters):
            self._forget(node_id)

    def _start(self, node_id: str, node: dict[str, Any]) -> None:
        actor = self._class.options(
            num_cpus=0,
            max_concurrency=2,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        ).remote(self._settings, self._targets.run, self._actors)
        name = self._name(node_id, node)
        self._exporters[node_id] = _Exporter(name, actor, actor.address.remote(), actor.live.remote())
        # A driver that came through Ray Client has a node there, but runs elsewhere.
        if node_id == ray.get_runtime_context().get_node_id() and node["NodeManagerHostname"] == socket.gethostname():
            self._targets.place(name)

    def _ended(self, node_id: str, exporter: _Exporter) -> bool:
        """Whether it is dead; one that has just started becomes a target."""
        refs = [exporter.life] if exporter.address else [exporter.life, exporter.starting]
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        try:
            for ref in ready:
                exporter.address = ray.get(ref)
                self._targets.add(node_id, Target(exporter.address, exporter.node, "node"))
        except RayError as error:
            # The cause of a constructor's failure stands in the last line of a text.
            self._say(f"The exporter of node {exporter.node} ended: {str(error).strip().splitlines()[-1]}")
            return True
        return False

    def _forget(self, node_id: str) -> None:
        self._targets.remove(node_id)
        ray.kill(self._exporters.pop(node_id).actor)

    def _reachable(self, node: dict[str, Any]) -> bool:
        """An exporter that listens on loopback is of use on this machine only."""
        here = self._settings.host not in _LOOPBACK or node["NodeManagerAddress"] in _own_addresses()
        if not here:
            self._say(
                f"Node {node['NodeManagerHostname']} has no exporter, because metrics.host is {self._settings.host}; "
                "0.0.0.0 lets other machines read the metrics"
            )
        return here

    def _name(self, node_id: str, node: dict[str, Any]) -> str:
        """The name given to `ray start --node-name`, else the host's; several of one name are told apart by id."""
        given = node["NodeName"] != node["NodeManagerAddress"]
        name = str(node["NodeName"] if given else node["NodeManagerHostname"])
        taken = any(exporter.node == name for exporter in self._exporters.values())
        return f"{name}-{node_id[:8]}" if taken else name

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            logger.warning("%s.", sentence)


@contextmanager
def exporters(settings: MetricsSettings, targets: Targets | None, actors: tuple[str, ...]) -> Iterator[None]:
    """Keep exporters on the cluster's nodes while the context lasts, if there are `targets` to tell of them."""
    if targets is None or not settings.node_exporters:
        yield
        return
    keeper, end = NodeExporters(settings, targets, actors), threading.Event()

    def keep() -> None:
        seconds = 0.0
        while not end.wait(seconds):
            try:
                seconds = _SOON_SECONDS if keeper.look() else _LOOK_SECONDS
            except Exception as error:  # whatever it is: the run goes on without
                logger.warning("The nodes' exporters could not be looked after: %s: %s", type(error).__name__, error)
                seconds = _LOOK_SECONDS

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(_LEAVE_SECONDS)
        if not thread.is_alive():
            keeper.close()


_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def _own_addresses() -> set[str]:
    return {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}


def _family(series: Series, values: _Values) -> GaugeMetricFamily:
    family = GaugeMetricFamily(series.name, series.meaning, labels=list(series.labels))
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _actors() -> Iterator[tuple[str, int]]:
    """Class and resident bytes of every actor on this node: the processes that this one's raylet started."""
    raylet = os.environ.get(_RAYLET)
    if raylet is None:  # not in a worker
        return
    with suppress(psutil.Error):
        for process in psutil.Process(int(raylet)).children(recursive=True):
            with suppress(psutil.Error):  # it ended meanwhile
                title = _TITLE.match("".join(process.cmdline()[:1]))
                if title:
                    yield title[1], process.memory_info().rss


def _nvml_starts() -> bool:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, so no GPUs to speak of
        return False
    return True
