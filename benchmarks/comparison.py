"""From a latent to a mesh by four ways, with the same weights, on the same machine, in the same run.

    python -m benchmarks.comparison [--shapes 4] [--resolutions 64 512]

Works on: the embedded bundle's decoder, and the same function at the paper's width. Each way is run in a process of
its own, so that its memory is its own. `dense` and `imnet` (the authors' algorithm; benchmarks/schemes.py) evaluate the
decoder as published, `mise` as we do in float32. Seconds are this machine's, and only their ratios are of use; points
are exact. `of limit` is how near ours comes to what the chip allows: the samples that marching cubes needs, each asked
once, at the measured rate of a large matrix product; it can exceed 100 %, as ours spares most of one product. Errors
are against the dense float32 field of the small decoder at the same resolution: samples on the other side, and the
distance of vertices to the nearest one of that field's mesh, in cells.
"""

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import mcubes
import numpy as np
import torch
from scipy.spatial import cKDTree

from benchmarks import published, schemes
from benchmarks.embedded import CATEGORIES, bundle, latents
from benchmarks.measure import Stopwatch, alone
from benchmarks.paper_size import PAPER_WIDTH, widen
from benchmarks.thin import inside
from workers import mesh
from workers.decoder import CHUNK_POINTS, Decoder, LatticeField
from workers.grid import Lattice
from workers.isosurface import extract
from workers.products import linear
from workers.regions import Prepared

RESOLUTIONS = (64, 128, 256, 512)
WAYS = ("dense", "imnet", "mise", "ours float32", "ours bfloat16")
DENSE_UP_TO = {"small": 256, "paper": 64}  # beyond, dense takes minutes to hours: its time is projected from its points
BATCH = {"dense": 32**3, "imnet": 32**3, "mise": 100_000}  # the authors' and Occupancy Networks' batches of points


@dataclass(frozen=True)
class Made:
    """What one way made of one latent. `signs`: bool[N, N, N] packed to bits; `limit_seconds`: of ours alone."""

    seconds: float
    mesh_seconds: float
    peak_bytes: int
    points: int
    vertices: np.ndarray
    signs: np.ndarray
    limit_seconds: float | None = None


def run(shapes: int = 1, resolutions: Sequence[int] = RESOLUTIONS) -> list[dict[str, Any]]:
    """A row for each decoder, resolution and way: sums over `shapes` pictures, of different categories.

    `resolutions` begin with one at which dense is run: at others its time follows from it.
    """
    print(f"from a latent to a mesh, {shapes} shape(s), one thread; × is against dense")
    print("decoder  resolution  way               points    seconds  × dense  × imnet   × mise  of limit  mesh share  "
          "peak MiB  sign errors  vertex error mean / max (cells)")  # fmt: skip
    rows = []
    for size in ("small", "paper"):
        rate = 0.0
        for resolution in resolutions:
            seconds: dict[str, float] = {}
            for way in WAYS:
                points = resolution**3 * shapes
                if way == "dense" and resolution > DENSE_UP_TO[size]:
                    seconds[way] = points / rate
                    row: dict[str, Any] = {"points": points, "seconds": seconds[way], "projected": True}
                else:
                    row = _row(size, way, resolution, shapes)
                    seconds[way] = row["seconds"]
                    rate = points / seconds["dense"]
                row = {"decoder": size, "resolution": resolution, "way": way, **row}
                row |= {f"times_{other}": seconds[other] / row["seconds"] for other in WAYS[:3] if other in seconds}
                rows.append(row)
                print(_line(row), flush=True)
    return rows


def _row(size: str, way: str, resolution: int, shapes: int) -> dict[str, Any]:
    made = [alone(make, size, way, resolution, shape) for shape in CATEGORIES[:shapes]]
    row: dict[str, Any] = {
        "points": sum(one.points for one in made),
        "seconds": sum(one.seconds for one in made),
        "mesh_share": sum(one.mesh_seconds for one in made) / sum(one.seconds for one in made),
        "peak_bytes": max(one.peak_bytes for one in made),
    }
    if way.startswith("ours"):
        row["of_limit"] = sum(one.limit_seconds for one in made) / row["seconds"]
    if resolution <= DENSE_UP_TO["small"]:
        errors = [
            _errors(one, _reference(resolution, shape), resolution)
            for one, shape in zip(made, CATEGORIES, strict=False)
        ]
        row["sign_errors"] = sum(flips for flips, _ in errors)
        row["vertex_error_mean"] = float(np.mean([distances.mean() for _, distances in errors]))
        row["vertex_error_max"] = float(max(distances.max() for _, distances in errors))
    return row


def make(size: str, way: str, resolution: int, shape: int) -> Made:
    """Run in a fresh process: the shape of one embedded picture by one way."""
    torch.set_num_threads(1)  # as an actor's; more only wait for each other on a busy machine
    decoder = _decoder(size)
    latent = latents()[shape : shape + 1]
    level = decoder.level(bundle().config.threshold)
    with torch.inference_mode():
        decoder(torch.zeros(1, 64, 3), latent)  # libraries initialise before the clock runs
    watch, meshing = Stopwatch(), Stopwatch()
    if way.startswith("ours"):
        lattice, precision = Lattice(resolution), way.removeprefix("ours ")
        prepared = Prepared(decoder, precision)
        limit = _flops(decoder) / _rate(getattr(torch, precision))
        with watch:
            field = LatticeField(decoder, latent, lattice, bundle().config.threshold, CHUNK_POINTS["cpu"], prepared)
            (found,) = extract(field, lattice, 1)
            with meshing:
                made = mesh.build(found)
        return Made(watch.seconds, meshing.seconds, watch.peak_bytes, found.points_evaluated, made.vertices,
                    np.packbits(inside(found)[1:-1, 1:-1, 1:-1]), limit * found.points_needed)  # fmt: skip

    def ask(ijk: np.ndarray) -> np.ndarray:
        points = torch.from_numpy(((ijk + 0.5) / resolution - 0.5).astype(np.float32))
        return np.concatenate(
            [(_plain(way, decoder, part, latent) - level).numpy() for part in points.split(BATCH[way])]
        )

    with watch:
        volume = {"dense": schemes.dense, "imnet": schemes.imnet, "mise": schemes.mise}[way](ask, resolution)
        with meshing:
            # A lattice of its own would be as exact; one frame of outside closes the mesh, as ours.
            vertices, _ = mcubes.marching_cubes(np.pad(volume.values, 1, constant_values=-1.0), 0.0)
    vertices = ((vertices - 0.5) / resolution - 0.5).astype(np.float32)
    return Made(
        watch.seconds, meshing.seconds, watch.peak_bytes, volume.points, vertices, np.packbits(volume.values > 0)
    )


@torch.inference_mode()
def _plain(way: str, decoder: Decoder, points: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
    if way == "mise":
        return decoder(points[None], latent)[0]
    return published.field(decoder, points, latent)


def _flops(decoder: Decoder) -> int:
    """Of one point: what a layer does with the layer before it. The latent's share is the same for all points."""
    widths = [layer.out_features for layer in decoder.layers]
    return 2 * sum(before * after for before, after in pairwise(widths))


def _rate(dtype: torch.dtype) -> float:
    """FLOP a second of one thread in the best of many products of the size of the paper's second layer."""
    rows, weight = torch.randn(1024, 2048, dtype=dtype), torch.randn(1024, 2048, dtype=dtype)
    best = math.inf
    for _ in range(30):
        started = time.perf_counter()
        linear(rows, weight)
        best = min(best, time.perf_counter() - started)
    return 2 * 1024 * 2048 * 1024 / best


@cache
def _decoder(size: str) -> Decoder:
    decoder = bundle().decoder
    return decoder if size == "small" else widen(decoder, PAPER_WIDTH, seed=1)


@cache
def _reference(resolution: int, shape: int) -> Made:
    """The dense float32 field."""
    made: Made = alone(make, "small", "dense", resolution, shape)
    return made


def _errors(made: Made, reference: Made, resolution: int) -> tuple[int, np.ndarray]:
    flips = int(np.unpackbits(made.signs ^ reference.signs).sum())
    return flips, cKDTree(reference.vertices).query(made.vertices)[0] * resolution


def _line(row: dict[str, Any]) -> str:
    times = "".join(f"  {row.get(f'times_{other}', float('nan')):7.2f}" for other in WAYS[:3])
    line = f"{row['decoder']:7s}  {row['resolution']:10d}  {row['way']:13s}  {row['points']:10d}  {row['seconds']:9.2f}"
    line += times
    if "projected" in row:
        return f"{line}  (projected from its points)"
    line += f"  {row['of_limit']:8.0%}" if "of_limit" in row else " " * 10
    line += f"  {row['mesh_share']:10.0%}  {row['peak_bytes'] / 2**20:8.0f}"
    if "sign_errors" in row:
        line += f"  {row['sign_errors']:11d}  {row['vertex_error_mean']:.4f} / {row['vertex_error_max']:.4f}"
    return line


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=1, choices=range(1, 5))
    parser.add_argument("--resolutions", type=int, nargs="+", default=RESOLUTIONS, help="the first at most 64")
    arguments = parser.parse_args()
    run(arguments.shapes, arguments.resolutions)
