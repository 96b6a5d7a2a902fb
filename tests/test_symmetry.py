"""Left and right alike: the field, its vertices, and the meshes of a run."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.embedded import CATEGORIES, bundle, latents
from workers import mesh
from workers.decoder import LatticeField
from workers.grid import Lattice
from workers.isosurface import extract
from workers.symmetry import Mirrored


class Asked:
    """A field that is another on each side, and what it was asked."""

    def __init__(self, lattice: Lattice) -> None:
        self.lattice, self.keys = lattice, torch.empty(0, dtype=torch.int64)

    def __call__(self, keys: torch.Tensor) -> torch.Tensor:
        assert (keys[1:] > keys[:-1]).all(), "sorted and unique"
        self.keys = torch.cat([self.keys, keys])
        return self.between(keys, 0, torch.zeros(len(keys)))

    def between(self, keys: torch.Tensor, axis: int, t: torch.Tensor) -> torch.Tensor:
        points = self.lattice.positions(keys)
        points[:, axis] += t / self.lattice.resolution
        return 0.3 - (points + torch.tensor([0.08, 0.0, 0.05])).norm(dim=1)


def mirrored(sparse) -> np.ndarray:
    """float32[M, M, M]: the known values, NaN elsewhere, x turned round."""
    values = np.full((sparse.resolution + 2,) * 3, np.nan, np.float32)
    values.reshape(-1)[sparse.indices] = sparse.values
    return values[::-1]


@pytest.mark.parametrize("resolution", [20, 33])
def test_a_field_becomes_its_own_image_and_no_pair_is_asked_twice(resolution: int) -> None:
    lattice = Lattice(resolution)
    field = Asked(lattice)
    (found,) = extract(Mirrored(field, lattice), lattice, 1)
    assert len(field.keys.unique()) == len(field.keys) < 2 * found.points_evaluated
    np.testing.assert_array_equal(mirrored(found), mirrored(found)[::-1])


@settings(max_examples=25, deadline=None)
@given(axis=st.integers(0, 2), t=st.floats(0, 1, width=32), seed=st.integers(0, 1000), resolution=st.integers(8, 40))
def test_between_samples_it_is_the_mean_of_both_sides(axis: int, t: float, seed: int, resolution: int) -> None:
    lattice = Lattice(resolution)
    field = Asked(lattice)
    ijk = torch.randint(0, resolution - 1, (9, 3), generator=torch.Generator().manual_seed(seed))
    keys = lattice.keys(0, ijk).unique()
    steps = torch.full((len(keys),), t)
    points = lattice.positions(keys)
    points[:, axis] += t / resolution
    both = [
        0.3 - (points * torch.tensor([side, 1, 1]) + torch.tensor([0.08, 0.0, 0.05])).norm(dim=1) for side in (1, -1)
    ]
    found = Mirrored(field, lattice).between(keys, axis, steps)
    torch.testing.assert_close(found, (both[0] + both[1]) / 2, atol=1e-5, rtol=0)


def test_meshes_of_real_latents_are_closed_and_alike_on_both_sides() -> None:
    lattice = Lattice(48)
    some = latents()[list(CATEGORIES)]
    field = LatticeField(bundle().decoder, some, lattice, bundle().config.threshold, 256)
    for sparse in extract(Mirrored(field, lattice), lattice, len(some)):
        made = mesh.build(sparse)
        mesh.verify(mesh.check(made))
        turned = made.vertices * np.array([-1, 1, 1], np.float32)
        one, other = (points[np.lexsort(np.round(points.T, 5))] for points in (made.vertices, turned))
        np.testing.assert_allclose(np.round(one, 4), np.round(other, 4), atol=2e-4)
