"""What training needs of one shape: pictures of it, its voxels, and points that are inside or not.

Works on: one shape that a source has loaded. Knows nothing about where it came from or where the result goes. The same
shape and seed give the same result.
"""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from jobs.training.failure import ShapeCode, ShapeError
from jobs.training.orientation import inside, outward, solid, welded
from jobs.training.sources import Examples, Geometry
from workers.render import Camera, render

# As collections have them; `dataset` asserts it. Importing them would bring PyTorch into every actor, and take longer
# than preparing several shapes does.
VOXELS, POINTS = 64, 8192
VIEWS, VIEW_SIZE = 24, 137  # as in 3D-R2N2's renderings
_ANYWHERE = POINTS // 4  # of the points; the others lie near the surface
NEAR = (0.007, 0.03)  # standard deviations of their distance from it along each axis, in object units
_FLAT = 1e-4  # of the diagonal: what has a thinner bounding box encloses nothing that a lattice could show
_CLOSE, _FAR = 1.04, 1.5  # times the distance from which the object just fills the picture
_OWN = 0.5  # share of the views in which a mesh with colours has them


@dataclass(frozen=True, eq=False, slots=True)
class Prepared:
    """`views` are VIEWS PNG files; `voxels` are packed bits of bool[64, 64, 64], x slowest; `points` is
    float16[POINTS, 3] and `inside` their labels as packed bits. `faces` and `share` (of the cube's volume that is
    inside) are for whoever looks at the collection; an HDF5 file's shape has no faces."""

    views: tuple[bytes, ...]
    voxels: bytes
    points: bytes
    inside: bytes
    faces: int | None
    share: float


def prepare(shape: Geometry | Examples, entry_id: str, seed: int) -> Prepared:
    """Raises ShapeError: EMPTY_MESH, DEGENERATE, ZERO_VOLUME. MemoryError."""
    random = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(entry_id.encode()).digest()[:8], "big")])
    return _chosen(shape, random) if isinstance(shape, Examples) else _sampled(shape, random)


def _chosen(shape: Examples, random: Generator) -> Prepared:
    """As many of the points that are there already as a collection has."""
    anywhere = random.permutation(np.resize(random.permutation(len(shape.anywhere)), _ANYWHERE))
    near = random.permutation(np.resize(random.permutation(len(shape.near)), POINTS - _ANYWHERE))
    points = np.concatenate([shape.anywhere[anywhere], shape.near[near]])
    labels = np.concatenate([shape.anywhere_inside[anywhere], shape.near_inside[near]])
    order = random.permutation(POINTS)
    return _packed(shape.views, shape.voxels, points[order].astype(np.float16), labels[order], None)


def _sampled(shape: Geometry, random: Generator) -> Prepared:
    vertices, faces, colors = normalised(shape)
    welded_vertices, corners, which = welded(vertices, faces)
    if not len(corners):
        raise ShapeError(ShapeCode.EMPTY_MESH, "It has no triangle with an area.")
    turned, sheets = outward(welded_vertices, corners)
    axis = (np.arange(VOXELS) + 0.5) / VOXELS - 0.5
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    points = scattered(welded_vertices, turned, random).astype(np.float16)
    whole = solid(welded_vertices, turned, sheets)
    labels = inside(*whole, np.concatenate([lattice, points.astype(np.float64)]))
    voxels = labels[: len(lattice)]
    if not voxels.any():
        raise ShapeError(
            ShapeCode.ZERO_VOLUME, "No sample of the 64³ lattice lies inside: it encloses no volume that could be seen."
        )
    views = shape.views
    if views is None:
        views = tuple(pictures(welded_vertices, turned, None if colors is None else colors[which], random))
    return _packed(views, voxels, points, labels[len(lattice) :], len(corners))


def normalised(shape: Geometry) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64] | None]:
    """Vertices in the project's frame, centred with a bounding-box diagonal of 1, those alone that a face has; faces;
    colours. Raises ShapeError (DEGENERATE)."""
    used, corners = np.unique(shape.faces, return_inverse=True)
    vertices, faces = shape.vertices[used], corners.reshape(-1, 3)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    with np.errstate(over="ignore"):
        size = high - low
        diagonal = float(np.linalg.norm(size))
    if not np.isfinite(diagonal) or diagonal <= 0 or size.min() < _FLAT * diagonal:
        sides = " × ".join(f"{side:.3g}" for side in size)
        raise ShapeError(ShapeCode.DEGENERATE, f"Its bounding box is flat or without bound: {sides}.")
    return (vertices - (low + high) / 2) / diagonal, faces, shape.colors


def scattered(vertices: NDArray, faces: NDArray, random: Generator) -> NDArray[np.float64]:
    """POINTS points float64[POINTS, 3] in random order: near the surface by area, and anywhere in the cube."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if not area.sum() > 0:
        raise ShapeError(ShapeCode.EMPTY_MESH, "It has no triangle with an area.")
    near = POINTS - _ANYWHERE
    chosen = random.choice(len(faces), near, p=area / area.sum())
    u, v = random.random((2, near, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    on_surface = a[chosen] + u * (b - a)[chosen] + v * (c - a)[chosen]
    moved = on_surface + random.normal(size=(near, 3)) * random.choice(NEAR, (near, 1))
    points = np.concatenate([moved, random.uniform(-0.5, 0.5, (_ANYWHERE, 3))])
    return random.permutation(np.clip(points, -0.5, 0.5))


def pictures(vertices: NDArray, faces: NDArray, colors: NDArray | None, random: Generator) -> list[bytes]:
    """VIEWS PNG files of VIEW_SIZE pixels a side, on a transparent background: any azimuth, looking slightly down, a
    field of view near 25°, in random light and of random materials. Both sides of a face are drawn."""
    both = np.concatenate([faces, faces[:, ::-1]])
    made = []
    for _ in range(VIEWS):
        camera = _camera(vertices, random)
        side = np.radians(camera.azimuth + random.uniform(-80, 80))
        light = (float(np.sin(side)), float(random.uniform(0.3, 1.6)), float(-np.cos(side)))
        painted = np.tile(_material(vertices, faces, colors, random), (2, 1))
        ambient = random.uniform(0.25, 0.6)
        rgba = render(vertices, both, camera, VIEW_SIZE, colors=painted, light=light, ambient=ambient, supersample=2)
        sink = io.BytesIO()
        Image.fromarray(rgba).save(sink, "PNG")
        made.append(sink.getvalue())
    return made


def _camera(vertices: NDArray, random: Generator) -> Camera:
    camera = Camera(
        azimuth=random.uniform(0, 360), elevation=random.uniform(8, 38), field_of_view=random.uniform(23, 28)
    )
    right, up, forward = camera.axes()[1] @ vertices.T
    spread = np.maximum(np.abs(right), np.abs(up)) / np.tan(np.radians(camera.field_of_view / 2))
    distance = float((spread - forward).max()) * random.uniform(_CLOSE, _FAR)
    return Camera(camera.azimuth, camera.elevation, distance, camera.field_of_view)


def _material(vertices: NDArray, faces: NDArray, colors: NDArray | None, random: Generator) -> NDArray[np.float64]:
    """float64[F, 3]: the mesh's own colours, or grey, dark, coloured or patterned ones."""
    if colors is not None and random.random() < _OWN:
        return np.clip(colors * random.uniform(0.8, 1.15), 0, 1)
    one = np.ones((len(faces), 3))
    match random.choice(["grey", "dark", "coloured", "patterned"], p=[0.35, 0.2, 0.2, 0.25]):
        case "grey":
            return one * random.uniform(0.35, 0.95)
        case "dark":
            return one * random.uniform(0.05, 0.25)
        case "coloured":
            return one * random.uniform(0.1, 0.95, 3)
    # Stripes along some direction, each face by its middle.
    middle = vertices[faces].mean(axis=1) @ (lambda axis: axis / np.linalg.norm(axis))(random.normal(size=3))
    first, second = random.uniform(0.05, 0.95, (2, 3))
    odd = np.floor(middle / random.uniform(0.03, 0.15)).astype(np.int64) % 2 == 1
    return np.where(odd[:, None], first, second)


def _packed(
    views: tuple[bytes, ...], voxels: NDArray, points: NDArray[np.float16], labels: NDArray, faces: int | None
) -> Prepared:
    bits = np.packbits(np.asarray(voxels, np.bool_).reshape(-1))
    share = float(np.asarray(voxels, np.bool_).mean())
    return Prepared(views, bits.tobytes(), points.tobytes(), np.packbits(labels).tobytes(), faces, share)
