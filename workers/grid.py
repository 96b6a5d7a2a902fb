"""The lattice on which a shape's field is sampled, and the integer keys that name its points.

Works on: indices, keys and coordinates, on any torch device. Knows nothing about fields, decoders or meshes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Below 8 no shape can be told; 1024 keeps (N + 2)³ below 2³¹, so that a point of one shape fits an int32.
MIN_RESOLUTION, MAX_RESOLUTION = 8, 1024
assert (MAX_RESOLUTION + 2) ** 3 < 2**31


@dataclass(frozen=True)
class Lattice:
    """N samples an axis in the frame [-0.5, 0.5]³, inside one layer of padding that counts as outside.

    Sample i of an axis lies at (i + 0.5)/N − 0.5, i = 0 … N−1; padding has i = −1 or i = N.
    A *key* is an int64, ((shape·M + i+1)·M + j+1)·M + k+1 with M = N + 2. Several shapes share one key space,
    and from every point that is not padding ±1, ±M and ±M² lead to its neighbours.

    Raises ValueError when `resolution` is not from 8 to 1024.
    """

    resolution: int

    def __post_init__(self) -> None:
        if not MIN_RESOLUTION <= self.resolution <= MAX_RESOLUTION:
            raise ValueError(f"resolution is {self.resolution}; choose one from {MIN_RESOLUTION} to {MAX_RESOLUTION}")

    @property
    def side(self) -> int:
        """M: points an axis, padding included."""
        return self.resolution + 2

    @property
    def steps(self) -> tuple[int, int, int]:
        """What to add to a key for one step along x, y and z: (M², M, 1)."""
        return self.side**2, self.side, 1

    @property
    def points(self) -> int:
        """M³: keys a shape, padding included."""
        return self.side**3

    @property
    def max_shapes(self) -> int:
        """How many shapes one key space holds."""
        return (2**63 - 1) // self.points

    def keys(self, shape: Tensor | int, ijk: Tensor) -> Tensor:
        """Keys int64[P] of samples `ijk` int64[P, 3] (−1 … N) of `shape`, an int or int64[P]."""
        i, j, k = (ijk + 1).unbind(-1)
        return ((shape * self.side + i) * self.side + j) * self.side + k

    def split(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `keys`: shapes int64[P] and samples int64[P, 3], padding as −1 or N."""
        shape = keys // self.points
        i = keys // self.steps[0] % self.side
        j = keys // self.side % self.side
        return shape, torch.stack([i, j, keys % self.side], dim=-1) - 1

    def positions(self, keys: Tensor) -> Tensor:
        """Coordinates float32[P, 3] in the frame: (2i + 1 − N) / 2N, rounded once, so equal on every device."""
        _, ijk = self.split(keys)
        return (2 * ijk + 1 - self.resolution).to(torch.float32) / (2 * self.resolution)

    def is_padding(self, keys: Tensor) -> Tensor:
        """bool[P]: which keys lie in the layer around the samples."""
        padding = torch.zeros_like(keys, dtype=torch.bool)
        for step in self.steps:
            index = keys // step % self.side
            padding |= (index == 0) | (index == self.side - 1)
        return padding
