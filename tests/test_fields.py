"""Solids against plain statements of what they contain, and programs of them as fields."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.training import procedural
from jobs.training.fields import Fields
from jobs.training.procedural import parts
from jobs.training.shape import Shape
from workers.grid import Lattice

TURN = parts.tilt(30) @ parts.tilt(20, "y") @ parts.tilt(-50, "z")
STAR = [(0.5, 0.0), (0.15, 0.2), (0.0, 0.6), (-0.2, 0.15), (-0.5, 0.1), (-0.1, -0.2), (0.3, -0.5)]
GOBLET = [(0.0, -0.5), (0.3, -0.5), (0.05, -0.3), (0.1, 0.1), (0.4, 0.5), (0.3, 0.5), (0.0, 0.0)]


def in_polygon(x: NDArray, y: NDArray, corners: list[tuple[float, float]]) -> NDArray[np.bool_]:
    """By the winding number: the sum of the angles at which the edges are seen."""
    total = np.zeros_like(x)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        ax_, ay_, bx_, by_ = ax - x, ay - y, bx - x, by - y
        total += np.arctan2(ax_ * by_ - ay_ * bx_, ax_ * bx_ + ay_ * by_)
    return np.abs(total) > np.pi


def in_prism(
    p: NDArray, size: tuple, taper: tuple = (0, 0), exponent: float = np.inf, shear: tuple = (0, 0)
) -> NDArray[np.bool_]:
    up = p[:, 1] / size[1] + 0.5
    x = np.abs(p[:, 0] - shear[0] * (up - 0.5)) / (size[0] / 2 * (1 - taper[0] * up)).clip(1e-9)
    z = np.abs(p[:, 2] - shear[1] * (up - 0.5)) / (size[2] / 2 * (1 - taper[1] * up)).clip(1e-9)
    section = np.maximum(x, z) if np.isinf(exponent) else x**exponent + z**exponent
    return (section < 1) & (up > 0) & (up < 1)


def in_round_box(p: NDArray, size: tuple, radius: float) -> NDArray[np.bool_]:
    beyond = np.abs(p) - (np.asarray(size) / 2 - radius)
    return np.linalg.norm(beyond.clip(0), axis=1) < radius


def in_bent(p: NDArray, size: tuple, bend: float, lean: float = 0.0) -> NDArray[np.bool_]:
    """By angle and radius about the axis at z = −1/bend."""
    z = p[:, 2] + 1 / bend
    angle, radius = np.arctan2(p[:, 0], z), np.hypot(p[:, 0], z) - 1 / bend - lean * p[:, 1] / size[1]
    inside = (np.abs(angle) < size[0] / 2 * bend) & (np.abs(radius) < size[2] / 2)
    return inside & (np.abs(p[:, 1]) < size[1] / 2)


def in_tube(p: NDArray, start: NDArray, control: NDArray, end: NDArray, thick: float, tip: float) -> NDArray[np.bool_]:
    """Beads, very many, along eight chords of the curve."""
    t = np.linspace(0, 1, 9)[:, None]
    knots = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    fine = np.linspace(0, 8, 401)
    low = fine.astype(int).clip(0, 7)
    beads = knots[low] + (fine - low)[:, None] * (knots[low + 1] - knots[low])
    radius = (thick + fine / 8 * (tip - thick)) / 2
    return (np.linalg.norm(p[:, None] - beads, axis=2) < radius).any(axis=1)


Add = Callable[[Shape], Any]
Inside = Callable[[NDArray], NDArray[np.bool_]]
CENTER = np.array([0.1, -0.05, 0.02])


def local(p: NDArray) -> NDArray:
    return (p - CENTER) @ TURN


TUBE = (np.array([-0.5, -0.4, 0.1]), np.array([0.6, -0.5, 0.2]), np.array([0.2, 0.5, -0.3]))
SIZE = (0.7, 0.5, 0.3)
SOLIDS: dict[str, tuple[Add, Inside]] = {
    "box": (lambda s: s.box(CENTER, SIZE, turn=TURN), lambda p: in_prism(local(p), SIZE)),
    "round box": (
        lambda s: s.box(CENTER, SIZE, turn=TURN, round=0.1),
        lambda p: in_round_box(local(p), SIZE, 0.1),
    ),
    "wedge": (
        lambda s: s.box(CENTER, SIZE, turn=TURN, taper=(0.3, 0.8), shear=(0.1, -0.3)),
        lambda p: in_prism(local(p), SIZE, (0.3, 0.8), shear=(0.1, -0.3)),
    ),
    "wing": (
        lambda s: s.box(CENTER, (0.06, 0.8, 0.5), turn=TURN, taper=(0.4, 0.9), shear=(0, 0.4), exponent=2.0),
        lambda p: in_prism(local(p), (0.06, 0.8, 0.5), (0.4, 0.9), 2.0, (0, 0.4)),
    ),
    "cushion": (
        lambda s: s.box(CENTER, SIZE, turn=TURN, exponent=4.0, taper=(0.2, 0.2)),
        lambda p: in_prism(local(p), SIZE, (0.2, 0.2), 4.0),
    ),
    "cubic": (lambda s: s.box(CENTER, SIZE, turn=TURN, exponent=3.0), lambda p: in_prism(local(p), SIZE, (0, 0), 3.0)),
    "cone": (
        lambda s: s.box(CENTER, (0.5, 0.6, 0.5), turn=TURN, exponent=2.0, taper=(1, 1)),
        lambda p: in_prism(local(p), (0.5, 0.6, 0.5), (1, 1), 2.0),
    ),
    "leaning cylinder": (
        lambda s: s.box(CENTER, (0.3, 0.6, 0.3), turn=TURN, exponent=2.0, shear=(0.2, 0.1)),
        lambda p: in_prism(local(p), (0.3, 0.6, 0.3), (0, 0), 2.0, (0.2, 0.1)),
    ),
    "bent box": (
        lambda s: s.box(CENTER, (0.9, 0.5, 0.1), turn=TURN, bend=2.0, shear=(0, 0.2)),
        lambda p: in_bent(local(p), (0.9, 0.5, 0.1), 2.0, 0.2),
    ),
    "bent over": (
        lambda s: s.box(CENTER, (1.4, 0.3, 0.1), turn=TURN, bend=3.5),
        lambda p: in_bent(local(p), (1.4, 0.3, 0.1), 3.5),
    ),
    "bent forward": (
        lambda s: s.box(CENTER, (0.9, 0.5, 0.1), turn=TURN, bend=-2.0),
        lambda p: in_bent(local(p) * [1, 1, -1], (0.9, 0.5, 0.1), 2.0),
    ),
    "ellipsoid": (
        lambda s: s.ellipsoid(CENTER, (1.0, 0.2, 0.4), turn=TURN),
        lambda p: (np.abs(local(p) / [0.5, 0.1, 0.2]) ** 2).sum(1) < 1,
    ),
    "pillow": (
        lambda s: s.ellipsoid(CENTER, SIZE, turn=TURN, exponent=4.0),
        lambda p: (np.abs(local(p) / (np.asarray(SIZE) / 2)) ** 4).sum(1) < 1,
    ),
    "tube": (
        lambda s: s.tube(*TUBE, 0.1, end_thickness=0.2),
        lambda p: in_tube(p, *TUBE, 0.1, 0.2),
    ),
    "extrusion": (
        lambda s: s.extrude(STAR, CENTER, 0.3, turn=TURN),
        lambda p: in_polygon(*local(p)[:, :2].T, STAR) & (np.abs(local(p)[:, 2]) < 0.15),
    ),
    "revolution": (
        lambda s: s.revolve(GOBLET, CENTER, turn=TURN),
        lambda p: in_polygon(np.hypot(local(p)[:, 0], local(p)[:, 2]), local(p)[:, 1], GOBLET),
    ),
}  # fmt: skip
ROW = torch.tensor([0])


def made(name: str) -> Shape:
    shape = Shape()
    SOLIDS[name][0](shape)
    return shape


def at(shape: Shape, points: NDArray) -> NDArray[np.float32]:
    return Fields([shape]).distance(ROW, torch.from_numpy(points).float()[None])[0].numpy()


@pytest.mark.parametrize("name", SOLIDS)
def test_a_solid_contains_what_its_statement_says(name: str) -> None:
    points = np.random.default_rng(1).uniform(-0.8, 0.8, (12_000, 3)).astype(np.float32).astype(np.float64)
    distance, inside = at(made(name), points), SOLIDS[name][1](points)
    clear = np.abs(distance) > (1e-3 if name == "tube" else 1e-6)  # its statement has finitely many beads
    assert clear.mean() > 0.99
    assert inside.mean() > 0.002
    assert np.array_equal((distance < 0)[clear], inside[clear])


@pytest.mark.parametrize("name", SOLIDS)
def test_a_distance_never_grows_faster_than_the_way(name: str) -> None:
    random = np.random.default_rng(2)
    near = random.uniform(-1, 1, (20_000, 3))
    far = near + random.normal(size=near.shape) * random.choice([1e-3, 0.03, 0.3], (len(near), 1))
    shape = made(name)
    grown = np.abs(at(shape, near) - at(shape, far)) / np.linalg.norm(near - far, axis=1)
    assert grown.max() <= 1 + 1e-3  # float32 at steps of 1e-3


@pytest.mark.parametrize("name", SOLIDS)
def test_a_solid_fills_its_extent(name: str) -> None:
    """Every side of the bounding box is touched (nearly, where edges are rounded) and none is passed."""
    shape = made(name)
    low, high = shape.solids[0].extent()
    points = np.random.default_rng(3).uniform(low - 0.1, high + 0.1, (200_000, 3))
    inside = at(shape, points) < 0
    assert (points[inside] > low - 1e-6).all()
    assert (points[inside] < high + 1e-6).all()
    reached = np.concatenate([points[inside].min(0) - low, high - points[inside].max(0)])
    assert reached.max() < 0.06


@st.composite
def programs(draw: st.DrawFn) -> Shape:
    """Up to seven of the solids, moved, some blended and some cut away."""
    shape = Shape()
    for place in range(draw(st.integers(2, 7))):
        SOLIDS[draw(st.sampled_from(sorted(SOLIDS)))][0](shape)
        solid = shape.solids[-1]
        moved = solid.center + draw(st.tuples(*[st.floats(-0.4, 0.4)] * 3))
        blend = draw(st.sampled_from([0.0, 0.0, 0.02, 0.1]))
        cut = place > 0 and draw(st.integers(0, 3)) == 0
        shape.solids[-1] = type(solid)(solid.form, solid.frame, moved, solid.color, blend, cut)
    return shape.mirrored() if draw(st.booleans()) else shape


@settings(max_examples=25, deadline=None)
@given(shape=programs(), seed=st.integers(0, 2**31))
def test_only_the_solids_near_a_ball_matter_in_it(shape: Shape, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    fields = Fields([shape])
    centers = torch.rand(40, 3, generator=random) * 1.6 - 0.8
    radius = torch.rand(40, generator=random) * 0.2 + 0.01
    direction = torch.nn.functional.normalize(torch.randn(40, 30, 3, generator=random), dim=-1)
    points = centers[:, None] + direction * torch.rand(40, 30, 1, generator=random) * radius[:, None, None]
    rows = torch.zeros(40, dtype=torch.long)
    near, value = fields.near(rows, centers, radius)
    alike = fields.select(rows, near).distance(points.movedim(-1, 0)) - fields.distance(rows, points)
    assert alike.abs().max() < 1e-6
    assert torch.allclose(value, fields.distance(rows, centers[:, None])[:, 0], atol=1e-6)
    inner, _ = fields.near(rows, centers, radius / 2, near)
    assert not (inner & ~near).any()
    steps = (points - centers[:, None]).norm(dim=-1)
    assert ((fields.distance(rows, points) - value[:, None]).abs() <= steps + 1e-5).all()


@settings(max_examples=10, deadline=None)
@given(shape=programs())
def test_a_program_is_its_steps_in_order(shape: Shape) -> None:
    """Unions and cuts of the solids by themselves; a blend only adds, within a quarter of its radius."""
    points = np.random.default_rng(4).uniform(-1, 1, (5000, 3))
    sharp, blended = np.full(len(points), np.inf), sum(solid.blend for solid in shape.solids)
    for solid in shape.solids:
        alone = at(Shape([type(solid)(solid.form, solid.frame, solid.center, solid.color)]), points)
        sharp = np.maximum(sharp, -alone) if solid.cut else np.minimum(sharp, alone)
    assert np.abs(at(shape, points) - sharp).max() <= blended / 4 + 1e-6


def test_many_shapes_answer_as_each_alone() -> None:
    shapes = [procedural.sample(category, 5) for category in procedural.CATEGORIES] + [made("wing"), made("tube")]
    points = torch.rand(len(shapes), 3000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    together = Fields(shapes).distance(torch.arange(len(shapes)), points)
    for row, shape in enumerate(shapes):
        assert torch.allclose(Fields([shape]).distance(ROW, points[row : row + 1])[0], together[row], atol=1e-6)


@settings(max_examples=8, deadline=None)
@given(shape=programs(), resolution=st.sampled_from([32, 48]))
def test_a_volume_is_the_field_at_the_samples(shape: Shape, resolution: int) -> None:
    fields = Fields([shape])
    lattice = Lattice(resolution)
    ijk = torch.cartesian_prod(*[torch.arange(resolution)] * 3)
    dense = fields.distance(ROW, lattice.positions(lattice.keys(0, ijk))[None]).reshape([resolution] * 3)
    volume = fields.volume(ROW, resolution)[0]
    close = dense.abs() <= 1 / resolution
    assert torch.allclose(volume[close], dense[close], atol=1e-5)
    assert torch.equal(volume[~close] < 0, dense[~close] < 0)
    assert (volume[~close].abs() >= 1 / resolution - 1e-5).all()


def test_a_blend_is_smooth_and_a_cut_takes_away() -> None:
    shape = Shape()
    shape.box((0, 0, 0), (1, 1, 1))
    shape.box((0, 0.75, 0), (0.5, 0.5, 0.5), blend=0.2)
    shape.ellipsoid((0, 0, -0.5), (0.6, 0.6, 0.6), cut=True)
    inner_corner, hollow, core = [0.27, 0.52, 0], [0, 0, -0.4], [0, 0, 0]
    assert (at(shape, np.array([inner_corner, hollow, core])) < 0).tolist() == [True, False, True]


@pytest.mark.parametrize("category", procedural.CATEGORIES)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_an_object_lies_in_the_frame_and_follows_its_seed(category: str, seed: int) -> None:
    shape = procedural.sample(category, seed)
    values = Fields([shape]).volume(ROW, 128)[0].numpy()
    places = np.argwhere(values < 0)
    low, high = places.min(axis=0) / 128 - 0.5, (places.max(axis=0) + 1) / 128 - 0.5
    assert np.abs(low + high).max() < 5 / 128  # the tip of a thin part may lie between the samples
    assert abs(np.linalg.norm(high - low) - 1) < 8 / 128
    assert np.array_equal(values, Fields([procedural.sample(category, seed)]).volume(ROW, 128)[0].numpy())


def test_a_half_cut_away_is_not_in_the_frame() -> None:
    shape = Shape()
    shape.ellipsoid((3, 1, 2), (2, 2, 2))
    shape.box((3, 2, 2), (3, 2, 3), cut=True)
    low, high = (corner(shape.normalised().mesh(64)[0], axis=0) for corner in (np.min, np.max))
    assert np.allclose(high - low, np.array([2, 1, 2]) / 3, atol=0.01)
    assert np.allclose(low + high, 0, atol=0.01)


def test_a_mesh_is_closed_and_faces_outward() -> None:
    shape = Shape()
    SOLIDS["extrusion"][0](shape)
    SOLIDS["tube"][0](shape)
    mesh = trimesh.Trimesh(*shape.normalised().mesh(64))
    assert mesh.is_watertight
    assert mesh.volume > 0
    assert np.isclose(np.linalg.norm(mesh.extents), 1, atol=0.02)  # its sharp corners are clipped


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda s: s.box((0, 0, 0), (1, 0, 1)), "size"),
        (lambda s: s.box((0, 0, 0), (1, 1, 1), taper=(1.2, 0)), "taper"),
        (lambda s: s.box((0, 0, 0), (1, 1, 1), exponent=1.0), "exponent"),
        (lambda s: s.box((0, 0, 0), (7, 1, 1), bend=1.0), "bend"),
        (lambda s: s.extrude([(0, 0), (1, 0)], (0, 0, 0), 1), "corners"),
        (lambda s: s.revolve([(0, 0), (-1, 0), (0, 1)], (0, 0, 0)), "radius"),
        (lambda s: s.normalised(), "solid"),
    ],
)
def test_sizes_that_make_no_solid_are_refused(wrong: Add, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        wrong(Shape())
