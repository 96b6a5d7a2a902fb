"""Made-up objects, the examples made of them, and a training small enough to watch its loss fall."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.config import StoreSettings
from cluster.store import Stores
from jobs.training import procedural
from jobs.training.collection import VOXELS, collect
from jobs.training.procedural import parts
from jobs.training.solids import Shape, Union
from workers import weights
from workers.images import Framing


@pytest.mark.parametrize("category", procedural.CATEGORIES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_an_object_lies_in_the_frame_and_follows_its_seed(category: str, seed: int) -> None:
    shape = procedural.sample(category, seed)
    vertices, faces, colors = shape.surface()
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    assert np.isclose(np.linalg.norm(high - low), 1)
    assert np.allclose(low + high, 0, atol=1e-9)
    assert len(colors) == len(faces)
    assert np.array_equal(vertices, procedural.sample(category, seed).surface()[0])


def test_every_primitive_is_closed_and_faces_outward() -> None:
    turn = parts.tilt(30) @ parts.tilt(20, "y")
    for add in (
        lambda s: s.box((0.1, 0, 0), (1, 2, 3), taper=(0.3, 0.6), turn=turn, shear=(0.1, 0.4)),
        lambda s: s.box((0, 0, 0), (1, 1, 1), exponent=4.0),
        lambda s: s.box((0, 0, 0), (1, 1, 1), exponent=2.0),
        lambda s: s.ellipsoid((0, 0, 0.2), (1, 2, 1), turn=turn),
        lambda s: s.rod((0, 0, 0), (1, 1, 0), 0.2, end_thickness=0.5),
    ):
        shape = Shape()
        add(shape)
        shape.solids[0].place[0, 3] += 0.2
        vertices, faces, _ = shape.mirrored().surface()
        for part in trimesh.Trimesh(vertices, faces).split():
            assert part.is_watertight
            assert part.volume > 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), category=st.sampled_from(sorted(procedural.CATEGORIES)))
def test_occupancy_agrees_with_the_surface_that_is_drawn(seed: int, category: str) -> None:
    """Just inside a primitive's face is inside; just outside the whole union's bounding box is not."""
    shape = procedural.sample(category, seed)
    union = Union([shape])
    random = np.random.default_rng(seed)
    vertices, faces, _ = shape.surface()
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    large = np.linalg.norm(normals, axis=1) > 1e-5
    centers = ((a + b + c) / 3)[large]
    inward = centers - 2e-3 * normals[large] / np.linalg.norm(normals[large], axis=1, keepdims=True)
    chosen = random.choice(len(inward), min(200, len(inward)), replace=False)
    points = torch.from_numpy(np.concatenate([inward[chosen], [[0.6, 0, 0], [0, -0.6, 0]]])).float()
    inside = union.contains(torch.tensor([0]), points[None])[0]
    assert inside[:-2].float().mean() > 0.95  # a rod may be thinner than the step inward
    assert not inside[-2:].any()


def test_a_padded_union_answers_as_each_shape_alone() -> None:
    shapes = [procedural.sample(category, 5) for category in procedural.CATEGORIES]
    points = torch.rand(len(shapes), 4000, 3) - 0.5
    together = Union(shapes).contains(torch.arange(len(shapes)), points)
    for row, shape in enumerate(shapes):
        assert torch.equal(Union([shape]).contains(torch.tensor([0]), points[row : row + 1])[0], together[row])
    assert together.any(dim=1).all()


def test_a_collection_is_the_same_for_the_same_request() -> None:
    request = (["chair", "car"], 4, 2, Framing(mode="fit"))
    first, second = (collect(*request, seed=3, processes=1) for _ in range(2))
    for name in ("views", "voxels", "points", "inside"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    rows = torch.arange(4)
    points, inside = first.labelled_points(rows, 4096, 0)
    grid = first.voxel_grid(rows)[:, 0]
    cells = ((points + 0.5) * VOXELS).long().clamp(0, VOXELS - 1)
    in_grid = grid[rows[:, None], cells[..., 0], cells[..., 1], cells[..., 2]]
    assert (in_grid == inside).float().mean() > 0.85  # near the surface a cell's centre and a point in it differ


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
