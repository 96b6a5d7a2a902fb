"""Keys and coordinates of the lattice."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.grid import MAX_RESOLUTION, Lattice

resolutions = st.integers(8, MAX_RESOLUTION)


@settings(deadline=None)
@given(resolutions, st.data())
def test_keys_and_samples_are_each_other_s_inverse(resolution, data):
    lattice = Lattice(resolution)
    index = st.integers(-1, resolution)
    points = data.draw(
        st.lists(st.tuples(st.integers(0, lattice.max_shapes - 1), index, index, index), min_size=1, max_size=20)
    )
    shape, *ijk = torch.tensor(points).T
    keys = lattice.keys(shape, torch.stack(ijk, dim=1))
    back, samples = lattice.split(keys)
    assert back.tolist() == shape.tolist()
    assert samples.tolist() == [list(point[1:]) for point in points]
    assert lattice.is_padding(keys).tolist() == [any(i in (-1, resolution) for i in p[1:]) for p in points]
    # Keys sort as (shape, i, j, k) do, which is what makes rows along z runs of consecutive keys.
    assert [points[n] for n in keys.argsort().tolist()] == sorted(points)


@settings(deadline=None)
@given(resolutions, st.data())
def test_steps_lead_to_neighbours_of_the_same_shape(resolution, data):
    lattice = Lattice(resolution)
    ijk = data.draw(st.tuples(*[st.integers(0, resolution - 1)] * 3))
    shape = data.draw(st.integers(0, 5))
    key = lattice.keys(shape, torch.tensor([ijk]))
    for axis, step in enumerate(lattice.steps):
        for sign in (-1, 1):
            neighbour, where = lattice.split(key + sign * step)
            expected = list(ijk)
            expected[axis] += sign
            assert neighbour.tolist() == [shape]
            assert where.tolist() == [expected]


@settings(deadline=None)
@given(resolutions)
def test_positions_are_those_of_the_frame(resolution):
    lattice = Lattice(resolution)
    i = torch.arange(resolution)
    positions = lattice.positions(lattice.keys(3, torch.stack([i, i.flip(0), torch.zeros_like(i)], dim=1)))
    expected = ((i.double() + 0.5) / resolution - 0.5).float()
    assert positions.dtype == torch.float32
    torch.testing.assert_close(positions[:, 0], expected, rtol=0, atol=6e-8)  # one rounding near 0.5
    assert torch.equal(positions[:, 1], -positions[:, 0])  # symmetric to the last bit
    assert (positions[:, 2] == positions[0, 0]).all()


@pytest.mark.parametrize("resolution", [7, 1025, 0, -64])
def test_a_resolution_out_of_range_is_refused_by_name(resolution):
    with pytest.raises(ValueError, match=rf"resolution is {resolution}; .*8 to 1024"):
        Lattice(resolution)


def test_the_greatest_key_of_one_shape_fits_an_int32_and_of_all_an_int64():
    lattice = Lattice(MAX_RESOLUTION)
    corner = torch.full((1, 3), MAX_RESOLUTION)
    assert lattice.keys(0, corner).item() < 2**31
    last = lattice.keys(torch.tensor([lattice.max_shapes - 1]), corner)
    assert last.item() == lattice.max_shapes * lattice.points - 1
