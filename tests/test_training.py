"""The examples made of made-up objects, and a training small enough to watch its loss fall."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cluster.config import StoreSettings
from cluster.store import Stores
from workers import weights

TINY = {
    "name": "tiny", "categories": ["chair", "table"], "latent_size": 16, "decoder_width": 8, "encoder_width": 4,
    "framing": {"mode": "fit"}, "objects": 16, "views": 2, "validation_objects": 8, "half": True,
    "schedule": {
        "autoencoder_steps": 30, "regression_steps": 10, "joint_steps": 20, "batch": 8, "points": 512, "voxel_width": 4,
    },
}  # fmt: skip


def test_training_lowers_the_loss_and_makes_a_bundle(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(TINY))
    command = [sys.executable, "-m", "jobs.cli", "train", str(tmp_path / "bundle"), "--plan", str(plan)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in done.stderr.splitlines() if "joint: step" in line]
    assert losses[-1] < losses[0]
    bundle = weights.load(str(tmp_path / "bundle"), Stores(StoreSettings()))
    assert bundle.config.categories == ("chair", "table")
    assert set(bundle.config.metrics) == {"iou", "iou/chair", "iou/table"}
    assert bundle.config.provenance["plan"]["schedule"]["joint_steps"] == 20


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"categories": ["unicorn"]}, "unicorn"), ({"objects": 0}, "objects"), ({"speed": 3}, "speed")],
)
def test_a_wrong_plan_is_one_sentence(change: dict[str, object], sentence: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(TINY | change))
    command = [sys.executable, "-m", "jobs.cli", "train", str(tmp_path / "bundle"), "--plan", str(plan)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
