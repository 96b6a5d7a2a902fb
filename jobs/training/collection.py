"""The examples that training sees: for each object some views, a voxel grid and labelled points.

Works on: made-up objects of `procedural`, traced and queried once, and then held in memory. Knows nothing about
networks or losses.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from cluster import memory
from jobs.training import procedural
from jobs.training.fields import Fields
from jobs.training.looks import Looks, random_looks
from jobs.training.shape import Shape
from jobs.training.tracer import random_camera, trace
from workers.encoder import IMAGE_SIZE
from workers.images import Framing, Picture, prepare
from workers.render import Camera

VOXELS = 64
POINTS = 8192  # a shape: a quarter anywhere in the cube, the rest near the surface
_NEAR = (0.007, 0.03)  # standard deviations, in object units, of the distance from the surface along each axis
_BATCH = 8  # objects that are traced together on a CPU; on a device it is eight times that
_TRACED = 128  # pixels of a picture before it is framed


@dataclass(frozen=True)
class Collection:
    """`count` objects. Views uint8[count, views, 128, 128] (ink, 0 = background), voxels packed
    uint8[count, 64·64·64/8], points float16[count, POINTS, 3] in the frame and their labels packed
    uint8[count, POINTS/8]. `categories` int64[count] indexes `names`; `ids` has one an object. The tensors may be
    mapped files.
    """

    views: Tensor
    voxels: Tensor
    points: Tensor
    inside: Tensor
    categories: Tensor
    names: tuple[str, ...]
    ids: tuple[str, ...]

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
    categories: Sequence[str],
    count: int,
    views: int,
    framing: Framing,
    *,
    seed: int,
    device: str = "cpu",
    processes: int = 1,
) -> Collection:
    """Objects `seed`, `seed + 1`, … of the categories in turn, made on `device` or, on a CPU, by so many processes.

    The same request gives the same collection on one kind of device.
    """
    items = [(categories[n % len(categories)], seed + n) for n in range(count)]
    size = _BATCH if device == "cpu" else 8 * _BATCH
    batches = [_Request(items[start : start + size], views, framing, device) for start in range(0, count, size)]
    parts = list(_run(batches, processes if device == "cpu" else 1))
    views_, voxels, points, inside = (torch.from_numpy(np.concatenate(column)) for column in zip(*parts, strict=True))
    numbers = torch.arange(count) % len(categories)
    ids = tuple(f"{category}/{number}" for category, number in items)
    return Collection(views_, voxels, points, inside, numbers, tuple(categories), ids)


@dataclass(frozen=True)
class _Request:
    items: list[tuple[str, int]]  # category and seed
    views: int
    framing: Framing
    device: str


def _run(batches: list[_Request], processes: int) -> Iterator[tuple[NDArray, ...]]:
    if processes == 1:
        yield from map(_examples, batches)
        return
    with ProcessPoolExecutor(processes, initializer=_start) as pool:
        yield from pool.map(_examples, batches)


def _start() -> None:
    torch.set_num_threads(1)
    memory.keep_freed()


@torch.inference_mode()
def _examples(request: _Request) -> tuple[NDArray, ...]:
    shapes = [procedural.sample(category, seed) for category, seed in request.items]
    fields, rows = Fields(shapes, request.device), torch.arange(len(shapes), device=request.device)
    volume = fields.volume(rows, VOXELS)
    points = scatter(fields, volume, [seed for _, seed in request.items])
    inside = fields.contains(rows, points.float())

    cameras, looks = [], []
    for shape, grid, (_, seed) in zip(shapes, volume, request.items, strict=True):
        random = np.random.default_rng([seed, 1])
        cells = (_surface(grid).cpu().numpy() + 0.5) / VOXELS - 0.5
        for _ in range(request.views):
            camera = random_camera(random)
            looks.append(random_looks(random, _paints(shape), camera.azimuth))
            cameras.append(_closer(camera, cells) if request.framing.mode == "fit" else camera)
    seen = rows.repeat_interleave(request.views)
    pictures = trace(fields, seen, cameras, Looks.stack(looks, request.device), _TRACED).cpu().numpy()
    ink = np.stack([prepare(Picture(rgba), request.framing, IMAGE_SIZE) for rgba in pictures])
    views = np.round(ink * 255).astype(np.uint8).reshape(len(shapes), request.views, IMAGE_SIZE, IMAGE_SIZE)
    return views, _pack(volume.flatten(1) < 0), points.cpu().numpy(), _pack(inside)


def _surface(volume: Tensor) -> Tensor:
    """The cells int64[K, 3] that the surface may pass through, of the field at a lattice's samples."""
    return (volume.abs() < 3**0.5 / 2 / len(volume)).nonzero()


def _closer(camera: Camera, cells: NDArray[np.float64]) -> Camera:
    """The same view with a field of view that the object, of which `cells` [K, 3] are the surface, just fills."""
    position, axes = camera.axes()
    right, up, depth = axes @ (cells - position).T
    tangent = max(np.abs(right / depth).max(), np.abs(up / depth).max()) + 1 / VOXELS / camera.distance
    return replace(camera, field_of_view=float(2 * np.degrees(np.arctan(tangent))))


def _paints(shape: Shape) -> NDArray[np.float32]:
    return np.array([solid.color for solid in shape.solids], np.float32)


def scatter(fields: Fields, volume: Tensor, seeds: Sequence[int]) -> Tensor:
    """Points float16[B, POINTS, 3] of all the shapes, in random order: about the surface, and anywhere in the cube.

    `volume` float32[B, N, N, N] is the field at the samples of a lattice. A point begins anywhere in a cell that the
    surface may pass through, goes to the surface and is moved at random. Cells have the same share of the points each,
    but for those of parts about two cells thick or less, which have four times as many: legs and slats are a small part
    of the surface and what a network loses first.
    """
    side, near, device = volume.shape[1], POINTS * 3 // 4, volume.device
    begun, noise, anywhere, order = [], [], [], []
    for grid, seed in zip(volume, seeds, strict=True):
        random = torch.Generator(device).manual_seed(seed)
        cells = _surface(grid)
        thin = _deepest(grid)[cells.unbind(1)] < 1 / side
        chosen = torch.multinomial(1 + 3 * thin.float(), near, replacement=True, generator=random)
        begun.append((cells[chosen] + torch.rand(near, 3, generator=random, device=device)) / side - 0.5)
        spread = torch.randint(len(_NEAR), (near, 1), generator=random, device=device)
        noise.append(torch.randn(near, 3, generator=random, device=device) * torch.tensor(_NEAR, device=device)[spread])
        anywhere.append(torch.rand(POINTS - near, 3, generator=random, device=device) - 0.5)
        order.append(torch.randperm(POINTS, generator=random, device=device))
    points = torch.stack(begun)
    slope, value = fields.select(torch.arange(len(volume), device=device)).slope(points.movedim(-1, 0))
    points -= (slope * (value / slope.square().sum(0).clamp_min(0.1))).movedim(0, -1)
    points = torch.cat([points + torch.stack(noise), torch.stack(anywhere)], dim=1).clamp_(-0.5, 0.5)
    return points.gather(1, torch.stack(order)[..., None].expand(-1, -1, 3)).half()


def _deepest(volume: Tensor) -> Tensor:
    """How deep the object is somewhere within two samples of each, along every axis."""
    depth = -volume
    for axis in range(3):
        shifted = depth.clone()
        for step in (1, 2):
            rest = len(volume) - step
            for here, there in ((0, step), (step, 0)):
                part = shifted.narrow(axis, here, rest)
                torch.maximum(part, depth.narrow(axis, there, rest), out=part)
        depth = shifted
    return depth


def draw(shape: Shape, camera: Camera, random: Generator, size: int = 192) -> Picture:
    """A picture of the object in random paints and light; `size` is a multiple of 8."""
    looks = random_looks(random, _paints(shape), camera.azimuth)
    return Picture(trace(Fields([shape]), torch.tensor([0]), [camera], looks, size)[0].numpy())


def _pack(labels: Tensor) -> NDArray[np.uint8]:
    return np.packbits(labels.cpu().numpy(), axis=1)


def _unpack(packed: Tensor) -> Tensor:
    """float32[B, 8·N] of zeros and ones from bits uint8[B, N], most significant first, on the tensor's device."""
    shifts = torch.arange(7, -1, -1, device=packed.device, dtype=torch.uint8)
    return ((packed.unsqueeze(-1) >> shifts) & 1).flatten(1).float()
