"""What a reconstructor must beat: saying the same for every picture, and knowing the training shapes by heart.

Works on: a collection that a network may have been trained on, and latents. Knows nothing about networks or pictures.

That a network which only recognises and retrieves scores well is what Tatarchenko et al. found ("What Do Single-view 3D
Reconstruction Networks Learn?", CVPR 2019).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.evaluation.shapes import Body, of_lattice
from jobs.training.collection import VOXELS, Collection

_LEVELS = np.arange(1, 40) / 40
_ROWS = 64  # of a collection that are unpacked at once: 64 MiB


@dataclass(frozen=True, eq=False)
class MeanShape:
    """Where at least `level` of a category's training objects are; `iou` is its mean over these objects."""

    body: Body
    level: float
    iou: float


def mean_shapes(training: Collection) -> dict[str, MeanShape]:
    """Of each category that the collection has, by its name: the mean of its voxels, at the level that suits them
    best."""
    found = {}
    for index, name in enumerate(training.names):
        rows = torch.nonzero(training.categories == index).squeeze(1)
        if len(rows):
            found[name] = _mean_shape(training, rows)
    return found


def _mean_shape(training: Collection, rows: torch.Tensor) -> MeanShape:
    mean = torch.zeros(VOXELS**3)
    for part in rows.split(_ROWS):
        mean += training.voxel_grid(part).flatten(1).sum(0)
    mean /= len(rows)
    # A level's shape as a column: its intersections with all objects are one product.
    shapes = torch.stack([mean >= level for level in _LEVELS.tolist()], dim=1).float()
    volumes, ious = shapes.sum(0), torch.zeros(len(_LEVELS))
    for part in rows.split(_ROWS):
        voxels = training.voxel_grid(part).flatten(1)
        both = voxels @ shapes
        ious += (both / (voxels.sum(1, keepdim=True) + volumes - both).clamp_min(1)).sum(0)
    best = int(ious.argmax())
    level = float(_LEVELS[best])
    # Just below the level, as a level that many samples have exactly would leave the surface undefined.
    values = mean.reshape(VOXELS, VOXELS, VOXELS).numpy().astype(np.float64) - (level - 1e-6)
    return MeanShape(of_lattice(values), level, float(ious[best] / len(rows)))


def nearest(training: NDArray[np.float32], latents: NDArray[np.float32]) -> NDArray[np.int64]:
    """int64[B]: for each of `latents` float32[B, L] the row of `training` float32[T, L] at the least distance."""
    # |a − b|² = |a|² + |b|² − 2a·b, of which |a|² is the same for every row.
    squares = (training.astype(np.float64) ** 2).sum(axis=1)
    return np.argmin(squares - 2 * latents.astype(np.float64) @ training.astype(np.float64).T, axis=1)
