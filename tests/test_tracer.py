"""Traced pictures against rendered meshes of the same objects, and the collections that are made of them."""

import numpy as np
import pytest
import torch

from jobs.training import procedural
from jobs.training.collection import VOXELS, Collection, collect, draw, scatter
from jobs.training.fields import Fields
from jobs.training.looks import Looks, random_looks
from jobs.training.shape import Shape
from jobs.training.tracer import random_camera, trace
from workers.images import Framing
from workers.render import Camera, render


def plain(shape: Shape, seed: int = 0) -> Looks:
    return random_looks(np.random.default_rng(seed), np.full((len(shape.solids), 3), 0.7, np.float32), 0.0)


def alphas(shapes: list[Shape], cameras: list[Camera], size: int) -> np.ndarray:
    looks = Looks.stack([plain(shape) for shape in shapes])
    return trace(Fields(shapes), torch.arange(len(shapes)), cameras, looks, size)[..., 3].numpy() / 255


def test_silhouettes_are_those_of_the_meshes() -> None:
    """Coverage agrees pixel by pixel, as soft sets, for every category and from above and below."""
    shapes = [procedural.sample(category, 3) for category in procedural.CATEGORIES]
    cameras = [Camera(azimuth=40 + 70 * n, elevation=(30, -5)[n % 2], distance=2.4) for n in range(len(shapes))]
    for shape, camera, traced in zip(shapes, cameras, alphas(shapes, cameras, 96), strict=True):
        drawn = render(*shape.mesh(256), camera, 96, supersample=3)[..., 3] / 255
        assert np.minimum(traced, drawn).sum() / np.maximum(traced, drawn).sum() > 0.93


def test_a_pixel_is_as_opaque_as_it_is_covered() -> None:
    """A slanted edge covers pixels in part; a thin plate, seen from the front, covers all of them."""
    shape = Shape()
    shape.box((0, 0, 0), (0.5, 0.6, 0.002), turn=np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]]))
    alpha = alphas([shape], [Camera(azimuth=0, elevation=0.1, distance=2.4)], 64)[0]
    pixel = 2 * 2.4 * np.tan(np.radians(12.5)) / 64
    assert np.isclose(alpha.sum() * pixel**2, 0.3, rtol=0.04)  # an eighth of a pixel too wide on every side
    assert (alpha[28:36, 28:36] == 1).all()
    edge = (alpha > 0) & (alpha < 1)
    assert edge.sum() > 20


def test_a_leg_of_half_a_percent_is_seen_along_its_length() -> None:
    shape = Shape()
    shape.rod((0.1, -0.45, 0), (-0.1, 0.45, 0.1), 0.005)
    shape.ellipsoid((0, 0.48, 0.1), (0.05, 0.03, 0.05))
    shape.box((0, 0, 0.3), (0.9, 0.02, 0.02))  # behind: what is in front of it stays to be seen
    alpha = alphas([shape], [Camera(azimuth=0, elevation=5, distance=2.6)], 128)[0]
    rows = alpha[25:95].max(axis=1)
    assert (rows > 0.25).all()


def test_pictures_follow_their_seed_and_hold_dark_and_light_things() -> None:
    shape = procedural.sample("chair", 1)
    pictures = []
    for seed in [*range(16), 0]:
        random = np.random.default_rng(seed)
        pictures.append(draw(shape, random_camera(random), random, size=48).rgba)
    assert np.array_equal(pictures[0], pictures[-1])
    greys = [picture[picture[..., 3] == 255][:, :3].mean() for picture in pictures[:-1]]
    assert min(greys) < 60
    assert max(greys) > 160


@pytest.fixture(scope="module")
def collected() -> tuple[Collection, Collection]:
    request = (["chair", "car"], 10, 2, Framing(mode="fit"))
    return collect(*request, seed=3), collect(*request, seed=3, processes=2)


def test_a_collection_is_the_same_for_the_same_request(collected: tuple[Collection, Collection]) -> None:
    first, second = collected
    for name in ("views", "voxels", "points", "inside", "categories"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert first.names == ("chair", "car")
    assert first.ids[:3] == ("chair/3", "car/4", "chair/5")


def test_a_collection_agrees_with_its_shapes(collected: tuple[Collection, Collection]) -> None:
    collection, rows = collected[0], torch.arange(10)
    points, inside = collection.labelled_points(rows, 8192, 0)
    shapes = [procedural.sample(name, int(seed)) for name, seed in (each.split("/") for each in collection.ids)]
    distance = Fields(shapes).distance(rows, points)
    assert torch.equal(distance < 0, inside > 0)
    assert (distance.abs() < 0.06).float().mean() > 0.7
    assert 0.2 < inside.mean() < 0.6
    grid = collection.voxel_grid(rows)[:, 0]
    cells = ((points + 0.5) * VOXELS).long().clamp(0, VOXELS - 1)
    in_grid = grid[rows[:, None], cells[..., 0], cells[..., 1], cells[..., 2]]
    assert (in_grid == inside).float().mean() > 0.85  # near the surface a cell's centre and a point in it differ
    ink = collection.views.float() / 255
    assert ((ink > 0.02).flatten(2).float().mean(2) > 0.03).all()
    assert (collection.views[:, 0] != collection.views[:, 1]).flatten(1).any(1).all()


def test_a_thin_leg_has_its_share_of_the_points() -> None:
    """Of a leg a third of a voxel thick under a large block, a hundredth of all the surface."""
    shape = Shape()
    shape.box((0, 0.2, 0), (0.6, 0.3, 0.6))
    shape.rod((0, -0.4, 0), (0, 0.1, 0), 0.005)
    fields, row = Fields([shape]), torch.tensor([0])
    points = scatter(fields, fields.volume(row, VOXELS), [0])[0].float()
    at_leg = (points[:, 0].hypot(points[:, 2]) < 0.02) & (points[:, 1] < 0) & (points[:, 1] > -0.35)
    inside = fields.contains(row, points[None])[0]
    assert at_leg.sum() > 60  # 24 if every cell had the same share
    assert (at_leg & inside).sum() > 3
