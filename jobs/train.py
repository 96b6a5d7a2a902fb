"""Training as a command: a plan in, a bundle with its provenance and metrics out.

Works on: plans, checkpoints and bundle folders. Knows nothing about losses or how examples are made.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from cluster.config import Config
from cluster.errors import RequestError, RunError
from cluster.store import Stores
from jobs.run import code_version
from jobs.stop import Stop
from jobs.training.batches import Source
from jobs.training.checkpoints import Checkpoints
from jobs.training.collection import Collection, collect
from jobs.training.core import Outcome, Training
from jobs.training.plan import HELD_OUT, Plan
from workers import weights


def train(
    bundle: Path, plan: Plan, config: Config, report: Callable[[str], None], checkpoints: str | None = None
) -> str:
    """Train as the plan says, write the bundle and return its digest.

    Where `checkpoints` (a folder or an `s3://` prefix; else `BUNDLE.checkpoints`) has some of this plan, it goes on
    from the last. Raises RequestError; RunError where a signal ended it.
    """
    if bundle.exists() and any(bundle.iterdir()):
        raise RequestError(f"{bundle}: is not empty; name a new folder.")
    where = checkpoints or f"{bundle}.checkpoints"
    kept = Checkpoints(where, Stores(config.store), plan.schedule.keep)
    _check(kept, plan)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    stop = Stop()
    with stop.on_signals():
        try:
            source, held_out = _procedural(plan, device)
            report(f"{len(source(0))} objects to learn from, {len(held_out)} to validate with, on {device}")
            training = Training(
                plan, source, held_out, device=device, checkpoints=kept, report=report,
                stopped=lambda: stop.by is not None,
            )  # fmt: skip
            with stop.watched():
                outcome = training.run()
        except RunError as error:
            if stop.by is None:
                raise
            raise RunError(f"{error} The same command goes on from there.") from None
        except KeyboardInterrupt:
            raise RunError("stopped; the same command goes on from the last checkpoint.") from None
    report(", ".join(f"{name} {score:.3f}" for name, score in outcome.metrics.items()))
    return _save(bundle, plan, outcome)


def _check(checkpoints: Checkpoints, plan: Plan) -> None:
    """Raises RequestError for checkpoints of another plan."""
    found = checkpoints.latest()
    if found is not None and found.state.get("plan") != plan.model_dump(mode="json"):
        raise RequestError(
            f"--checkpoints {checkpoints.uri}: are of another plan; name another folder, or remove them."
        )


def _procedural(plan: Plan, device: str) -> tuple[Source, Collection]:
    """Made-up objects: those of each epoch, and those to validate with."""
    # A process is started anew, not forked, where another thread of ours (Ray's) may hold a lock.
    processes = 1 if plan.objects < 64 else len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1

    def make(count: int, views: int, seed: int) -> Collection:
        return collect(plan.categories, count, views, plan.framing, seed=seed, device=device, processes=processes)

    training, held_out = make(plan.objects, plan.views, 0), make(plan.validation_objects, 1, HELD_OUT)
    return lambda epoch: training, held_out


def _save(bundle: Path, plan: Plan, outcome: Outcome) -> str:
    config = weights.BundleConfig(
        name=plan.name,
        family=plan.family,
        latent_size=plan.latent_size,
        decoder_width=plan.decoder_width,
        encoder_width=plan.encoder_width,
        framing=plan.framing,
        threshold=outcome.threshold,
        categories=plan.categories,
        provenance={"plan": plan.model_dump(mode="json"), "code_version": code_version(), "data": "procedural"},
        metrics=outcome.metrics,
    )
    return weights.save(bundle, config, outcome.networks.encoder, outcome.networks.decoder, half=plan.half)
