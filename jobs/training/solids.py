"""Objects as unions of solid primitives: exact occupancy, and surfaces to draw.

Works on: boxes, prisms, cones and ellipsoids placed by affine maps. Knows nothing about what a chair is, about
pictures or about networks.

A primitive lives in its own cube [-1, 1]³. `prism`: |y| ≤ 1 and (x/s(y), z/s(y)) inside the unit superellipse of
exponent p, where the section shrinks from the bottom to the top by `taper`; p is 2 (round), 4 (rounded) or ∞
(a rectangle).
`ball`: the unit superellipsoid of exponent p. An affine map takes it to the object's frame.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

SEGMENTS = 24  # around a round section, for drawing only


@dataclass(frozen=True)
class Solid:
    """One primitive: `place` float[3, 4] maps its cube to the object; `color` is RGB in [0, 1]."""

    ball: bool
    exponent: float
    taper: tuple[float, float]  # of x and z, 0 = straight, → 1 = to an edge
    place: NDArray[np.float64]
    color: tuple[float, float, float] = (0.8, 0.8, 0.8)


@dataclass
class Shape:
    """A union of primitives being put together; `color` paints those that are added next."""

    solids: list[Solid] = field(default_factory=list)
    color: tuple[float, float, float] = (0.8, 0.8, 0.8)

    def box(
        self,
        center: ArrayLike,
        size: ArrayLike,
        *,
        taper: tuple[float, float] = (0.0, 0.0),
        exponent: float = np.inf,
        turn: NDArray | None = None,
        shear: tuple[float, float] | None = None,
    ) -> None:
        """A box (or, with a finite `exponent`, a rounded prism along y) of full `size` (x, y, z) about `center`.

        `turn` is a rotation matrix [3, 3]; `shear` (x, z) moves the top by that much against the bottom.
        """
        linear = np.diag(np.asarray(size, float) / 2)
        if shear is not None:
            linear[0, 1], linear[2, 1] = shear[0] / 2, shear[1] / 2
        self._add(False, exponent, taper, linear, center, turn)

    def ellipsoid(
        self, center: ArrayLike, size: ArrayLike, *, exponent: float = 2.0, turn: NDArray | None = None
    ) -> None:
        """An ellipsoid (exponent 2) or superellipsoid of full `size` about `center`."""
        self._add(True, exponent, (0.0, 0.0), np.diag(np.asarray(size, float) / 2), center, turn)

    def rod(
        self,
        start: ArrayLike,
        end: ArrayLike,
        thickness: float,
        *,
        end_thickness: float | None = None,
        exponent: float = 2.0,
    ) -> None:
        """A straight rod between two points, round or (exponent ∞) square, of the given full thickness(es)."""
        bottom, top = np.asarray(start, float), np.asarray(end, float)
        tip = thickness if end_thickness is None else end_thickness
        if tip > thickness:  # a taper shrinks from the bottom to the top
            bottom, top, thickness, tip = top, bottom, tip, thickness
        axis = top - bottom
        length = np.linalg.norm(axis)
        up = axis / length
        side = np.cross(up, [0.0, 0.0, 1.0]) if abs(up[2]) < 0.9 else np.cross(up, [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        frame = np.stack([side, up, np.cross(side, up)], axis=1)
        linear = frame @ np.diag([thickness / 2, length / 2, thickness / 2])
        shrink = 1 - tip / thickness
        self._add(False, exponent, (shrink, shrink), linear, (bottom + top) / 2, None)

    def mirrored(self, axis: int = 0) -> "Shape":
        """Adds the mirror image, through the plane where coordinate `axis` is 0, of everything off that plane."""
        flip = np.ones(3)
        flip[axis] = -1
        for solid in list(self.solids):
            if abs(solid.place[axis, 3]) > 1e-6:
                place = flip[:, None] * solid.place
                self.solids.append(Solid(solid.ball, solid.exponent, solid.taper, place, solid.color))
        return self

    def _add(
        self,
        ball: bool,
        exponent: float,
        taper: tuple[float, float],
        linear: NDArray,
        center: ArrayLike,
        turn: NDArray | None,
    ) -> None:
        if turn is not None:
            linear = np.asarray(turn) @ linear
        place = np.concatenate([linear, np.asarray(center, float)[:, None]], axis=1)
        self.solids.append(Solid(ball, float(exponent), (float(taper[0]), float(taper[1])), place, self.color))

    def normalised(self) -> "Shape":
        """The same object in the project's frame: centred, with a bounding-box diagonal of 1."""
        vertices, _, _ = self.surface()
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        scale = 1 / np.linalg.norm(high - low)
        moved = []
        for solid in self.solids:
            place = solid.place * scale
            place[:, 3] -= (low + high) / 2 * scale
            moved.append(Solid(solid.ball, solid.exponent, solid.taper, place, solid.color))
        return Shape(moved, self.color)

    def surface(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Triangles of every primitive: vertices float[V, 3], faces int[F, 3] (outward), colours float[F, 3]."""
        parts, faces, colors, offset = [], [], [], 0
        for solid in self.solids:
            local, triangles = _ball(solid.exponent) if solid.ball else _prism(solid.exponent, solid.taper)
            if np.linalg.det(solid.place[:, :3]) < 0:
                triangles = triangles[:, ::-1]
            parts.append(local @ solid.place[:, :3].T + solid.place[:, 3])
            faces.append(triangles + offset)
            colors.append(np.tile(solid.color, (len(triangles), 1)))
            offset += len(local)
        return np.concatenate(parts), np.concatenate(faces), np.concatenate(colors)


class Union:
    """Many shapes as tensors, so that their occupancies are one batched query on any device."""

    def __init__(self, shapes: list[Shape]) -> None:
        count = max(len(shape.solids) for shape in shapes)
        self.inverse = torch.zeros(len(shapes), count, 3, 4)
        self.taper = torch.zeros(len(shapes), count, 2)
        self.exponent = torch.full((len(shapes), count), torch.inf)
        self.ball = torch.zeros(len(shapes), count, dtype=torch.bool)
        self.inverse[:, :, :, 3] = 9.0  # an absent primitive maps every point to one outside its cube
        for row, shape in enumerate(shapes):
            for column, solid in enumerate(shape.solids):
                linear = np.linalg.inv(solid.place[:, :3])
                self.inverse[row, column, :, :3] = torch.from_numpy(linear)
                self.inverse[row, column, :, 3] = torch.from_numpy(-linear @ solid.place[:, 3])
                self.taper[row, column] = torch.tensor(solid.taper)
                self.exponent[row, column] = solid.exponent
                self.ball[row, column] = solid.ball

    def contains(self, rows: Tensor, points: Tensor) -> Tensor:
        """bool[B, P]: whether `points` float32[B, P, 3] lie in the shapes `rows` int64[B]; exact."""
        inside = torch.zeros(points.shape[:2], dtype=torch.bool)
        px, py, pz = (axis.contiguous() for axis in points.unbind(-1))
        for column in range(self.inverse.shape[1]):
            inverse = self.inverse[rows, column]
            used = ~(inverse[:, 0, 3] == 9.0)
            if not used.any():
                break
            along_x, height, along_z = (
                inverse[:, row, 0:1] * px + inverse[:, row, 1:2] * py + inverse[:, row, 2:3] * pz + inverse[:, row, 3:4]
                for row in range(3)
            )
            up = (height.clamp(-1, 1) + 1) / 2
            taper = self.taper[rows, column][:, None]
            x = (along_x / (1 - taper[..., 0] * up).clamp_min(1e-6)).square_()
            z = (along_z / (1 - taper[..., 1] * up).clamp_min(1e-6)).square_()
            y = torch.where(self.ball[rows, column][:, None], height.square(), 0.0)
            power = self.exponent[rows, column][:, None]
            superellipse = torch.where(power == 4, x * x + z * z + y * y, x + z + y) <= 1
            inside |= torch.where(power.isinf(), torch.maximum(x, z) <= 1, superellipse) & (height.abs() <= 1)
        return inside


def _section(exponent: float) -> NDArray:
    """Points (x, z) around the unit superellipse, counter-clockwise seen from +y (from z towards x)."""
    if np.isinf(exponent):
        return np.array([[-1.0, -1], [-1, 1], [1, 1], [1, -1]])
    angle = np.arange(SEGMENTS) * 2 * np.pi / SEGMENTS
    z, x = np.cos(angle), np.sin(angle)
    return np.stack([np.sign(x) * np.abs(x) ** (2 / exponent), np.sign(z) * np.abs(z) ** (2 / exponent)], axis=1)


def _prism(exponent: float, taper: tuple[float, float]) -> tuple[NDArray, NDArray]:
    ring = _section(exponent)
    count = len(ring)
    top = ring * (1 - np.asarray(taper))
    bottom = np.insert(ring, 1, -1.0, axis=1)
    vertices = np.concatenate([bottom, np.insert(top, 1, 1.0, axis=1), [[0, -1.0, 0], [0, 1.0, 0]]])
    here, there = np.arange(count), (np.arange(count) + 1) % count
    sides = [np.stack([here, there, there + count], 1), np.stack([here, there + count, here + count], 1)]
    caps = [
        np.stack([there, here, np.full(count, 2 * count)], 1),
        np.stack([here + count, there + count, np.full(count, 2 * count + 1)], 1),
    ]
    return vertices, np.concatenate(sides + caps)


def _ball(exponent: float) -> tuple[NDArray, NDArray]:
    rows = SEGMENTS // 2 + 1
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rows)
    radius, height = np.cos(latitude).clip(0), np.sin(latitude)
    rise = np.sign(height) * np.abs(height) ** (2 / exponent)
    ring = _section(exponent)
    flat = radius ** (2 / exponent)
    vertices = np.concatenate(
        [np.insert(ring * scale, 1, level, axis=1) for scale, level in zip(flat, rise, strict=True)]
    )
    here, there = np.arange(SEGMENTS), (np.arange(SEGMENTS) + 1) % SEGMENTS
    faces = []
    for row in range(rows - 1):
        low, high = row * SEGMENTS, (row + 1) * SEGMENTS
        faces += [
            np.stack([here + low, there + low, there + high], 1),
            np.stack([here + low, there + high, here + high], 1),
        ]
    return vertices, np.concatenate(faces)
