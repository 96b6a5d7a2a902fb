"""What an extraction hands to a mesher: the field where the surface is, and nowhere else.

Works on: indices of lattice points and values at them, as NumPy arrays. Knows nothing about how they were found: it
needs no PyTorch, which would cost every mesher 700 MB and seconds of its start.
"""

from dataclasses import dataclass

import numpy as np

OUTSIDE = -1.0  # the field in the padding; finite, because vertices are interpolated between it and samples


@dataclass(frozen=True)
class SparseField:
    """The field at the corners of the lattice cells that the surface crosses, and nowhere else.

    indices: int32[P], sorted: ((i+1)·M + j+1)·M + k+1 in the padded lattice of M = resolution + 2 points an axis.
    values: float32[P], positive inside, `OUTSIDE` in the padding. Both are C-contiguous; P is 0 without surface.
    points_evaluated: how many points were asked for to find them.
    crossings: where the field is zero on the edges between neighbours of which one is inside, float32[E]: 0 at the
    lower end, 1 at the other, sorted by x, then y, then z of the edges' middles. None: where it is zero if it is linear
    along an edge.

    It is closed, which meshing relies on: the other points can be given signs so that each of them has the sign
    of all its six neighbours. Along z `extract` sees to that: between known points that are apart, a row changes
    no sign. Along x and y it follows. Suppose that at some z two rows along z, one step apart, differ. Go along z
    to where that ends; it does, as both rows end in padding. There one row changes sign, across an edge whose
    four cells have their corners here, among them both points before the end. These differ, so the cells around
    their edge have their corners here as well, among them both points before; and so back to the first.
    """

    resolution: int
    indices: np.ndarray
    values: np.ndarray
    points_evaluated: int
    crossings: np.ndarray | None = None

    @property
    def points_needed(self) -> int:
        """How many of the points are samples; the others are padding, which is never evaluated."""
        side = self.resolution + 2
        ijk = np.stack([self.indices // side**2, self.indices // side % side, self.indices % side])
        return int(((ijk > 0) & (ijk < side - 1)).all(axis=0).sum())

    def inside(self) -> np.ndarray:
        """bool[N, N, N]: on which side each sample of the lattice is, x first.

        A point that is not here has the sign of the one before it along z: rows begin outside, in the padding, and
        change their sign between neighbours that are both here alone (closed, above).
        """
        side = self.resolution + 2
        rows = np.zeros((side**2, side), np.int8)
        rows.ravel()[self.indices] = np.where(self.values > 0, 1, -1)
        rows[:, 0] = -1
        known = np.maximum.accumulate(np.where(rows == 0, 0, np.arange(side)), axis=1)
        filled = np.take_along_axis(rows, known, axis=1).reshape(side, side, side)
        return filled[1:-1, 1:-1, 1:-1] > 0
