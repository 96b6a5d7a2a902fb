"""How others find a surface, written from the descriptions that they published: what ours is measured against.

Works on: a field that is asked at positions in units of samples, float64[P, 3], and answers float32[P], positive
inside; sample i of an axis is at i. Knows nothing about decoders. Each scheme returns the whole volume, as its origin
does: where it did not ask, a value of the sign that it takes for granted.

dense  every sample.
imnet  the authors' sampler (Chen & Zhang, "Learning Implicit Fields for Generative Shape Modeling", CVPR 2019, and the
       code beside it): the centres of all cells of 4³ samples; then the samples of those cells whose 27 neighbours
       are not all on one side; then, from each cell that holds a sample inside, those of its 26 neighbours whose centre
       was outside: a flood in one direction. Our version does not ask for a cell twice, and searches the frame for
       mixed neighbourhoods with SciPy rather than in Python's loops, which makes it faster than the original.
mise   Multiresolution IsoSurface Extraction (Mescheder et al., "Occupancy Networks", CVPR 2019, section 3.3): 32³
       voxels; one with corners of both signs is split in eight, and so on until single cells are left.
plain  the same, but the 26 neighbours of such a voxel are split with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

Ask = Callable[[np.ndarray], np.ndarray]

COARSE = 32  # voxels an axis where MISE and the plain scheme begin
_FAR = 1e3  # a value where nothing was asked


@dataclass(frozen=True)
class Volume:
    """values: float32[N, N, N], positive inside; points: how often the field was asked."""

    values: np.ndarray
    points: int


def dense(ask: Ask, n: int) -> Volume:
    """Every sample, in slabs of planes."""
    values = np.empty((n, n, n), np.float32)
    planes = max(1, (1 << 20) // n**2)
    for start in range(0, n, planes):
        slab = np.stack(np.meshgrid(np.arange(start, min(start + planes, n)), *[np.arange(n)] * 2, indexing="ij"), -1)
        values[start : start + planes] = ask(slab.reshape(-1, 3).astype(float)).reshape(slab.shape[:3])
    return Volume(values, n**3)


def imnet(ask: Ask, n: int) -> Volume:
    """The authors' frame and flood; n is a multiple of 4."""
    cell, frame = 4, n // 4
    centres = _cube(frame)
    inside = (ask(centres * cell + (cell - 1) / 2) > 0).reshape((frame,) * 3)
    flag = np.pad(inside, 1)
    mixed = (maximum_filter(flag, 3) != minimum_filter(flag, 3))[1:-1, 1:-1, 1:-1]
    values = np.where(inside, _FAR, -_FAR).astype(np.float32).repeat(cell, 0).repeat(cell, 1).repeat(cell, 2)
    blocks = values.reshape(frame, cell, frame, cell, frame, cell)
    seen, points = mixed.copy(), frame**3
    offsets = _cube(cell)
    queue = np.argwhere(mixed)
    while len(queue):
        asked = ask((queue[:, None] * cell + offsets).reshape(-1, 3).astype(float)).reshape(-1, cell, cell, cell)
        points += asked.size
        i, j, k = queue.T
        blocks[i, :, j, :, k, :] = asked
        hit = np.zeros_like(seen)
        hit[tuple(queue[(asked > 0).any(axis=(1, 2, 3))].T)] = True
        grown = maximum_filter(hit, 3) & ~inside & ~seen
        seen |= grown
        queue = np.argwhere(grown)
    return Volume(values, points)


def mise(ask: Ask, n: int, *, dilate: bool = False) -> Volume:
    """Voxels with corners of both signs, level by level, on lattice points 0 … n, of which the last are dropped at the
    end; with `dilate` those around them as well. n is 32 times a power of two."""
    m, step = n + 1, np.array([(n + 1) ** 2, n + 1, 1])
    stride = n // COARSE
    values = np.zeros(m**3, np.float32)
    known = np.zeros(m**3, bool)
    filled = np.empty((n, n, n), np.float32)
    blocks = np.arange(0, n, stride)
    voxels = np.stack(np.meshgrid(blocks, blocks, blocks, indexing="ij"), -1).reshape(-1, 3)
    points = 0
    while True:
        corners = (voxels[:, None] + stride * _cube(2)) @ step
        fresh = np.unique(corners)
        fresh = fresh[~known[fresh]]
        values[fresh] = ask(np.stack(np.unravel_index(fresh, (m, m, m)), -1).astype(float))
        known[fresh] = True
        points += len(fresh)
        inside = values[corners] > 0
        i, j, k = (voxels[:, None] + _cube(stride)).reshape(-1, 3).T
        filled[i, j, k] = np.where(inside[:, 0], _FAR, -_FAR).repeat(stride**3)
        if stride == 1:
            break
        mixed = inside.any(axis=1) & ~inside.all(axis=1)
        active = voxels[mixed]
        if dilate:
            around = np.zeros((n // stride + 2,) * 3, bool)
            i, j, k = (active // stride + 1).T
            around[i, j, k] = True
            i, j, k = (voxels // stride + 1).T
            active = voxels[maximum_filter(around, 3)[i, j, k]]
        stride //= 2
        voxels = (active[:, None] + stride * _cube(2)).reshape(-1, 3)
    volume, asked = values.reshape(m, m, m)[:n, :n, :n], known.reshape(m, m, m)[:n, :n, :n]
    filled[asked] = volume[asked]
    return Volume(filled, points)


def _cube(side: int) -> np.ndarray:
    """int64[side³, 3]: the points 0 … side−1 along each axis."""
    return np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
