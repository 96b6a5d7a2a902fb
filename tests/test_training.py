"""Training: small enough to watch its loss fall, interrupted, and stopped early; and what it does to pictures."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import hdf5

from cluster.config import Config, StoreSettings
from cluster.errors import RequestError
from cluster.store import Stores
from jobs.prepare import prepare
from jobs.train import train
from jobs.training import shards
from jobs.training.augmentation import Augment, draw, symmetric
from jobs.training.batches import Batches, Part
from jobs.training.checkpoints import Checkpoints
from jobs.training.collection import Collection, collect
from jobs.training.core import Outcome, Training
from jobs.training.plan import PRESETS, Augmentation, Plan, read
from jobs.training.shards import split_for
from jobs.training.stages import Networks
from workers import weights
from workers.encoder import IMAGE_SIZE
from workers.images import Framing

TINY: dict[str, Any] = {
    "name": "tiny", "categories": ["chair", "table"], "latent_size": 16, "decoder_width": 8, "encoder_width": 4,
    "framing": {"mode": "fit", "silhouette": 0.25}, "objects": 8, "views": 1, "validation_objects": 4, "half": True,
    "schedule": {
        "coarse_steps": [3, 3], "autoencoder_steps": 20, "regression_steps": 10, "joint_steps": 20, "batch": 8,
        "points": 512, "voxel_width": 4, "checkpoint_every": 5, "validate_every": 5, "average": 0.5, "muon": 2.0,
    },
}  # fmt: skip
NOTHING = Augmentation(
    shift=0,
    scale=0,
    rotation=0,
    exposure=0,
    gamma=0,
    contrast=0,
    blur=0,
    noise=0,
    compression=0,
    cutout=0,
    mirror=False,
)


def command(tmp_path: Path, name: str, changes: dict[str, Any] | None = None) -> list[str]:
    plan = tmp_path / f"{name}.yaml"
    plan.write_text(yaml.safe_dump(TINY | (changes or {})))
    return [sys.executable, "-m", "jobs.cli", "train", str(tmp_path / name), "--plan", str(plan)]


def progress(tmp_path: Path, name: str) -> list[dict[str, Any]]:
    lines = (tmp_path / f"{name}.checkpoints" / "progress.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle `whole`, its checkpoints, and what was said."""
    folder = tmp_path_factory.mktemp("trained")
    done = subprocess.run(command(folder, "whole"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stderr)
    return folder


def test_training_lowers_the_loss_and_makes_a_bundle(trained: Path) -> None:
    losses = [line["loss"] for line in progress(trained, "whole") if line["stage"] == "joint" and "loss" in line]
    assert losses[-1] < losses[0]
    bundle = weights.load(str(trained / "whole"), Stores(StoreSettings()))
    assert bundle.config.categories == ("chair", "table")
    assert bundle.config.framing.silhouette == 0.25
    assert set(bundle.config.metrics) == {"iou", "iou/chair", "iou/table"}
    assert bundle.config.provenance["plan"]["schedule"]["joint_steps"] == 20
    said = (trained / "said").read_text()
    assert f"occupancy of {bundle.config.threshold}" in said
    assert "autoencoder 16³: step 3 of 3" in said


def test_a_training_that_was_killed_goes_on_to_the_same_weights(trained: Path, tmp_path: Path) -> None:
    again = command(tmp_path, "whole")
    for number, line in ((signal.SIGKILL, "autoencoder: step 14"), (signal.SIGINT, "joint: step 10 ")):
        process = subprocess.Popen(again, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stderr is not None
        said = []
        for text in process.stderr:
            said.append(text)
            if text.startswith(line):
                process.send_signal(number)
                break
        said += process.stderr.readlines()
        assert process.wait() == (1 if number == signal.SIGINT else -9), said
    assert "same command goes on" in said[-1]
    with pytest.raises(RequestError, match="of another plan"):
        train(tmp_path / "x", scheduled(), Config(), said.append, checkpoints=str(tmp_path / "whole.checkpoints"))
    done = subprocess.run(again, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "going on after" in done.stderr
    assert progress(tmp_path, "whole") == progress(trained, "whole")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (trained / "whole" / name).read_bytes()


@pytest.fixture(scope="module")
def examples() -> Collection:
    return collect(["chair", "table"], 8, 2, Framing(mode="fit", silhouette=0.25), seed=3)


def train_here(plan: Plan, examples: Collection, folder: Path) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    checkpoints = Checkpoints(str(folder), Stores(StoreSettings()), plan.schedule.keep)
    training = Training(
        plan, lambda epoch: examples, examples, device="cpu", checkpoints=checkpoints,
        report=said.append,
    )  # fmt: skip
    return training.run(), said


def scheduled(**changes: Any) -> Plan:
    return Plan.model_validate(TINY | {"schedule": TINY["schedule"] | {"coarse_steps": [0, 0]} | changes})


def test_learning_begins_with_kinks_all_over_the_cube() -> None:
    torch.manual_seed(0)
    decoder = Networks(Plan.model_validate(TINY | {"decoder_width": 32, "latent_size": 128})).decoder
    corners = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5])] * 3)
    first, shares = decoder.layers[0], decoder.biases(torch.full((1, 128), 0.5))
    reached = corners @ first.weight[:, :3].T + shares[0]
    assert ((reached.amin(0) < 0) & (reached.amax(0) > 0)).float().mean() > 0.98


def test_the_published_recipe_begins_as_published() -> None:
    plan = read(None, "imnet").model_copy(update={"decoder_width": 16, "encoder_width": 4})
    torch.manual_seed(0)
    for layer in Networks(plan).decoder.layers:
        assert not layer.bias.any()
        assert 0.01 < float(layer.weight.detach().std()) < 0.03


def test_a_stage_without_progress_ends_early_and_leaves_its_best(examples: Collection, tmp_path: Path) -> None:
    plan = scheduled(
        autoencoder_steps=500, autoencoder_rate=1e-30, weight_decay=0, regression_steps=0, joint_steps=1, patience=2
    )
    _, said = train_here(plan, examples, tmp_path)
    assert "autoencoder: ends early, no better IoU in 2 validations" in said
    steps = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert max(line["step"] for line in steps if line["stage"] == "autoencoder") == 15
    assert len(list(tmp_path.glob("*.safetensors"))) == plan.schedule.keep


def test_a_time_limit_ends_training_with_its_rate_decayed(examples: Collection, tmp_path: Path) -> None:
    plan = scheduled(autoencoder_steps=0, regression_steps=0, joint_steps=10**6, validate_every=10**6, max_minutes=0.02)
    outcome, said = train_here(plan, examples, tmp_path)
    last = [line for line in said if line.startswith("joint: step") and "loss" in line][-1]
    assert 5 < int(last.split()[2]) < 10**5
    assert "left of this stage" not in last
    assert outcome.metrics["iou"] > 0


def test_the_parts_of_a_batch_are_the_batch(examples: Collection) -> None:
    """Two workers see what one would."""
    plan = Plan.model_validate(TINY)
    whole, *halves = (Batches(lambda epoch: examples, plan, "cpu", part) for part in (Part(), Part(0, 2), Part(1, 2)))
    for stage, step in ((0, 0), (2, 7)):

        def seen(batches: Batches, stage: int = stage, step: int = step) -> list[torch.Tensor]:
            choice = batches.draw(stage, step)
            voxels = batches.voxels(choice)
            coarse = batches.coarse_points(choice, voxels, 32)
            return [batches.images(choice), *batches.points(choice), voxels, *coarse]

        for one, *parts in zip(seen(whole), *map(seen, halves), strict=True):
            torch.testing.assert_close(torch.cat(parts), one)
    assert not torch.equal(seen(whole, 0, 0)[0], seen(whole, 0, 1)[0])


@pytest.mark.usefixtures("ray_session")
def test_two_workers_train_as_one_also_when_one_is_lost(examples: Collection, tmp_path: Path) -> None:
    # Without Muon: it turns the rounding of a sum in another order into whole directions.
    plan = scheduled(
        autoencoder_steps=4, regression_steps=4, joint_steps=6, checkpoint_every=2, validate_every=4, muon=0
    )
    said: list[str] = []
    killed: list[psutil.Process] = []

    def report(line: str) -> None:
        said.append(line)
        if line.startswith("joint: step 4 ") and not killed:
            ours = psutil.Process().children(recursive=True)
            killed.append(next(process for process in ours if process.name().startswith("ray::RayTrain")))
            killed[0].kill()

    checkpoints = str(tmp_path / "two.checkpoints")
    train(tmp_path / "two", plan, Config(), report, checkpoints=checkpoints, workers=2)
    assert killed
    assert "8 objects to learn from, 4 to validate with, on 2 workers, cpu" in said
    assert any(line.startswith("going on after") for line in said)
    train(tmp_path / "one", plan, Config(), said.append)
    for one, two in zip(progress(tmp_path, "one"), progress(tmp_path, "two"), strict=True):
        assert one.keys() == two.keys()
        assert one["step"] == two["step"]
        if "loss" in one:
            assert two["loss"] == pytest.approx(one["loss"], abs=2e-3)
    with pytest.raises(RequestError, match=r"--workers 3: .*batch"):
        train(tmp_path / "x", plan, Config(), report, workers=3)
    with pytest.raises(RequestError, match=r"--workers 8: need 8 CPUs, and 4 are free"):
        train(tmp_path / "x", plan, Config(), report, workers=8)


def test_points_of_a_coarse_grid_are_one_in_a_cell_and_labelled_as_the_voxels(examples: Collection) -> None:
    batches = Batches(lambda epoch: examples, Plan.model_validate(TINY), "cpu", Part())
    for resolution in (16, 32):
        choice = batches.draw(0, 0)
        voxels = batches.voxels(choice)
        points, inside = batches.coarse_points(choice, voxels, resolution)
        assert points.shape == (8, 1024, 3)
        cells = ((points + 0.5) * resolution).long()
        keys = (cells * torch.tensor([resolution**2, resolution, 1])).sum(2)
        assert all(len(row.unique()) == len(row) for row in keys)
        at = ((points + 0.5) * 64).long()
        rows = torch.arange(8)[:, None]
        assert torch.equal(voxels[rows, 0, at[..., 0], at[..., 1], at[..., 2]], inside)
        occupied = torch.nn.functional.max_pool3d(voxels, 64 // resolution)
        assert torch.equal(occupied[rows, 0, cells[..., 0], cells[..., 1], cells[..., 2]], inside)
        assert inside.mean() > 2 * voxels.mean()  # near the surface


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), silhouette=st.sampled_from([0.0, 0.25, 1.0]))
def test_changed_pictures_are_pictures(seed: int, silhouette: float) -> None:
    random = torch.Generator().manual_seed(seed)
    ink = torch.rand(6, 1, IMAGE_SIZE, IMAGE_SIZE, generator=random) * (1 - silhouette) + silhouette
    ink[:, :, :40] = 0
    ink[:, :, :, 100:] = 0
    augment = Augment(silhouette, IMAGE_SIZE, "cpu")
    strong = Augmentation(blur=2, noise=0.3, compression=0.5, cutout=0.5)
    changes = draw(strong, torch.tensor([True, False] * 3), random)
    changed = augment(ink, changes)
    assert changed.isfinite().all()
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed > 0).float().mean() < 0.6  # what is around the object stays empty
    apart = torch.cat([augment(ink[n : n + 1], changes.part(slice(n, n + 1), "cpu")) for n in range(6)])
    torch.testing.assert_close(apart, changed, atol=1e-5, rtol=0)
    same = augment(ink, draw(NOTHING, torch.ones(6, dtype=torch.bool), random))
    torch.testing.assert_close(same, ink, atol=1e-5, rtol=0)
    flips = draw(NOTHING.model_copy(update={"mirror": True}), torch.tensor([True] * 3 + [False] * 3), random)
    assert not flips.mirrored[3:].any()
    expected = torch.where(flips.mirrored[:, None, None, None], ink.flip(3), ink)
    torch.testing.assert_close(augment(ink, flips), expected, atol=1e-5, rtol=0)


def test_a_shape_that_is_its_own_mirror_image_is_known_by_its_voxels(examples: Collection) -> None:
    half = torch.rand(3, 32, 64, 64, generator=torch.Generator().manual_seed(1)) < 0.3
    grid = torch.cat([half, half.flip(1)], dim=1)
    grid[1, 40, :20] ^= True
    packed = torch.from_numpy(np.packbits(grid.flatten(1).numpy(), axis=1))
    assert symmetric(packed).tolist() == [True, False, True]
    grids = examples.voxel_grid(torch.arange(8))[:, 0]
    flipped = grids.flip(1)
    ious = (grids * flipped).flatten(1).sum(1) / grids.maximum(flipped).flatten(1).sum(1)
    assert torch.equal(ious > 0.97, symmetric(examples.voxels))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"categories": ["unicorn"]}, "unicorn"),
        ({"objects": 0}, "objects"),
        ({"speed": 3}, "speed"),
        ({"threshold": 2}, "threshold"),
        ({"schedule": {"joint_steps": 0, "regression_steps": 0}}, "regression_steps"),
        ({"schedule": {"autoencoder_steps": 0}}, "autoencoder_steps"),
        ({"schedule": {"batch": 64}}, "batch"),
        ({"categories": []}, "categories"),
        ({"data": "s3://models/chairs"}, "categories"),
    ],
)
def test_a_wrong_plan_is_one_sentence(change: dict[str, object], sentence: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(TINY | change))
    with pytest.raises(RequestError, match=sentence) as caught:
        read(plan)
    assert str(caught.value).startswith(f"--plan {plan}: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_plan(preset: str) -> None:
    assert read(None, preset).name == preset


@pytest.mark.usefixtures("ray_session")
def test_a_prepared_collection_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hdf5(tmp_path / "03001627_vox256_img_train.hdf5", fine=True, rows=16)
    stored = str(tmp_path / "dataset")
    assert prepare(stored.replace("dataset", ""), stored, Config()).ok == 16
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(TINY))
    said: list[str] = []
    train(tmp_path / "bundle", read(path, data=stored), Config(), said.append)
    bundle = weights.load(str(tmp_path / "bundle"), Stores(StoreSettings()))
    assert bundle.config.categories == ("chair",)
    assert bundle.config.provenance["plan"]["data"] == stored
    learnt = sum(split_for(f"{name}", "train") == "train" for name in _ids(stored))
    assert f"{learnt} objects to learn from, {16 - learnt} to validate with, on cpu" in said
    path.write_text(yaml.safe_dump(TINY | {"schedule": TINY["schedule"] | {"batch": 16}}))
    with pytest.raises(RequestError, match=r"lower schedule\.batch"):
        train(tmp_path / "large", read(path, data=stored), Config(), said.append)


def _ids(stored: str) -> list[str]:
    stores = Stores(StoreSettings())
    return [
        row["item_id"]
        for index, _, _ in shards.counted(stores, stored)
        for row in shards.read(stores, stored, index).to_pylist()
    ]
