"""Preparing and training as jobs of a real Ray head, from nothing but a bucket; `ray job submit`, as the guide says."""

import json
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import S3
from ray_head import Head
from shapes import hdf5

from cluster.config import Config, StoreSettings
from cluster.store import Stores
from jobs.train import train
from jobs.training import dataset
from jobs.training.plan import read
from workers import weights

PLAN = {
    "name": "job", "latent_size": 8, "decoder_width": 4, "encoder_width": 4,
    "schedule": {"autoencoder_steps": 0, "regression_steps": 0, "joint_steps": 6, "batch": 4, "points": 64},
}  # fmt: skip


def submit(head: Head, checkout: Path, *arguments: object) -> str:
    """What a job that ran to a good end said."""
    ray = [Path(sys.executable).with_name("ray"), "job", "submit", "--address", head.dashboard]
    end = subprocess.run(
        [*ray, "--working-dir", checkout, "--", "python", "-m", *map(str, arguments)],
        env=head.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert end.returncode == 0, end.stdout + end.stderr
    return end.stdout


def test_jobs_prepare_and_train_in_a_bucket(head: Head, checkout: Path, s3: S3, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    hdf5(tmp_path / "source" / "03001627_vox256_img_train.hdf5", fine=True, rows=16)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"store": {"s3": {"endpoint_url": s3.endpoint_url}}}))
    stored, kept = s3.uri("dataset"), s3.uri("kept")
    said = submit(
        head, checkout, "jobs.prepare", tmp_path / "source", stored, "--config", config, "--address", "auto", "--json"
    )
    counts = json.loads(next(line for line in said.splitlines() if line.startswith('{"dataset_id"')))
    assert (counts["ok"], counts["failed"], counts["dataset"]) == (16, 0, stored)
    stores = Stores(StoreSettings(s3=s3.settings))
    assert dataset.exists(stores, stored)

    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(PLAN))
    said = submit(
        head, checkout, "jobs.cli", "train", tmp_path / "bundle", "--plan", plan, "--data", stored,
        "--checkpoints", kept, "--config", config, "--workers", 2, "--no-gpu",
    )  # fmt: skip
    assert "2 workers, cpu" in said
    assert "joint: step 6 of 6" in said

    # A machine that has only the bucket makes the same bundle, but for which code it was.
    lines: list[str] = []
    reading = Config(store=StoreSettings(s3=s3.settings))
    train(tmp_path / "again", read(plan, data=stored), reading, lines.append, checkpoints=kept)
    assert lines[0] == f"going on after 6 steps, from {kept}"
    made, again = tmp_path / "bundle" / weights.TENSORS, tmp_path / "again" / weights.TENSORS
    assert made.read_bytes() == again.read_bytes()
