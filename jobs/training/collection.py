"""The examples that training sees: for each object some views, a voxel grid and labelled points.

Works on: made-up objects of `procedural`, drawn and queried once and then held in memory. Knows nothing about
networks or losses.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from jobs.training import procedural
from jobs.training.solids import Shape, Union
from workers.encoder import IMAGE_SIZE
from workers.grid import Lattice
from workers.images import Framing, Picture, prepare
from workers.render import Camera, render

VOXELS = 64
POINTS = 8192  # a shape: a quarter anywhere in the cube, the rest near the surface
_NEAR = (0.01, 0.04)  # standard deviations, in object units, of the distance to the surface


@dataclass(frozen=True)
class Collection:
    """`count` objects. Views uint8[count, views, 128, 128] (ink, 0 = background), voxels packed
    uint8[count, 64·64·64/8], points float16[count, POINTS, 3] in the frame and their labels packed
    uint8[count, POINTS/8]. `categories` int64[count] indexes the names that it was made of.
    """

    views: Tensor
    voxels: Tensor
    points: Tensor
    inside: Tensor
    categories: Tensor

    def __len__(self) -> int:
        return len(self.views)

    def voxel_grid(self, rows: Tensor) -> Tensor:
        """float32[B, 1, 64, 64, 64]: occupancy at the samples of the 64³ lattice."""
        return _unpack(self.voxels[rows]).reshape(-1, 1, VOXELS, VOXELS, VOXELS)

    def labelled_points(self, rows: Tensor, count: int, start: int) -> tuple[Tensor, Tensor]:
        """`count` points float32[B, count, 3] and occupancies float32[B, count], from position `start` (of 8) on."""
        window = slice(start, start + count)
        return self.points[rows, window].float(), _unpack(self.inside[rows])[:, window]


def collect(
    categories: list[str], count: int, views: int, framing: Framing, *, seed: int, processes: int
) -> Collection:
    """Objects `seed`, `seed + 1`, … of the categories in turn; the same request gives the same collection."""
    jobs = [(categories[n % len(categories)], seed + n, views, framing) for n in range(count)]
    batches = [jobs[start : start + 16] for start in range(0, count, 16)]
    parts = list(_run(batches, processes))
    views_, voxels, points, inside = (torch.from_numpy(np.concatenate(column)) for column in zip(*parts, strict=True))
    return Collection(views_, voxels, points, inside, torch.arange(count) % len(categories))


def _run(batches: list[list[tuple[str, int, int, Framing]]], processes: int) -> Iterator[tuple[NDArray, ...]]:
    if processes == 1:
        yield from map(_examples, batches)
        return
    with ProcessPoolExecutor(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(_examples, batches)


def _examples(batch: list[tuple[str, int, int, Framing]]) -> tuple[NDArray, ...]:
    shapes, views, points = [], [], []
    for category, seed, count, framing in batch:
        shape = procedural.sample(category, seed)
        random = np.random.default_rng([seed, 1])
        shapes.append(shape)
        ink = [prepare(draw(shape, random_camera(random), random), framing, IMAGE_SIZE) for _ in range(count)]
        views.append(np.round(np.stack(ink) * 255).astype(np.uint8))
        points.append(_scatter(shape, random))
    union, rows = Union(shapes), torch.arange(len(shapes))
    scattered = torch.from_numpy(np.stack(points)).half()
    lattice = Lattice(VOXELS)
    ijk = torch.cartesian_prod(*[torch.arange(VOXELS)] * 3)
    samples = lattice.positions(lattice.keys(0, ijk))
    voxels = torch.cat([union.contains(rows[row : row + 1], samples[None]) for row in range(len(rows))])
    inside = union.contains(rows, scattered.float())
    return np.stack(views), _pack(voxels), scattered.numpy(), _pack(inside)


def random_camera(random: Generator) -> Camera:
    """As in 3D-R2N2's renderings: any azimuth, looking slightly down, a field of view near 25°."""
    return Camera(
        azimuth=random.uniform(0, 360),
        elevation=random.uniform(8, 38),
        distance=random.uniform(2.4, 3.4),
        field_of_view=random.uniform(24, 30),
    )


def draw(shape: Shape, camera: Camera, random: Generator, size: int = 192, supersample: int = 1) -> Picture:
    """A picture of the object in random light."""
    vertices, faces, colors = shape.surface()
    side = np.radians(camera.azimuth + random.uniform(-80, 80))
    light = (float(np.sin(side)), float(random.uniform(0.5, 1.6)), float(-np.cos(side)))
    brightness = random.uniform(0.8, 1.15)
    rgba = render(
        vertices, faces, camera, size, colors=np.clip(colors * brightness, 0, 1), light=light,
        ambient=random.uniform(0.3, 0.55), supersample=supersample,
    )  # fmt: skip
    return Picture(rgba)


def _scatter(shape: Shape, random: Generator) -> NDArray[np.float32]:
    """POINTS points float32[POINTS, 3] in random order: near the surface by area, and anywhere in the cube."""
    vertices, faces, _ = shape.surface()
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    near = POINTS * 3 // 4
    chosen = random.choice(len(faces), near, p=area / area.sum())
    u, v = random.random((2, near, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    on_surface = a[chosen] + u * (b - a)[chosen] + v * (c - a)[chosen]
    spread = random.choice(_NEAR, (near, 1))
    points = np.concatenate(
        [on_surface + random.normal(size=(near, 3)) * spread, random.uniform(-0.5, 0.5, (POINTS - near, 3))]
    )
    return random.permutation(np.clip(points, -0.5, 0.5)).astype(np.float32)


def _pack(labels: Tensor) -> NDArray[np.uint8]:
    return np.packbits(labels.numpy(), axis=1)


def _unpack(packed: Tensor) -> Tensor:
    """float32[B, 8·N] of zeros and ones from bits uint8[B, N], most significant first, on the tensor's device."""
    shifts = torch.arange(7, -1, -1, device=packed.device, dtype=torch.uint8)
    return ((packed.unsqueeze(-1) >> shifts) & 1).flatten(1).float()
