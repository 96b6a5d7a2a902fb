"""Measures of how alike two shapes are: for shapes whose answer is known, and what must not change them."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from jobs.evaluation import metrics

COUNT = 20_000
seeds = st.integers(0, 2**31)


def ball(radius: float, seed: int, count: int = COUNT) -> metrics.Surface:
    solid = trimesh.creation.icosphere(subdivisions=5, radius=radius)  # within 0.1 % of a sphere
    return metrics.sample(solid.vertices, solid.faces, count, seed)


def moved(surface: metrics.Surface, turn: Rotation, shift: np.ndarray, scale: float = 1.0) -> metrics.Surface:
    return metrics.Surface(turn.apply(surface.points) * scale + shift, turn.apply(surface.normals))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, side=st.integers(1, 12))
def test_iou_is_one_for_the_same_symmetric_and_a_share(seed: int, side: int) -> None:
    first, second = np.random.default_rng(seed).random((2, side, side, side)) < 0.3
    assert metrics.iou(first, first) == 1
    assert metrics.iou(first, second) == metrics.iou(second, first)
    assert 0 <= metrics.iou(first, second) <= 1
    order = np.random.default_rng(seed).permutation(first.size)
    assert metrics.iou(first.ravel()[order], second.ravel()[order]) == metrics.iou(first, second)
    if first.any():
        assert metrics.iou(first, np.zeros_like(first)) == 0


@given(edge=st.integers(1, 10), shift=st.integers(0, 12))
def test_iou_of_shifted_cubes(edge: int, shift: int) -> None:
    """Cubes of edge a, shifted by s along an axis: (a − s) / (a + s) where they overlap."""
    first, second = np.zeros((2, 24, 12, 12), bool)
    first[:edge, :edge, :edge] = second[shift : shift + edge, :edge, :edge] = True
    assert metrics.iou(first, second) == pytest.approx(max(0, edge - shift) / (edge + min(shift, edge)))


def test_iou_of_different_lattices_is_refused() -> None:
    with pytest.raises(ValueError, match="different lattices"):
        metrics.iou(np.zeros((4, 4, 4), bool), np.zeros((8, 8, 8), bool))


@settings(max_examples=6, deadline=None)
@given(inner=st.floats(0.1, 0.4), gap=st.floats(0.05, 0.1))
def test_two_spheres_are_the_difference_of_their_radii_apart(inner: float, gap: float) -> None:
    first, second = ball(inner, 1), ball(inner + gap, 2)
    found = metrics.compare(first, second)
    # In tenths of the edge of the box of the second. The nearest of n samples lies beside the nearest point, by 2r/√n
    # of a sphere of radius r, so that what is found is √(gap² + 4r²/n).
    assert metrics.chamfer_l1(found, 2 * (inner + gap)) == pytest.approx(gap / (0.2 * (inner + gap)), rel=0.03)
    squared = metrics.compare(metrics.few(first), metrics.few(second))
    assert metrics.chamfer_l2(squared) == pytest.approx(2 * gap**2 * 1000, rel=0.15)
    assert metrics.normal_consistency(found) > 0.99
    assert metrics.f_score(found, gap / 0.01 * 0.99) == 0
    assert metrics.f_score(found, gap / 0.01 * 1.2) == pytest.approx(1, abs=0.02)


def test_the_f_score_is_the_harmonic_mean_of_precision_and_recall() -> None:
    """Half of the predicted points lie on the true plane, the rest far away: P = ½, R = 1, so F = ⅔."""
    plane = np.random.default_rng(0).random((COUNT, 3)) * (1, 1, 0)
    up = np.tile([0.0, 0.0, 1.0], (COUNT, 1))
    half = plane + np.where(np.arange(COUNT) % 2, 5.0, 0.0)[:, None] * (0, 0, 1)
    found = metrics.compare(metrics.Surface(half, up), metrics.Surface(plane, up))
    assert metrics.f_score(found, 4.0) == pytest.approx(2 / 3, abs=1e-3)  # a threshold of several points' spacing
    assert metrics.f_score(metrics.compare(metrics.Surface(plane + 9, up), metrics.Surface(plane, up)), 1.0) == 0


@settings(max_examples=8, deadline=None)
@given(seed=seeds, scale=st.floats(0.2, 5))
def test_what_does_not_change_them(seed: int, scale: float) -> None:
    """Order of the two, rigid motions of both; of the size, the ones that are relative to it."""
    random = np.random.default_rng(seed)
    box = trimesh.creation.box(random.uniform(0.2, 1, 3))
    first, second = metrics.sample(box.vertices, box.faces, 4096, seed), ball(0.3, seed, 4096)
    here, back = metrics.compare(first, second), metrics.compare(second, first)
    turn, shift = Rotation.random(rng=random), random.normal(size=3)
    there = metrics.compare(moved(first, turn, shift, scale), moved(second, turn, shift, scale))
    for measure in (metrics.chamfer_l1, metrics.f_score):
        assert measure(back, 1.0) == pytest.approx(measure(here, 1.0))
        assert measure(there, scale) == pytest.approx(measure(here, 1.0), abs=1e-3)
    assert metrics.chamfer_l2(back) == pytest.approx(metrics.chamfer_l2(here))
    assert metrics.chamfer_l2(there) == pytest.approx(metrics.chamfer_l2(here) * scale**2)
    assert metrics.normal_consistency(there) == pytest.approx(metrics.normal_consistency(here), abs=1e-6)


def test_a_surface_against_itself_and_against_another_sample_of_it() -> None:
    first = ball(0.5, 3)
    same = metrics.compare(first, first)
    assert metrics.chamfer_l1(same, 1.0) == metrics.chamfer_l2(same) == 0
    assert metrics.f_score(same, 1.0) == metrics.normal_consistency(same) == pytest.approx(1)
    again = metrics.compare(first, ball(0.5, 4))
    assert 0 < metrics.chamfer_l1(again, 1.0) < 0.1, "the spacing of the points"


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_points_are_spread_by_area_and_lie_on_the_surface(seed: int) -> None:
    """A box of 1 × 1 × 3 has 1/7 of its area on its two ends."""
    box = trimesh.creation.box((1, 1, 3))
    found = metrics.sample(box.vertices, box.faces, 5000, seed)
    assert np.abs(found.points / (0.5, 0.5, 1.5)).max(axis=1) == pytest.approx(1)
    assert (np.abs(found.points[:, 2]) > 1.5 - 1e-9).mean() == pytest.approx(1 / 7, abs=0.03)
    assert np.array_equal(found.points, metrics.sample(box.vertices, box.faces, 5000, seed).points)


def test_a_surface_without_area_is_refused() -> None:
    with pytest.raises(ValueError, match="no area"):
        metrics.sample(np.zeros((3, 3)), np.array([[0, 1, 2]]), 10, 0)
