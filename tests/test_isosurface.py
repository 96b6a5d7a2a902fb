"""Surface extraction against dense evaluation: what it finds, what it costs, and what it promises its callers."""

import pickle
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workers import isosurface
from workers.failure import ErrorCode, ItemError
from workers.field import OUTSIDE
from workers.grid import Lattice
from workers.isosurface import coarse_stride, extract
from workers.mesh import build, check, verify


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors lose more than they gain when threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Field:
    """Functions of positions in voxels, one a shape, behind the contract of `extract`, which it checks."""

    def __init__(self, lattice, *functions):
        self.lattice, self.functions = lattice, functions
        self.asked = torch.empty(0, dtype=torch.int64)
        self.asked_between = []

    def __call__(self, keys):
        assert keys.dtype == torch.int64
        assert (keys[1:] > keys[:-1]).all(), "sorted and unique"
        assert not self.lattice.is_padding(keys).any()
        assert not torch.isin(keys, self.asked).any(), "evaluated twice"
        self.asked = torch.cat([self.asked, keys])
        return self._at(keys, 0)

    def between(self, keys, axis, t):
        assert (keys[1:] > keys[:-1]).all(), "sorted and unique"
        assert not self.lattice.is_padding(torch.cat([keys, keys + self.lattice.steps[axis]])).any()
        assert t.dtype == torch.float32
        assert ((t >= 0) & (t <= 1)).all()
        self.asked_between.append(keys)
        return self._at(keys, t[:, None] * torch.eye(3)[axis])

    def _at(self, keys, ahead):
        shape, ijk = self.lattice.split(keys)
        points, values = ijk.double() + ahead, torch.empty(len(keys))
        for number, function in enumerate(self.functions):
            values[shape == number] = function(points[shape == number]).float()
        return values


def run(resolution, *functions, **options):
    """Fields, and after checking that each counts what it asked for."""
    lattice = Lattice(resolution)
    field = Field(lattice, *functions)
    found = extract(field, lattice, len(functions), **options)
    asked = torch.cat([field.asked, *field.asked_between])
    asked = torch.bincount(asked // lattice.points, minlength=len(functions))
    assert [sparse.points_evaluated for sparse in found] == asked.tolist()
    return found


def box(low, high):
    """Signed distance, in voxels, of the box from one sample to another, half a voxel beyond both."""
    low, high = torch.tensor(low).double() - 0.5, torch.tensor(high).double() + 0.5

    def distance(p):
        q = (p - (low + high) / 2).abs() - (high - low) / 2
        return -(q.clamp(min=0).norm(dim=-1) + q.amax(dim=-1).clamp(max=0))

    return distance


def ellipsoid(centre, radii):
    """A first-order distance, in voxels: positive inside, and never steeper than one a voxel."""
    centre, radii = torch.tensor(centre).double(), torch.tensor(radii).double()
    return lambda p: (1 - ((p - centre) / radii).norm(dim=-1)) * radii.min()


def union(*parts):
    return lambda p: torch.stack([part(p) for part in parts]).amax(dim=0)


def without(body, hole):
    return lambda p: torch.minimum(body(p), -hole(p))


def volume(array):
    """A field given by its samples, float[N, N, N]."""
    samples = torch.as_tensor(array)
    return lambda p: samples[tuple(p.long().T)]


def signs(sparse):
    """int8[M, M, M] of a closed sparse field: along z, points that are not known have the sign of those before."""
    side = sparse.resolution + 2
    known = np.zeros((side, side, side), np.int8)
    known.reshape(-1)[sparse.indices] = np.where(sparse.values > 0, 1, -1)
    filled = known.copy()
    filled[:, :, 0] = -1
    for k in range(1, side):
        np.copyto(filled[:, :, k], filled[:, :, k - 1], where=filled[:, :, k] == 0)
    return known, filled


def assert_closed(sparse):
    """What `SparseField` promises: every edge that changes sign, and all corners around it, are known."""
    known, filled = signs(sparse)
    padding = np.ones_like(known, dtype=bool)
    padding[1:-1, 1:-1, 1:-1] = False
    assert (filled[padding] == -1).all()
    cell = np.lib.stride_tricks.sliding_window_view(filled, (2, 2, 2))
    crossed = cell.min(axis=(3, 4, 5)) != cell.max(axis=(3, 4, 5))
    needed = np.zeros_like(padding)
    for x, y, z in np.ndindex(2, 2, 2):
        needed[x : x + crossed.shape[0], y : y + crossed.shape[1], z : z + crossed.shape[2]] |= crossed
    np.testing.assert_array_equal(known != 0, needed)


def dense(sparse):
    """float32[M, M, M], NaN where nothing is known."""
    values = np.full((sparse.resolution + 2,) * 3, np.nan, np.float32)
    values.reshape(-1)[sparse.indices] = sparse.values
    return values


def assert_same(a, b):
    assert a.resolution == b.resolution
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.values, b.values)
    assert (a.crossings is None) == (b.crossings is None)
    if a.crossings is not None:
        np.testing.assert_array_equal(a.crossings, b.crossings)


# Features of the design's table, in voxels of 256³: boxes of samples, so that the truth is written down exactly.
# Thin ones lie between coarse samples, which are multiples of 8.
BODY = ((96, 130, 96), (159, 149, 159))
FEATURES = {
    "leg of 1, attached": [(1, BODY), (1, ((123, 70, 125), (123, 140, 125)))],
    "leg of 2, attached": [(1, BODY), (1, ((123, 70, 125), (124, 140, 126)))],
    "plate of 1, attached": [(1, BODY), (1, ((100, 70, 125), (150, 140, 125)))],
    "slot of 1 through a slab": [(1, BODY), (-1, ((100, 120, 125), (150, 160, 125)))],
    "slot of 2 through a slab": [(1, BODY), (-1, ((100, 120, 125), (150, 160, 126)))],
    "cavity of 3": [(1, ((96, 110, 96), (159, 149, 159))), (-1, ((123, 131, 123), (125, 133, 125)))],
    "rod of 3, isolated": [(1, BODY), (1, ((123, 60, 123), (125, 100, 125)))],
    "rod of 1, isolated": [(1, BODY), (1, ((124, 60, 124), (124, 100, 124)))],
    "rod of 1 beside the body": [(1, BODY), (1, ((100, 116, 124), (150, 116, 124)))],
}
ATTACHED = [name for name in FEATURES if "attached" in name or "through" in name]


def feature(name):
    """The field as a distance in voxels, and its truth bool[256, 256, 256]."""
    field, truth = None, np.zeros((256, 256, 256), dtype=bool)
    for sign, (low, high) in FEATURES[name]:
        part = box(low, high)
        field = part if field is None else union(field, part) if sign > 0 else without(field, part)
        truth[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = sign > 0
    return field, truth


def sign_errors(sparse, truth):
    return int(((signs(sparse)[1][1:-1, 1:-1, 1:-1] > 0) != truth).sum())


@pytest.mark.parametrize("name", FEATURES)
def test_thin_features_are_all_found_where_the_field_tells_of_them(name):
    field, truth = feature(name)
    (sparse,) = run(256, lambda p: field(p).clamp(-8, 8))
    assert sign_errors(sparse, truth) == 0


@pytest.mark.parametrize("name", ATTACHED)
def test_attached_features_are_found_even_in_a_saturated_field(name):
    field, truth = feature(name)
    (sparse,) = run(256, lambda p: (field(p) * 1e3).clamp(-1, 1))
    assert sign_errors(sparse, truth) == 0


def test_a_thin_part_is_found_where_the_field_is_steeper_than_in_the_rest_of_the_shape():
    body, rod = box(*BODY), box((100, 60, 124), (150, 60, 124))
    (sparse,) = run(256, union(lambda p: 0.2 * body(p), rod))
    _, truth = feature("rod of 1, isolated")
    truth[124, 60:101, 124], truth[100:151, 60, 124] = False, True
    assert sign_errors(sparse, truth) == 0


def test_an_isolated_thin_part_of_a_saturated_field_is_lost_and_exact_finds_it():
    field, truth = feature("rod of 3, isolated")
    (sparse,) = run(256, lambda p: (field(p) * 1e3).clamp(-1, 1))
    assert sign_errors(sparse, truth) == 3 * 41 * 3
    assert sparse.points_evaluated < 2 * sparse.points_needed + 32**3  # and no search of a plateau


@st.composite
def solids(draw):
    """An odd resolution and up to three convex parts, each of which holds a coarse sample.

    Three convex parts enclose no pocket, which could be as thin as any.
    """
    resolution = draw(st.integers(4, 24)) * 2 + 1
    thick = coarse_stride(resolution)
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        # A cube inscribed in an ellipsoid is 2/√3 of its least radius wide.
        least = draw(st.floats(0.9 * thick, resolution / 2))
        centre = [draw(st.floats(0, resolution - 1)) for _ in range(3)]
        if draw(st.booleans()):
            parts.append(ellipsoid(centre, [least * draw(st.floats(1, 1.5)) for _ in range(3)]))
        else:
            parts.append(box([round(c - least) for c in centre], [round(c + least) for c in centre]))
    return resolution, union(*parts)


@settings(deadline=None, max_examples=60)
@given(solids())
def test_thick_solids_are_found_as_by_dense_evaluation(solid):
    resolution, field = solid
    (sparse,) = run(resolution, field)
    (exact,) = run(resolution, field, exact=True)
    assert_closed(exact)
    assert_same(sparse, exact)
    assert exact.points_evaluated == resolution**3
    assert exact.points_needed == sparse.points_needed <= sparse.points_evaluated


@settings(deadline=None, max_examples=60)
# The coarse lattice has steps of 2 from 17 on, of 4 from 33 on.
@given(st.sampled_from([*range(8, 25), 33, 36]), st.integers(0, 2**32 - 1), st.sampled_from([0.03, 0.3, 0.5, 0.97]))
def test_whatever_the_field_what_is_found_is_closed(resolution, seed, share):
    # Noise has parts that are missed, nested at random: what is found must fit together all the same.
    noise = np.random.default_rng(seed).random((resolution,) * 3)
    (sparse,) = run(resolution, volume(share - noise))
    assert_closed(sparse)
    samples = np.pad((share - noise).astype(np.float32), 1, constant_values=OUTSIDE)
    np.testing.assert_array_equal(sparse.values, samples.ravel()[sparse.indices])


@settings(deadline=None, max_examples=15)
@given(solids(), solids(), solids())
def test_a_shape_does_not_depend_on_the_others(a, b, c):
    resolution = max(a[0], b[0], c[0])
    fields = [solid[1] for solid in (a, b, c)]
    together = run(resolution, *fields, volume(np.full((resolution,) * 3, -1.0)))
    for field, found in zip(fields, together, strict=False):
        (alone,) = run(resolution, field)
        assert_same(found, alone)
        assert found.points_evaluated == alone.points_evaluated
    assert together[-1].points_needed == 0


def test_a_search_near_the_border_does_not_look_into_the_next_shape():
    # One rod between the last coarse samples; where its keys would go on, the next shape has a surface.
    rod, body = box((251, 60, 124), (251, 80, 124)), box((0, 50, 110), (12, 90, 140))
    together = run(256, rod, body)
    (alone,) = run(256, rod)
    assert alone.points_needed == 3 * 3 * 23
    assert_same(together[0], alone)
    assert together[0].points_evaluated == alone.points_evaluated


@pytest.mark.parametrize("order", list(permutations(range(3)))[1:])
def test_the_axes_are_alike(order):
    field = union(box((3, 5, 7), (30, 11, 12)), ellipsoid((20.0, 9.0, 20.3), (4.0, 7.0, 9.0)))
    (sparse,) = run(33, field)
    (turned,) = run(33, lambda p: field(p[:, list(order)]))
    np.testing.assert_array_equal(dense(turned), dense(sparse).transpose(np.argsort(order)))


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 3, 0), (2, -1, 5)])
def test_moving_the_shape_moves_what_is_found(shift):
    field = union(box((10, 12, 9), (20, 18, 16)), ellipsoid((20.0, 14.0, 20.0), (4.0, 6.0, 5.0)))
    (sparse,) = run(41, field)
    (moved,) = run(41, lambda p: field(p - torch.tensor(shift)))
    np.testing.assert_array_equal(moved.indices, sparse.indices + np.dot(shift, (43**2, 43, 1)))
    # The distance is computed in other coordinates, so it may be rounded otherwise.
    np.testing.assert_allclose(moved.values, sparse.values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("resolution", [8, 13, 16, 33, 64])
def test_a_shape_that_fills_the_frame_is_closed_by_the_padding(resolution):
    (sparse,) = run(resolution, lambda p: torch.ones(len(p)))
    assert_closed(sparse)
    assert sparse.points_needed == resolution**3 - (resolution - 2) ** 3
    assert len(sparse.indices) - sparse.points_needed == (resolution + 2) ** 3 - resolution**3
    assert (sparse.values[sparse.values < 0] == OUTSIDE).all()


@pytest.mark.parametrize("exact", [False, True])
def test_without_surface_nothing_is_found(exact):
    (sparse,) = run(24, lambda p: -torch.ones(len(p)), exact=exact)
    assert len(sparse.indices) == len(sparse.values) == sparse.points_needed == 0


def test_zero_is_outside():
    samples = np.zeros((9, 9, 9))
    samples[4, 4, 4] = 2.0
    (sparse,) = run(9, volume(samples))
    assert sparse.points_needed == 27
    assert (sparse.values > 0).sum() == 1
    assert run(9, volume(np.zeros((9, 9, 9))))[0].points_needed == 0


@pytest.mark.parametrize("planes", [1, 2, 5, 23, 24, 100])
def test_exact_extraction_does_not_depend_on_its_slabs(planes, monkeypatch):
    samples = np.random.default_rng(planes).random((24, 24, 24)) - 0.3
    monkeypatch.setattr(isosurface, "EXACT_SLAB", planes * 24**2)
    sparse = run(24, volume(samples), volume(-samples), exact=True)
    for found, field in zip(sparse, (samples, -samples), strict=True):
        assert_closed(found)
        whole = np.pad(field.astype(np.float32), 1, constant_values=OUTSIDE)
        np.testing.assert_array_equal(found.values, whole.ravel()[found.indices])


def torus(resolution):
    centre = (resolution - 1) / 2
    radii = 0.3 * resolution, 0.1 * resolution

    def distance(p):
        x, y, z = (p - centre).unbind(dim=1)
        return radii[1] - torch.hypot(torch.hypot(x, z) - radii[0], y)

    return distance


@pytest.mark.parametrize(("resolution", "stride", "cost"), [(64, 4, 1.3), (128, 8, 1.1), (256, 8, 1.2)])
def test_few_points_are_evaluated_that_the_surface_does_not_need(resolution, stride, cost):
    assert coarse_stride(resolution) == stride
    (sparse,) = run(resolution, torus(resolution))
    assert sparse.points_evaluated <= cost * sparse.points_needed


@pytest.mark.parametrize("resolution", [8, 33])
def test_what_is_found_does_not_depend_on_whether_signs_fit_a_table(resolution, monkeypatch):
    noise = volume(np.random.default_rng(5).random((resolution,) * 3) - 0.3)
    fields = [torus(resolution), noise, lambda p: torch.ones(len(p))]
    with_table = run(resolution, *fields)
    monkeypatch.setattr(isosurface, "SIGNS_BYTES", 0)
    for found, again in zip(run(resolution, *fields), with_table, strict=True):
        assert_closed(found)
        assert_same(found, again)
        assert found.points_evaluated == again.points_evaluated


def ball(radius, steepness):
    """A field between -1 and 1 that is flat but near the surface, around sample 12.3 of every axis."""
    return lambda p: torch.tanh(steepness * (radius - (p - 12.3).norm(dim=-1)))


def distances(sparse, radius):
    """How far the vertices are from that ball's surface, in steps."""
    vertices = build(sparse).vertices.astype(np.float64)
    samples = (vertices + 0.5) * sparse.resolution - 0.5
    return np.abs(np.linalg.norm(samples - 12.3, axis=1) - radius)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("steepness", "largest"),
    [(1, (0.030, 0.006, 0.002, 3e-4)), (4, (0.20, 0.042, 0.0062, 3e-4)), (100, (0.44, 0.22, 0.15, 0.066))],
)
def test_refinement_finds_the_surface_of_a_saturated_field(steepness, largest, exact):
    field = ball(9.1, steepness)
    found = [run(26, field, exact=exact, refine=steps)[0] for steps in (0, 1, 2, 3, 8)]
    plain, *refined = map(build, found)
    assert found[0].crossings is None
    assert all(distances(sparse, 9.1).max() < bound for sparse, bound in zip(found, (*largest, 1e-3), strict=True))
    assert distances(found[0], 9.1).max() > 0.95 * largest[0]
    for sparse, mesh, steps in zip(found[1:], refined, (1, 2, 3, 8), strict=True):
        assert sparse.crossings.dtype == np.float32
        assert sparse.points_evaluated == found[0].points_evaluated + steps * len(plain.vertices)
        np.testing.assert_array_equal(mesh.faces, plain.faces)
        verify(check(mesh))


@pytest.mark.parametrize("exact", [False, True])
def test_what_ends_in_the_padding_is_not_refined(exact):
    # A rod from one side of the frame to the other: its ends are where the padding begins.
    rod = lambda p: torch.tanh(9 - 3 * (p[:, :2] - 9.2).norm(dim=1))  # noqa: E731
    (plain,), (refined,) = (run(20, rod, exact=exact, refine=steps) for steps in (0, 3))
    a, b = (build(sparse).vertices for sparse in (plain, refined))
    end = (a[:, 2] < -0.475) | (a[:, 2] > 0.475)
    assert end.any()
    np.testing.assert_allclose(b[end], a[end], atol=1e-7)
    assert refined.points_evaluated == plain.points_evaluated + 3 * np.count_nonzero(~end)
    radius = np.linalg.norm((b[~end, :2] + 0.5) * 20 - 0.5 - 9.2, axis=1)
    np.testing.assert_allclose(radius, 3, atol=0.006)  # a vertex keeps that far from a sample


@pytest.mark.parametrize("exact", [False, True])
def test_refinement_does_not_depend_on_the_other_shapes(exact):
    fields = ball(9.1, 4), torus(26), lambda p: -torch.ones(len(p)), ball(5.5, 100)
    together = run(26, *fields, refine=2, exact=exact)
    for field, found in zip(fields, together, strict=True):
        (alone,) = run(26, field, refine=2, exact=exact)
        assert_same(found, alone)
        assert found.points_evaluated == alone.points_evaluated
    assert [len(found.crossings) for found in together] == [len(build(found).vertices) for found in together]


def test_what_cannot_be_refined_is_refused():
    lattice = Lattice(16)
    with pytest.raises(ValueError, match=r"^refine is 2, and the field cannot be evaluated between samples"):
        extract(lambda keys: torch.ones(len(keys)), lattice, 1, refine=2)
    for steps in (-1, 9):
        with pytest.raises(ValueError, match=f"^refine is {steps}; choose 0 to 8 steps$"):
            extract(Field(lattice, torus(16)), lattice, 1, refine=steps)
    with pytest.raises(ItemError, match="not finite"):
        run(16, lambda p: torch.where(p[:, 0] % 1 > 0, torch.nan, torus(16)(p)), refine=1)


def test_a_field_that_is_not_finite_is_a_fault_of_the_item():
    with pytest.raises(ItemError, match="not finite") as caught:
        run(16, lambda p: torch.where(p[:, 0] == 4, torch.nan, p[:, 1] - 8))
    assert caught.value.code is ErrorCode.INTERNAL_ERROR


def test_a_field_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="values for"):
        extract(lambda keys: torch.zeros(len(keys) + 1), Lattice(16), 1)


@pytest.mark.parametrize("shapes", [0, -1, 2**62])
def test_a_number_of_shapes_that_keys_cannot_hold_is_refused(shapes):
    with pytest.raises(ValueError, match=f"shapes is {shapes}"):
        extract(lambda keys: torch.zeros(len(keys)), Lattice(16), shapes)


def test_half_precision_values_are_taken():
    lattice = Lattice(32)
    field = Field(lattice, torus(32))
    (half,) = extract(lambda keys: field(keys).half(), lattice, 1)
    (full,) = run(32, torus(32))
    assert half.values.dtype == np.float32
    np.testing.assert_array_equal(half.indices, full.indices)
    np.testing.assert_allclose(half.values, full.values, rtol=1e-3)


def test_fields_travel_without_being_copied():
    (sparse,) = run(32, torus(32))
    assert (sparse.indices.dtype, sparse.values.dtype) == (np.int32, np.float32)
    assert (np.diff(sparse.indices) > 0).all()
    buffers = []
    message = pickle.dumps(sparse, protocol=5, buffer_callback=buffers.append)
    assert len(message) < 1000
    assert sum(buffer.raw().nbytes for buffer in buffers) == 8 * len(sparse.indices)
    assert_same(pickle.loads(message, buffers=buffers), sparse)
