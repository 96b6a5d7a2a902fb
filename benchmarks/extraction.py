"""What coarse to fine saves against asking the decoder everywhere, and what it costs in accuracy.

Both on the embedded weights and pictures, on the same machine, in the same run. Points are exact counts; times are
only meaningful as the ratio of two columns. `per needed` is points evaluated over the samples that marching cubes
needs; `sign errors` counts samples whose side of the surface differs from dense evaluation, `of surface` as a
share of the cells that the surface crosses.
"""

import time
from typing import Any

import numpy as np

from benchmarks.embedded import bundle, latents
from benchmarks.thin import inside
from workers import mesh
from workers.decoder import LatticeField
from workers.grid import Lattice
from workers.isosurface import extract

RESOLUTIONS = (32, 64, 128, 256)
DENSE_UP_TO = 128  # dense 256³ takes a minute a picture on a CPU; its points are known without asking
CHUNK = 1024  # what a CPU actor takes


def run() -> list[dict[str, Any]]:
    """A row for each resolution, over all embedded pictures."""
    print(f"{len(latents())} pictures; decoder of width {bundle().config.decoder_width}, chunks of {CHUNK} points")
    print("resolution  points dense  coarse to fine  per needed  speed-up  sign errors  of surface  watertight")
    rows = []
    for resolution in RESOLUTIONS:
        row = _measure(resolution)
        rows.append(row)
        dense = (
            f"{row['speed_up']:8.1f}  {row['sign_errors']:11d}  {row['sign_errors_of_surface']:9.4%}"
            if "speed_up" in row
            else f"{'-':>8s}  {'-':>11s}  {'-':>9s}"
        )
        print(
            f"{resolution:10d}  {row['points_dense']:12d}  {row['points']:14d}  {row['points_per_needed']:10.2f}  "
            f"{dense}  {row['watertight']:4d} of {len(latents())}"
        )
    print(f"volumes differ between resolutions by at most {_spread(rows):.1%} of the one at {RESOLUTIONS[-1]}³")
    return rows


def _measure(resolution: int) -> dict[str, Any]:
    lattice = Lattice(resolution)
    field = LatticeField(bundle().decoder, latents(), lattice, bundle().config.threshold, CHUNK)
    started = time.perf_counter()
    fast = extract(field, lattice, len(latents()))
    seconds = time.perf_counter() - started
    reports = [mesh.check(mesh.build(one)) for one in fast]
    needed = sum(one.points_needed for one in fast)
    row: dict[str, Any] = {
        "resolution": resolution,
        "points": sum(one.points_evaluated for one in fast),
        "points_needed": needed,
        "points_per_needed": sum(one.points_evaluated for one in fast) / needed,
        "points_dense": resolution**3 * len(latents()),
        "watertight": sum(report.watertight for report in reports),
        "volumes": [report.volume for report in reports],
        "bounds": [report.bounds for report in reports],
    }
    if resolution <= DENSE_UP_TO:
        started = time.perf_counter()
        dense = []
        for latent in latents().split(1):
            alone = LatticeField(bundle().decoder, latent, lattice, bundle().config.threshold, CHUNK)
            dense += extract(alone, lattice, 1, exact=True)
        row["speed_up"] = (time.perf_counter() - started) / seconds
        pairs = [(inside(one), inside(other)) for one, other in zip(fast, dense, strict=True)]
        row["sign_errors"] = int(sum((one != other).sum() for one, other in pairs))
        row["sign_errors_of_surface"] = row["sign_errors"] / sum(_crossed(other) for _, other in pairs)
    return row


def _crossed(inside: np.ndarray) -> int:
    """Cells with corners on both sides."""
    corners = [
        inside[x : x - 1 or None, y : y - 1 or None, z : z - 1 or None] for x in (0, 1) for y in (0, 1) for z in (0, 1)
    ]
    return int((np.any(corners, axis=0) & ~np.all(corners, axis=0)).sum())


def _spread(rows: list[dict[str, Any]]) -> float:
    finest = np.array(rows[-1]["volumes"])
    return float(max(np.abs(np.array(row["volumes"]) / finest - 1).max() for row in rows))
