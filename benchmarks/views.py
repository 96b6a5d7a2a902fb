"""What more pictures of the same object gain: volumetric IoU against the analytic shape, by number of views.

Made-up objects that training has never seen, drawn from random viewpoints as for training, reconstructed with the
embedded weights at 64³ by `encoder.fuse`. Viewpoints are not told to the network. A gain is over the mean of the
object's single views, with the standard error of the paired difference.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.extraction import CHUNK
from cluster.config import StoreSettings
from cluster.store import Stores
from jobs.training.collection import VOXELS, collect
from jobs.training.plan import HELD_OUT
from workers import weights
from workers.decoder import LatticeField
from workers.encoder import encode, fuse
from workers.grid import Lattice

OBJECTS = 2  # a category; docs/views.md has 40
VIEWS = (3, 8)
SEED = 3 * HELD_OUT  # validation begins at HELD_OUT, the demo's pictures at twice that


def run(objects: int = OBJECTS) -> list[dict[str, Any]]:
    """A row for each category and one for all."""
    bundle = weights.load(weights.EMBEDDED, Stores(StoreSettings()))
    names = list(bundle.config.categories)
    seen = collect(names, objects * len(names), max(VIEWS), bundle.config.framing, seed=SEED, processes=1)
    scores = np.array(
        [_scores(bundle, seen.views[row], seen.voxel_grid(torch.tensor([row]))) for row in range(len(seen))]
    )
    print(f"{objects} objects of each category, {max(VIEWS)} views of each, IoU at {VOXELS}³")
    print("category   objects  1 view  " + "  ".join(f"{count} views (gain ± its error)" for count in VIEWS))
    rows = []
    for place, name in enumerate([*names, "all"]):
        chosen = scores if name == "all" else scores[seen.categories.numpy() == place]
        rows.append(_row(name, chosen))
        gains = "  ".join(
            f"{rows[-1][f'iou_{count}']:7.3f} ({rows[-1][f'gain_{count}']:+.3f} ± {rows[-1][f'error_{count}']:.3f})  "
            for count in VIEWS
        )
        print(f"{name:9s}  {len(chosen):7d}  {rows[-1]['iou_1']:6.3f}  {gains}")
    return rows


def _row(name: str, scores: NDArray[np.float64]) -> dict[str, Any]:
    """Means of `scores` float64[objects, 1 + len(VIEWS)]: of single views, and of so many fused."""
    row: dict[str, Any] = {"category": name, "objects": len(scores), "iou_1": float(scores[:, 0].mean())}
    for column, count in enumerate(VIEWS, start=1):
        gain = scores[:, column] - scores[:, 0]
        row[f"iou_{count}"] = float(scores[:, column].mean())
        row[f"gain_{count}"] = float(gain.mean())
        row[f"error_{count}"] = float(gain.std(ddof=1) / len(gain) ** 0.5)
    return row


def _scores(bundle: weights.Bundle, views: Tensor, voxels: Tensor) -> list[float]:
    """IoU of an object's single views, on average, and of the first 3 and 8 of them fused."""
    latents = encode(bundle.encoder, views.float() / 255, batch=1)
    fused = [fuse(latents[:count], [count]) for count in VIEWS]
    found = _inside(bundle, torch.cat([latents, *fused]))
    truth = voxels.flatten() > 0
    ious = (found & truth).sum(1) / (found | truth).sum(1)
    return [float(ious[: len(latents)].mean()), *ious[len(latents) :].tolist()]


def _inside(bundle: weights.Bundle, latents: Tensor) -> Tensor:
    """bool[S, VOXELS³]: every sample's side, by dense evaluation."""
    lattice = Lattice(VOXELS)
    field = LatticeField(bundle.decoder, latents, lattice, bundle.config.threshold, CHUNK)
    ijk = torch.cartesian_prod(*[torch.arange(VOXELS)] * 3)
    return torch.stack([field(lattice.keys(shape, ijk)) > 0 for shape in range(len(latents))])
