"""Thin features: what each scheme loses of a shape that is known exactly.

Works on: analytic distance fields at 256³, in units of samples. Counts samples whose side differs from dense
evaluation, which is exact, so the table is the same on every machine. Features lie between the coarse samples of every
scheme.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import schemes
from workers.field import SparseField
from workers.grid import Lattice
from workers.isosurface import extract

N = 256
Distance = Callable[[np.ndarray], np.ndarray]

_BODY = ((95.5, 129.5, 95.5), (159.5, 149.5, 159.5))
# Boxes in samples: (sign, low, high); -1 is taken away from what stands before it.
FEATURES: dict[str, list[tuple[int, tuple[float, ...], tuple[float, ...]]]] = {
    "leg of 1.5, attached": [(1, *_BODY), (1, (122.6, 70, 126.2), (124.1, 135, 127.7))],
    "plate of 1.5, attached": [(1, *_BODY), (1, (100, 70, 126.2), (150, 135, 127.7))],
    "slot of 1.5 through a slab": [(1, *_BODY), (-1, (100, 120, 126.2), (150, 160, 127.7))],
    "cavity of 3.4": [(1, (96, 100, 96), (160, 150, 160)), (-1, (121.7, 129.7, 121.7), (125.1, 133.1, 125.1))],
    "rod of 3, isolated": [(1, *_BODY), (1, (122.1, 60, 122.1), (125.1, 100, 125.1))],
    "rod of 1.5, isolated": [(1, *_BODY), (1, (122.6, 60, 126.2), (124.1, 100, 127.7))],
}


def run() -> list[dict[str, Any]]:
    """A row for each feature: sign errors of each scheme; the last rows count points."""
    print(f"sign errors at {N}³ against dense evaluation, and points asked for:")
    print(f"{'feature':28s}" + "".join(f"{name:>20s}" for name in ("imnet", "mise", "plain", "ours", "ours --exact")))
    rows = []
    for name, boxes in FEATURES.items():
        distance = _distance(boxes)
        truth = schemes.dense(distance, N).values > 0
        found = {
            "imnet": schemes.imnet(distance, N),
            "mise": schemes.mise(distance, N),
            "plain": schemes.mise(distance, N, dilate=True),
            "ours": _ours(distance, exact=False),
            "exact": _ours(distance, exact=True),
        }
        row: dict[str, Any] = {"feature": name}
        for scheme, volume in found.items():
            row[scheme] = {"sign_errors": int(((volume.values > 0) != truth).sum()), "points": volume.points}
        rows.append(row)
        cells = "".join(f"{row[scheme]['sign_errors']:8d} {row[scheme]['points']:11d}" for scheme in found)
        print(f"{name:28s}{cells}")
    return rows


def _distance(boxes: list[tuple[int, tuple[float, ...], tuple[float, ...]]]) -> Distance:
    def distance(p: np.ndarray) -> np.ndarray:
        value = np.full(len(p), -np.inf)
        for sign, low, high in boxes:
            a, b = np.array(low), np.array(high)
            q = np.abs(p - (a + b) / 2) - (b - a) / 2
            one = -(np.linalg.norm(q.clip(min=0), axis=1) + q.max(axis=1).clip(max=0))
            value = np.maximum(value, one) if sign > 0 else np.minimum(value, -one)
        return value.astype(np.float32)

    return distance


def _ours(distance: Distance, exact: bool) -> schemes.Volume:
    lattice = Lattice(N)

    def evaluate(keys: Tensor) -> Tensor:
        return torch.from_numpy(distance(lattice.split(keys)[1].numpy().astype(float)))

    (found,) = extract(evaluate, lattice, 1, exact=exact)
    return schemes.Volume(np.where(inside(found), 1, -1)[1:-1, 1:-1, 1:-1], found.points_evaluated)


def inside(field: SparseField) -> np.ndarray:
    """bool[M, M, M]: every sample's side. Each row along z begins outside, and no change along it is left out."""
    side = field.resolution + 2
    signs = np.zeros(side**3, np.int8)
    signs[field.indices] = np.where(field.values > 0, 1, -1)
    rows = signs.reshape(side**2, side)
    last_known = np.maximum.accumulate(np.where(rows != 0, np.arange(side), 0), axis=1)
    return (np.take_along_axis(rows, last_known, axis=1) > 0).reshape(side, side, side)
