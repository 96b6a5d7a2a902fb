"""The training loop: stage after stage, step after step, with validation and checkpoints on the way.

Works on: a plan, collections and plain PyTorch, on one device; where `torch.distributed` is up, as one of its workers.
Knows nothing about Ray, bundles, or how examples are made.

Deterministic for a plan, a device and a number of threads: each batch is a function of seed, stage and step, and a
checkpoint holds all else, so that a training that was interrupted goes on to the same losses. A limit in minutes gives
this up.
"""

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from cluster import memory
from cluster.errors import RunError
from jobs.training import validation
from jobs.training.batches import Batches, Part, Source, on_device
from jobs.training.checkpoints import Checkpoint, Checkpoints
from jobs.training.collection import Collection
from jobs.training.optimizers import optimizers_of, restore
from jobs.training.parallel import synchronise
from jobs.training.plan import Plan
from jobs.training.stages import Networks, Stage, Task, parameters, stages

Report = Callable[[str], None]

_VALIDATION_POINTS = 2048  # of each object, on the way; all of them at the end
_REPORTS = 100  # steps between two lines of progress, or a tenth of a stage


@dataclass
class Progress:
    """Where training stands, beside the tensors: what a checkpoint's state is."""

    stage: int = 0
    step: int = 0  # done, of the stage
    steps: int = 0  # done in all
    seconds: float = 0.0  # of training so far
    stage_seconds: float = 0.0  # at the stage's beginning
    best: float | None = None  # validation IoU of the stage
    waited: int = 0  # validations without a better one
    loss: float = 0.0  # summed over the steps since the last line
    since: int = 0  # those steps
    outcome: dict[str, Any] | None = None  # of a training that is done


@dataclass(frozen=True)
class Outcome:
    """What training came to: networks for the bundle, validation metrics, and the occupancy at the surface."""

    networks: Networks
    metrics: dict[str, float]
    threshold: float


@dataclass
class _Learning:
    """A stage under way. `average` are the networks with the mean of the last steps' weights: what is validated, and
    what the stage leaves behind, at the step where it was best.
    """

    stage: Stage
    task: Task
    average: Networks
    averaged: Task
    optimizers: list[torch.optim.Optimizer]
    limit: float | None  # seconds that the stage may take
    loss: Tensor  # summed since the last line
    best: dict[str, Tensor] = field(default_factory=dict)


class Training:
    """One training, or one worker's share of it."""

    def __init__(
        self,
        plan: Plan,
        source: Source,
        held_out: Collection,
        *,
        device: str,
        checkpoints: Checkpoints,
        report: Report,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`source` gives the collection of an epoch. `report` receives a line of progress now and then; `stopped` is
        asked after each step whether to save a checkpoint and end.
        """
        self.part = Part()
        if distributed.is_available() and distributed.is_initialized():
            self.part = Part(distributed.get_rank(), distributed.get_world_size())
        self.plan, self.device = plan, device
        self._checkpoints, self._stopped = checkpoints, stopped
        self._first = self.part.rank == 0
        self._report = report if self._first else lambda line: None
        self._batches = Batches(lambda epoch: on_device(source(epoch), device), plan, device, self.part)
        self._held_out = on_device(held_out, device)
        self._stages = stages(plan.schedule)
        self._record: list[dict[str, Any]] = []
        self.at = Progress()

    def run(self) -> Outcome:
        """Train, from the last checkpoint if there is one. Raises RunError where it was told to stop, StoreError."""
        memory.keep_freed()
        torch.manual_seed(self.plan.schedule.seed)
        networks = Networks(self.plan).to(self.device)
        tensors: dict[str, Tensor] = {}
        if (found := self._checkpoints.latest()) is not None:
            self.at, tensors = Progress(**found.state["progress"]), found.tensors
            networks.load_state_dict(_under("networks.", tensors))
            self._record = self._checkpoints.record()
            self._report(f"going on after {self.at.steps} steps, from {self._checkpoints.uri}")
        if self.part.workers > 1:
            synchronise(networks)
        count = len(self._batches.collection)
        self._report(f"{count} objects to learn from, {len(self._held_out)} to validate with, on {self._where()}")
        self._began = time.monotonic() - self.at.seconds
        while self.at.stage < len(self._stages):
            self._learn(self._begin(networks, tensors), networks)
            self._save({"networks.": networks})
            tensors = {}
        if self.at.outcome is None:
            self.at.outcome = self._finish(networks)
            self._save({"networks.": networks})
        return Outcome(networks.eval(), **self.at.outcome)

    def _begin(self, networks: Networks, tensors: dict[str, Tensor]) -> _Learning:
        """A stage from its first step, or from where `tensors` of a checkpoint say."""
        stage, plan = self._stages[self.at.stage], self.plan.schedule
        average = copy.deepcopy(networks)
        task, averaged = stage.task(networks), stage.task(average)
        networks.requires_grad_(False)
        for network in task.learns:
            network.requires_grad_(True)
        optimizers = optimizers_of(task, plan)
        loss = torch.tensor(self.at.loss, device=self.device)
        learning = _Learning(stage, task, average, averaged, optimizers, self._limit(), loss)
        if self.at.step:
            average.load_state_dict(_under("average.", tensors))
            learning.best = _under("best.", tensors)
            for place, optimizer in enumerate(optimizers):
                restore(optimizer, _under(f"optimizer.{place}.", tensors))
        return learning

    def _learn(self, learning: _Learning, networks: Networks) -> None:
        """A stage to its end; `networks` are then its best."""
        stage, plan, at = learning.stage, self.plan.schedule, self.at
        model: nn.Module = learning.task
        if self.part.workers > 1:
            model = DistributedDataParallel(learning.task, broadcast_buffers=False)
        for network in learning.task.learns:
            network.train()
        every = max(1, min(_REPORTS, stage.steps // 10))
        started = (time.monotonic(), at.step)
        share = self._share(learning)
        with _examples(learning.task, self._batches, at.stage, at.step, self.device) as examples:
            while share < 1:
                for optimizer in learning.optimizers:
                    for group in optimizer.param_groups:
                        group["lr"] = stage.rate * self._factor(stage, share) * group["scale"]
                example = next(examples)
                with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=has_bfloat16(self.device)):
                    loss = model(*example)
                learning.task.zero_grad()
                loss.backward()
                if plan.clip:
                    nn.utils.clip_grad_norm_(parameters(learning.task), plan.clip)
                for optimizer in learning.optimizers:
                    optimizer.step()
                learning.loss += loss.detach()
                at.step, at.steps, at.since = at.step + 1, at.steps + 1, at.since + 1
                _follow(learning.average, networks, plan.average, at.step)
                share = self._share(learning)
                if at.since >= every or share >= 1:
                    self._progress(learning, share, started)
                if at.step % plan.validate_every == 0 or share >= 1:
                    share = max(share, self._validate(learning))
                stopped = self._stopped()
                if share < 1 and (stopped or at.step % plan.checkpoint_every == 0):
                    self._save({"networks.": networks, "average.": learning.average}, learning)
                    if stopped:
                        raise RunError(f"stopped after {at.steps} steps; {self._checkpoints.uri} has where it stands.")
        networks.load_state_dict(learning.best)
        networks.eval()
        at.stage, at.step, at.best, at.waited = at.stage + 1, 0, None, 0
        at.stage_seconds = time.monotonic() - self._began

    def _where(self) -> str:
        kind = torch.device(self.device).type
        return kind if self.part.workers == 1 else f"{self.part.workers} workers, {kind}"

    def _limit(self) -> float | None:
        """Seconds for the stage: of what is left of the time, its part of what is left of the steps."""
        if self.plan.schedule.max_minutes is None:
            return None
        left = max(0.0, 60 * self.plan.schedule.max_minutes - self.at.stage_seconds)
        steps = [stage.steps for stage in self._stages[self.at.stage :]]
        return left * steps[0] / sum(steps)

    def _share(self, learning: _Learning) -> float:
        """How much of the stage is done, by steps or, where that is more, by time: 1 is all."""
        share = self.at.step / learning.stage.steps
        if learning.limit is None:
            return share
        passed = time.monotonic() - self._began - self.at.stage_seconds
        # At least one step: a stage that learnt nothing has nothing to leave behind.
        share = max(share, min(1.0, passed / learning.limit) if learning.limit and self.at.step else 0.0)
        return self._agreed(share)

    def _factor(self, stage: Stage, share: float) -> float:
        """Of a stage's rate."""
        warm_up = min(self.plan.schedule.warm_up, stage.steps // 10)
        rise = (self.at.step + 1) / (warm_up + 1)
        return min(rise, 0.5 * (1 + math.cos(math.pi * share)) if self.plan.schedule.decay == "cosine" else 1.0)

    def _agreed(self, value: float) -> float:
        """The first worker's, for all."""
        if self.part.workers == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return float(shared)

    def _mean(self, value: Tensor) -> float:
        """Over the workers, of each one's mean over its part of the batch."""
        if self.part.workers == 1:
            return float(value)
        total = value.clone()
        distributed.all_reduce(total)
        return float(total) / self.part.workers

    def _progress(self, learning: _Learning, share: float, started: tuple[float, int]) -> None:
        """A line of progress, and its record."""
        stage, at = learning.stage, self.at
        loss = self._mean(learning.loss) / at.since
        learning.loss.zero_()
        at.since = 0
        seconds = time.monotonic() - started[0]
        speed = (at.step - started[1]) / seconds
        left = (stage.steps - at.step) / speed
        if learning.limit is not None:
            left = min(left, learning.limit - (time.monotonic() - self._began - at.stage_seconds))
        if not math.isfinite(loss):
            raise RunError(f"{stage.name}: the loss is {loss} after {at.step} steps; try a smaller rate.")
        self._record.append({"stage": stage.name, "step": at.step, "loss": round(loss, 6)})
        ahead = f", {_duration(left)} left of this stage" if share < 1 else ""
        self._report(f"{stage.name}: step {at.step} of {stage.steps}, loss {loss:.4f}, {speed:.2f} steps/s{ahead}")

    def _validate(self, learning: _Learning) -> float:
        """Compare the averaged weights with the stage's best; 1 if the stage is to end, else 0."""
        at = self.at
        if self._first:
            field = self._fields(learning.averaged, _VALIDATION_POINTS)
            score = validation.score(field, self._held_out, learning.averaged.decoder, self.plan.threshold)
        score = self._agreed(score if self._first else 0.0)
        self._record.append({"stage": learning.stage.name, "step": at.step, "iou": round(score, 6)})
        self._report(f"{learning.stage.name}: step {at.step}, validation IoU {score:.4f}")
        if at.best is None or score >= at.best:
            learning.best = {name: value.clone() for name, value in learning.average.state_dict().items()}
        if at.best is None or score > at.best:
            at.best, at.waited = score, 0
            return 0.0
        at.waited += 1
        if at.waited != self.plan.schedule.patience:
            return 0.0
        self._report(f"{learning.stage.name}: ends early, no better IoU in {at.waited} validations")
        return 1.0

    @torch.no_grad()
    def _fields(self, task: Task, points: int) -> Tensor:
        task.eval()
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=has_bfloat16(self.device)):
            return validation.fields(
                task.decoder,
                self._held_out,
                lambda rows: task.latents(self._held_out, rows, self.device),
                self.device,
                points,
            )

    def _finish(self, networks: Networks) -> dict[str, Any]:
        """Metrics and threshold of what was learnt, in float32 as a bundle's users have it."""
        networks.eval()
        task = self._stages[-1].task(networks)
        field = validation.fields(
            task.decoder, self._held_out, lambda rows: task.latents(self._held_out, rows, self.device), self.device
        )
        threshold = self.plan.threshold
        if threshold == "auto":
            threshold = validation.choose_threshold(field, self._held_out, task.decoder)
            self._report(f"the surface lies at an occupancy of {threshold}")
        scores = validation.ious(field, self._held_out, task.decoder, threshold)
        return {"metrics": validation.by_category(scores, self._held_out), "threshold": threshold}

    def _save(self, networks: dict[str, Networks], learning: _Learning | None = None) -> None:
        self.at.seconds = time.monotonic() - self._began
        self.at.loss = 0.0 if learning is None else self._mean(learning.loss)
        if not self._first:
            return
        tensors = {prefix + name: value for prefix, one in networks.items() for name, value in one.state_dict().items()}
        if learning is not None:
            tensors |= {f"best.{name}": value for name, value in learning.best.items()}
            for place, optimizer in enumerate(learning.optimizers):
                for number, state in optimizer.state_dict()["state"].items():
                    tensors |= {f"optimizer.{place}.{number}.{name}": value for name, value in state.items()}
        state = {"plan": self.plan.model_dump(mode="json"), "progress": asdict(self.at)}
        self._checkpoints.save(self.at.steps, Checkpoint(state, tensors), self._record)


def has_bfloat16(device: str) -> bool:
    """Whether bfloat16 is native: elsewhere it is emulated, and slower than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextmanager
def _examples(
    task: Task, batches: Batches, stage: int, step: int, device: str
) -> Iterator[Iterator[tuple[Tensor, ...]]]:
    """What `task` takes for each step from `step` on; for a GPU made by a thread while the step before is computed."""

    def make(number: int) -> tuple[Tensor, ...]:
        return task.examples(batches, batches.draw(stage, number))

    if torch.device(device).type == "cpu":
        yield (make(number) for number in itertools.count(step))
        return
    with ThreadPoolExecutor(1) as thread:

        def ahead() -> Iterator[tuple[Tensor, ...]]:
            following = thread.submit(make, step)
            for number in itertools.count(step + 1):
                made = following.result()
                following = thread.submit(make, number)
                yield made

        yield ahead()


@torch.no_grad()
def _follow(average: Networks, networks: Networks, decay: float, step: int) -> None:
    """Move the averages a step on; at first over fewer steps, so that the initial weights are soon forgotten."""
    share = max(1 - decay, 9 / (step + 9))
    ours, theirs = average.state_dict(), networks.state_dict()
    for name, value in theirs.items():
        if value.is_floating_point():
            ours[name].lerp_(value, share)
        else:
            ours[name].copy_(value)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(0.0, seconds):.0f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
