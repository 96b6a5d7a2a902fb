"""Training on several workers of a Ray cluster, or on several processors or GPUs of this machine: Ray Train around the
core.

Works on: plans, and where checkpoints lie. Knows nothing about losses, or how a bundle is made of what was learnt.

Every worker takes its part of each batch, and together they train as one would. A worker that is lost ends the others'
step; Ray starts them anew, and they go on from the last checkpoint.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, get_context
from ray.train.backend import Backend
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.util.queue import Empty, Queue
from torch import distributed

from cluster.config import Config
from cluster.errors import RequestError, RunError
from cluster.session import session
from cluster.store import Stores
from jobs.training.checkpoints import Checkpoints
from jobs.training.core import Report, Training
from jobs.training.examples import examples
from jobs.training.plan import Plan

_FAILURES = 3  # of workers, in a training; each costs the steps since the last checkpoint
_PATIENCE = timedelta(minutes=30)  # of workers with each other: one validates, or makes an epoch's objects


def train(plan: Plan, config: Config, checkpoints: str, workers: int, gpu: bool | None, report: Report) -> None:
    """Train with so many workers, a GPU each or none; by default GPUs if there are any. What came of it is the last
    checkpoint at `checkpoints`, which all nodes must reach.

    Raises RequestError, RunError where training ended before it was done.
    """
    if plan.schedule.batch % workers:
        raise RequestError(f"--workers {workers}: schedule.batch, {plan.schedule.batch}, must be a multiple of it.")
    with session(config.ray):
        nodes = [node for node in ray.nodes() if node["Alive"]]
        use_gpu = ray.cluster_resources().get("GPU", 0) > 0 if gpu is None else gpu
        cpus = _cpus(nodes, workers)
        _require(workers, cpus, use_gpu)
        with tempfile.TemporaryDirectory() as scratch, _lines(report) as lines:
            # On one machine nothing listens beyond loopback; PyTorch's own rendezvous listens on every interface.
            alone = len(nodes) == 1
            trainer = TorchTrainer(
                _work,
                train_loop_config={
                    "plan": plan.model_dump(mode="json"), "store": config.store, "checkpoints": checkpoints,
                    "cpus": cpus, "lines": lines,
                },
                torch_config=(_OneMachine if alone else TorchConfig)(timeout_s=int(_PATIENCE.total_seconds())),
                scaling_config=ScalingConfig(
                    num_workers=workers, use_gpu=use_gpu, resources_per_worker=_each(cpus, use_gpu)
                ),
                run_config=RunConfig(  # type: ignore[call-arg]  # its type is that of Ray Train's first version
                    storage_path=scratch,
                    failure_config=FailureConfig(max_failures=_FAILURES),
                    worker_runtime_env={"env_vars": _LOOPBACK if alone else {}},
                ),
            )  # fmt: skip
            try:
                trainer.fit()
            except SystemExit:  # how Ray Train takes Ctrl-C, once it has ended the workers
                raise KeyboardInterrupt from None
            except (TrainingFailedError, RayError) as error:
                raise RunError(f"training ended on its workers: {_cause(error)}; the same command goes on.") from error


def _work(job: dict[str, Any]) -> None:
    """What each worker does."""
    cores, neighbours = len(os.sched_getaffinity(0)), get_context().get_local_world_size()
    torch.set_num_threads(max(1, min(job["cpus"], cores // neighbours)))
    plan, stores, device = Plan.model_validate(job["plan"]), Stores(job["store"]), str(get_device())
    source, held_out = examples(plan, stores, device, 1 / neighbours)
    kept = Checkpoints(job["checkpoints"], stores, plan.schedule.keep)
    Training(plan, source, held_out, device=device, checkpoints=kept, report=job["lines"].put).run()


def _cpus(nodes: list[dict[str, Any]], workers: int) -> int:
    """For each worker: as many as its share of the smallest node has."""
    smallest = min(node["Resources"].get("CPU", 0) for node in nodes)
    return max(1, int(smallest // -(-workers // len(nodes))))


def _each(cpus: int, use_gpu: bool) -> dict[str, float]:
    return {"CPU": float(cpus)} | ({"GPU": 1.0} if use_gpu else {})


def _require(workers: int, cpus: int, use_gpu: bool) -> None:
    """Raises RequestError where Ray would wait, for ever and silently."""
    free = ray.available_resources()
    for kind, amount in _each(cpus, use_gpu).items():
        if workers * amount > free.get(kind, 0):
            raise RequestError(
                f"--workers {workers}: need {workers * amount:g} {kind}s, and {free.get(kind, 0):g} are free; ask for "
                "fewer, or wait for what else runs there."
            )


@contextmanager
def _lines(report: Report) -> Iterator[Queue]:
    """A queue whose lines are reported here."""
    queue = Queue(actor_options={"num_cpus": 0})
    ended = threading.Event()

    def drain() -> None:
        while True:
            try:
                report(queue.get(timeout=0.5))
            except Empty:
                if ended.is_set():
                    return
            except RayError:
                return

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        yield queue
    finally:
        ended.set()
        reader.join(10)
        queue.shutdown(force=True)


def _cause(error: BaseException) -> str:
    """The last line of what a worker says went wrong."""
    failures = getattr(error, "worker_failures", None)
    text = str(next(iter(failures.values()))) if failures else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[-1]


_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


class _OneMachine(TorchConfig):
    """Workers of one machine meet in a file."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _ByFile


class _ByFile(Backend):
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        where = Path(tempfile.mkdtemp(prefix="isofleet-training-")) / "meeting"
        backend = backend_config.backend or "gloo"
        ray.get(
            [
                worker_group.execute_single_async(rank, _meet, backend, str(where), rank, len(worker_group))
                for rank in range(len(worker_group))
            ]
        )


def _meet(backend: str, where: str, rank: int, workers: int) -> None:
    distributed.init_process_group(
        backend, init_method=f"file://{where}", rank=rank, world_size=workers, timeout=_PATIENCE
    )
