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
from jobs.training.fields import Fields, Shape
from workers.encoder import IMAGE_SIZE
from workers.images import Framing, Picture, prepare
from workers.render import Camera, render, vertex_normals

VOXELS = 64
POINTS = 8192  # a shape: a quarter anywhere in the cube, the rest near the surface
_NEAR = (0.004, 0.03)  # standard deviations, in object units, of the noise on a place in a cell of the surface


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
    shapes = [procedural.sample(category, seed) for category, seed, _, _ in batch]
    views = []
    for shape, (_, seed, count, framing) in zip(shapes, batch, strict=True):
        random = np.random.default_rng([seed, 1])
        drawn = _Drawn(shape)
        ink = [prepare(drawn.picture(random_camera(random), random), framing, IMAGE_SIZE) for _ in range(count)]
        views.append(np.round(np.stack(ink) * 255).astype(np.uint8))
    fields, rows = Fields(shapes), torch.arange(len(shapes))
    volume = fields.volume(rows, VOXELS)
    points = torch.stack([scatter(grid, seed) for grid, (_, seed, _, _) in zip(volume, batch, strict=True)])
    inside = fields.contains(rows, points.float())
    return np.stack(views), _pack(volume.flatten(1) < 0), points.numpy(), _pack(inside)


def scatter(volume: Tensor, seed: int) -> Tensor:
    """POINTS points float16[POINTS, 3] in random order: near the surface, and anywhere in the cube.

    `volume` float32[N, N, N] is the field at the samples of a lattice. Every cell that the surface may pass through has
    the same share of the points, so that a leg thinner than a cell has as many a length as the edge of a block.
    """
    random = torch.Generator(volume.device).manual_seed(seed)
    side = len(volume)
    cells = (volume.abs() < 3**0.5 / 2 / side).nonzero()
    near = POINTS * 3 // 4

    def uniform(count: int) -> Tensor:
        return torch.rand(count, 3, generator=random, device=volume.device)

    chosen = cells[torch.randint(len(cells), (near,), generator=random, device=volume.device)]
    spread = torch.tensor(_NEAR, device=volume.device)[
        torch.randint(len(_NEAR), (near, 1), generator=random, device=volume.device)
    ]
    noise = torch.randn(near, 3, generator=random, device=volume.device) * spread
    points = torch.cat([(chosen + uniform(near)) / side - 0.5 + noise, uniform(POINTS - near) - 0.5]).clamp_(-0.5, 0.5)
    return points[torch.randperm(POINTS, generator=random, device=volume.device)].half()


def random_camera(random: Generator) -> Camera:
    """As in 3D-R2N2's renderings: any azimuth, looking slightly down, a field of view near 25°."""
    return Camera(
        azimuth=random.uniform(0, 360),
        elevation=random.uniform(8, 38),
        distance=random.uniform(2.4, 3.4),
        field_of_view=random.uniform(24, 30),
    )


def draw(shape: Shape, camera: Camera, random: Generator, size: int = 192) -> Picture:
    """A picture of the object in random light."""
    return _Drawn(shape).picture(camera, random, size)


class _Drawn:
    """The painted mesh of an object, to be seen from several sides."""

    def __init__(self, shape: Shape) -> None:
        self.vertices, self.faces = shape.mesh(96)
        centers = torch.from_numpy(self.vertices[self.faces].mean(axis=1)).float()
        fields, row = Fields([shape]), torch.tensor([0])
        owner = fields.nearest(row, centers[None])[1][0]
        self.colors = fields.color[0][owner].numpy()

    def picture(self, camera: Camera, random: Generator, size: int = 192) -> Picture:
        side = np.radians(camera.azimuth + random.uniform(-80, 80))
        light = (float(np.sin(side)), float(random.uniform(0.5, 1.6)), float(-np.cos(side)))
        brightness = random.uniform(0.8, 1.15)
        rgba = render(
            self.vertices, self.faces, camera, size, colors=np.clip(self.colors * brightness, 0, 1), light=light,
            ambient=random.uniform(0.3, 0.55), normals=vertex_normals(self.vertices, self.faces), supersample=1,
        )  # fmt: skip
        return Picture(rgba)


def _pack(labels: Tensor) -> NDArray[np.uint8]:
    return np.packbits(labels.numpy(), axis=1)


def _unpack(packed: Tensor) -> Tensor:
    """float32[B, 8·N] of zeros and ones from bits uint8[B, N], most significant first, on the tensor's device."""
    shifts = torch.arange(7, -1, -1, device=packed.device, dtype=torch.uint8)
    return ((packed.unsqueeze(-1) >> shifts) & 1).flatten(1).float()
