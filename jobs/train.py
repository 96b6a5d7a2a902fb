"""Training as a command: a configuration in, a bundle with its provenance and metrics out.

Works on: training configurations and bundle folders. Knows nothing about losses or how examples are made.
"""

import os
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.errors import RequestError
from jobs.run import code_version
from jobs.training import core
from jobs.training.collection import collect
from jobs.training.procedural import CATEGORIES
from workers import weights
from workers.decoder import Decoder, Family
from workers.encoder import Encoder
from workers.images import Framing

# Seeds from here on are never trained on: validation takes them, and above twice this the demo's pictures.
HELD_OUT = 10_000_000


class Plan(BaseModel):
    """A training configuration: what the bundle is, what it learns from, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    categories: tuple[str, ...] = Field(min_length=1)
    family: Family = "imnet-2019"
    latent_size: int = Field(default=128, ge=1)
    decoder_width: int = Field(default=128, ge=1)
    encoder_width: int = Field(default=64, ge=1)
    framing: Framing = Framing(mode="fit")
    objects: int = Field(default=5000, ge=2, lt=HELD_OUT)
    views: int = Field(default=4, ge=1)
    validation_objects: int = Field(default=256, ge=1)
    threshold: float = Field(default=0.5, gt=0, lt=1, description="occupancy at the surface; below 0.5 thin parts hold")
    half: bool = Field(default=False, description="store the bundle in float16")
    schedule: core.Schedule = core.Schedule()


def read_plan(path: Path | None) -> Plan:
    """The plan in a YAML file; None is the embedded bundle's. Raises RequestError."""
    where = Path(str(files("jobs.training") / "embedded.yaml")) if path is None else path
    try:
        content = yaml.safe_load(where.read_text(encoding="utf-8"))
        plan = Plan.model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"--plan {where}: cannot be read as YAML ({type(error).__name__}).") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RequestError(f"--plan {where}: {key}: {first['msg']}.") from error
    for category in plan.categories:
        if category not in CATEGORIES:
            raise RequestError(f"--plan {where}: categories: {category!r} is none of {', '.join(CATEGORIES)}.")
    return plan


def train(bundle: Path, plan_path: Path | None, report: Callable[[str], None]) -> str:
    """Train as the plan says, write the bundle and return its digest. Raises RequestError."""
    plan = read_plan(plan_path)
    if bundle.exists() and any(bundle.iterdir()):
        raise RequestError(f"{bundle}: is not empty; name a new folder.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # A process is started anew, not forked, where another thread of ours (Ray's) may hold a lock.
    processes = 1 if plan.objects < 64 else len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    categories = list(plan.categories)
    training = collect(categories, plan.objects, plan.views, plan.framing, seed=0, processes=processes)
    validation = collect(categories, plan.validation_objects, 1, plan.framing, seed=HELD_OUT, processes=processes)
    report(f"{len(training)} objects to learn from, {len(validation)} to validate with, on {device}")

    torch.manual_seed(plan.schedule.seed)
    model = core.Model(
        Encoder(plan.latent_size, plan.encoder_width),
        Decoder(plan.family, plan.latent_size, plan.decoder_width),
    )
    scores = core.train(
        model, training, validation, plan.schedule, device=device, report=report, threshold=plan.threshold
    )
    metrics = {_readable(name, categories): round(score, 4) for name, score in scores.items()}
    report(", ".join(f"{name} {score:.3f}" for name, score in metrics.items()))
    config = weights.BundleConfig(
        name=plan.name,
        family=plan.family,
        latent_size=plan.latent_size,
        decoder_width=plan.decoder_width,
        encoder_width=plan.encoder_width,
        framing=plan.framing,
        threshold=plan.threshold,
        categories=plan.categories,
        provenance={
            "plan": plan.model_dump(mode="json"),
            "code_version": code_version(),
            "data": "procedural",
        },
        metrics=metrics,
    )
    return weights.save(bundle, config, model.encoder, model.decoder, half=plan.half)


def _readable(name: str, categories: list[str]) -> str:
    """`iou/2` → `iou/chair`."""
    prefix, slash, index = name.partition("/")
    return f"{prefix}/{categories[int(index)]}" if slash else prefix
