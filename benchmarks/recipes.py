"""Which way of learning from pictures is best: the published recipe, encoder and decoder together, or both in sequence.

    python -m benchmarks.recipes --minutes 4

Works on: made-up objects, the same for all; training as it is. Every recipe has the same networks and as many minutes
of the same threads, of which a stage takes its part by its number of steps. The IoU is that of training's validation:
over labelled points of unseen objects, three quarters of them near the surface.
"""

import argparse
import os
import tempfile
from typing import Any

from cluster.config import StoreSettings
from cluster.store import Stores
from jobs.training.checkpoints import Checkpoints
from jobs.training.collection import Collection, collect
from jobs.training.core import Training
from jobs.training.plan import HELD_OUT, Plan, Schedule, read

EMBEDDED = read(None, "embedded")  # whose categories and pictures these are; with narrower networks
OBJECTS, VIEWS, HELD = 960, 3, 144
LONG = 100_000  # steps: time ends a stage, not their number
RECIPES = {
    "published: autoencoder, then regression": {"autoencoder_steps": LONG, "regression_steps": LONG, "joint_steps": 0},
    "both, then joint": {"autoencoder_steps": LONG, "regression_steps": LONG, "joint_steps": LONG},
    "autoencoder, then joint": {"autoencoder_steps": LONG, "regression_steps": 0, "joint_steps": LONG},
    "joint alone": {"autoencoder_steps": 0, "regression_steps": 0, "joint_steps": LONG},
}
_SCHEDULE = {
    "autoencoder_rate": 1.5e-3, "encoder_rate": 1.5e-3, "joint_rate": 1.5e-3, "muon": 4.0, "points": 640,
    "voxel_width": 8,
}  # fmt: skip


def run(minutes: float = 0.5) -> list[dict[str, Any]]:
    """A row a recipe; a conclusion needs minutes by the hour."""
    cores = len(os.sched_getaffinity(0))
    names, framing = EMBEDDED.categories, EMBEDDED.framing
    learnt = collect(names, OBJECTS, VIEWS, framing, seed=0, processes=cores)
    held_out = collect(names, HELD, 1, framing, seed=HELD_OUT, processes=cores)
    print(f"{OBJECTS} objects, {minutes:g} minutes each; IoU of {HELD} unseen objects")
    print(f"{'recipe':40s}  autoencoder  from a picture  steps")
    return [_row(name, steps, minutes, learnt, held_out) for name, steps in RECIPES.items()]


def _row(name: str, steps: dict[str, int], minutes: float, learnt: Collection, held_out: Collection) -> dict[str, Any]:
    schedule = Schedule(
        **steps,
        **_SCHEDULE,
        max_minutes=minutes,
        validate_every=LONG,
        checkpoint_every=LONG,
    )
    plan = Plan(
        name="recipe", categories=EMBEDDED.categories, framing=EMBEDDED.framing, objects=OBJECTS, views=VIEWS,
        encoder_width=8, decoder_width=16, schedule=schedule,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        kept = Checkpoints(folder, Stores(StoreSettings()), keep=1)
        training = Training(plan, lambda epoch: learnt, held_out, device="cpu", checkpoints=kept, report=lambda _: None)
        outcome = training.run()
        validated = {line["stage"]: line for line in kept.record() if "iou" in line}
    row = {
        "recipe": name,
        "autoencoder_iou": validated["autoencoder"]["iou"] if "autoencoder" in validated else None,
        "iou": outcome.metrics["iou"],
        "steps": {stage: line["step"] for stage, line in validated.items()},
    }
    own = f"{row['autoencoder_iou']:.3f}" if row["autoencoder_iou"] is not None else ""
    done = ", ".join(f"{count} {stage}" for stage, count in row["steps"].items())
    print(f"{name:40s}  {own:>11s}  {row['iou']:14.3f}  {done}", flush=True)
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0, help="of training, for each recipe")
    run(parser.parse_args().minutes)
