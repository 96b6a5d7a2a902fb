"""Training as a command: a plan in, a bundle with its provenance and metrics out.

Works on: plans, checkpoints and bundle folders. Knows nothing about losses or how examples are made.
"""

from pathlib import Path
from types import ModuleType

import torch
from pydantic import ValidationError

from cluster.config import Config
from cluster.errors import RequestError, RunError
from cluster.store import Stores
from jobs.run import code_version
from jobs.stop import Stop
from jobs.training.checkpoints import Checkpoint, Checkpoints
from jobs.training.core import Outcome, Report, Training
from jobs.training.examples import examples
from jobs.training.plan import Plan
from jobs.training.stages import Networks
from workers import weights


def train(
    bundle: Path,
    plan: Plan,
    config: Config,
    report: Report,
    *,
    checkpoints: str | None = None,
    workers: int | None = None,
    gpu: bool | None = None,
) -> str:
    """Train as the plan says, here or with so many workers of Ray, write the bundle and return its digest.

    Where `checkpoints` (a folder or an `s3://` prefix; else `BUNDLE.checkpoints`) has some of this plan, it goes on
    from the last. `gpu` None takes GPUs if there are any. Raises RequestError; RunError where it ended too early.
    """
    if bundle.exists() and any(bundle.iterdir()):
        raise RequestError(f"{bundle}: is not empty; name a new folder.")
    if gpu and not workers and not torch.cuda.is_available():
        raise RequestError("--gpu: PyTorch finds none on this machine; leave it out.")
    stores = Stores(config.store)
    kept = Checkpoints(checkpoints or f"{bundle}.checkpoints", stores, plan.schedule.keep)
    _check(kept.latest(), plan, kept.uri)
    stop = Stop()
    with stop.on_signals():
        try:
            if workers:
                _ray_training().train(plan, config, kept.uri, workers, gpu, report)
                outcome = _learnt(kept.latest(), plan)
            else:
                outcome = _train_here(plan, stores, kept, "cpu" if gpu is False else None, report, stop)
        except RunError as error:
            if stop.by is None:
                raise
            raise RunError(f"{error} The same command goes on from there.") from None
        except KeyboardInterrupt:
            raise RunError("stopped; the same command goes on from the last checkpoint.") from None
    report(", ".join(f"{name} {score:.3f}" for name, score in outcome.metrics.items()))
    return _save(bundle, plan, outcome)


def _ray_training() -> ModuleType:
    try:
        from jobs import ray_training
    except ImportError as error:
        raise RequestError(
            "--workers: needs Ray Train, which is not installed: pip install 'isofleet[train]'."
        ) from error
    return ray_training


def _train_here(
    plan: Plan, stores: Stores, checkpoints: Checkpoints, device: str | None, report: Report, stop: Stop
) -> Outcome:
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    source, held_out = examples(plan, stores, device)
    training = Training(
        plan, source, held_out, device=device, checkpoints=checkpoints, report=report,
        stopped=lambda: stop.by is not None,
    )  # fmt: skip
    with stop.watched():
        return training.run()


def _check(found: Checkpoint | None, plan: Plan, where: str) -> None:
    """Raises RequestError for a checkpoint of another plan."""
    try:
        same = found is None or Plan.model_validate(found.state["plan"]) == plan
    except (KeyError, ValidationError):
        same = False
    if not same:
        raise RequestError(f"--checkpoints {where}: are of another plan; name another folder, or remove them.")


def _learnt(found: Checkpoint | None, plan: Plan) -> Outcome:
    """What workers left as their last checkpoint."""
    outcome = None if found is None else found.state["progress"]["outcome"]
    if found is None or outcome is None:
        raise RunError("training ended before it was done; the same command goes on from the last checkpoint.")
    networks = Networks(plan)
    of_networks = {name: value for name, value in found.tensors.items() if name.startswith("networks.")}
    networks.load_state_dict({name.removeprefix("networks."): value for name, value in of_networks.items()})
    return Outcome(networks.eval(), **outcome)


def _save(bundle: Path, plan: Plan, outcome: Outcome) -> str:
    config = weights.BundleConfig(
        name=plan.name,
        family=plan.family,
        latent_size=plan.latent_size,
        decoder_width=plan.decoder_width,
        encoder_width=plan.encoder_width,
        framing=plan.framing,
        threshold=outcome.threshold,
        categories=tuple(name.removeprefix("iou/") for name in outcome.metrics if name.startswith("iou/")),
        provenance={"plan": plan.model_dump(mode="json"), "code_version": code_version()},
        metrics=outcome.metrics,
    )
    return weights.save(bundle, config, outcome.networks.encoder, outcome.networks.decoder, half=plan.half)
