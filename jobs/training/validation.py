"""How well networks do on objects that they have not seen, and where to put the surface.

Works on: collections, a decoder and latents. Knows nothing about how they were trained.

The measure is the intersection over union over an object's labelled points, of which most lie near its surface: a
harder one than on a lattice, where most samples are far from it, and cheaper.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from jobs.training.collection import POINTS, Collection
from workers.decoder import Decoder

_THRESHOLDS = tuple(number / 20 for number in range(2, 13))  # 0.10, 0.15, … 0.60
_WITHIN = 0.002  # of the best IoU: what holds thin parts together may cost so much


@torch.inference_mode()
def fields(
    decoder: Decoder, collection: Collection, latents_of: Callable[[Tensor], Tensor], device: str, points: int = POINTS
) -> Tensor:
    """float16[count, points]: the field at the first points of each object, 0 at an occupancy of one half."""
    found = torch.empty(len(collection), points, dtype=torch.float16)
    for rows in torch.arange(len(collection)).split(32):
        where, _ = collection.labelled_points(rows, points, 0)
        found[rows] = (decoder(where.to(device), latents_of(rows)).float() - decoder.level(0.5)).half().cpu()
    return found


def ious(field: Tensor, collection: Collection, decoder: Decoder, threshold: float = 0.5) -> Tensor:
    """float32[count]: that of each object for a surface at an occupancy `threshold`; `field` as `fields` gives it."""
    level = decoder.level(threshold) - decoder.level(0.5)
    scores = []
    for rows in torch.arange(len(collection)).split(256):
        _, inside = collection.labelled_points(rows, field.shape[1], 0)
        predicted, true = field[rows] > level, inside.cpu() > 0
        scores.append((predicted & true).sum(1) / (predicted | true).sum(1).clamp_min(1))
    return torch.cat(scores)


def score(field: Tensor, collection: Collection, decoder: Decoder, threshold: float | Literal["auto"]) -> float:
    """The mean IoU at a threshold, or at the best."""
    return max(_means(field, collection, decoder, [threshold] if threshold != "auto" else _THRESHOLDS).values())


def choose_threshold(field: Tensor, collection: Collection, decoder: Decoder) -> float:
    """The lowest threshold whose mean IoU is nearly the best's: the thinner a part, the lower the occupancy in it."""
    means = _means(field, collection, decoder, _THRESHOLDS)
    return next(threshold for threshold in sorted(means) if means[threshold] >= max(means.values()) - _WITHIN)


def _means(field: Tensor, collection: Collection, decoder: Decoder, thresholds: Sequence[float]) -> dict[float, float]:
    return {one: float(ious(field, collection, decoder, one).mean()) for one in thresholds}


def by_category(scores: Tensor, collection: Collection) -> dict[str, float]:
    """`iou`, the mean of all, and `iou/<name>` of each category."""
    metrics = {"iou": float(scores.mean())}
    for category in collection.categories.unique().tolist():
        metrics[f"iou/{collection.names[category]}"] = float(scores[collection.categories == category].mean())
    return {name: round(score, 4) for name, score in metrics.items()}
