"""Shapes to compare: what a network made, what a baseline says, and the truth.

Works on: meshes and lattices in the project's frame, and voxels as 3D-R2N2 has them. Knows nothing about networks,
pictures or reports. All that is here travels between processes.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import igl
import mcubes
import numpy as np
from numpy.typing import NDArray

from jobs.evaluation import metrics
from jobs.training import procedural
from jobs.training.collection import VOXELS
from workers.field import SparseField
from workers.mesh import Mesh, build, check, verify
from workers.simplify import smoothed

DISTANCES = ("chamfer_l1", "chamfer_l2", "f_score", "normal_consistency")
MEASURES = ("iou", *DISTANCES)
_STEPS = 10  # of Taubin's filter over the stairs of voxels: they are gone, and no vertex has moved by half a voxel


@dataclass(frozen=True, eq=False)
class Body:
    """A closed mesh in the frame, and which samples of the 64³ lattice lie in it: `inside` bool[64, 64, 64]."""

    mesh: Mesh
    inside: NDArray[np.bool_]


def of_field(field: SparseField) -> Body:
    """What a run makes of a field: the mesh, by the checks that it must pass. Raises ItemError as `verify` does."""
    mesh = build(field)
    verify(check(mesh))
    return Body(mesh, field.inside())


def of_lattice(values: NDArray) -> Body:
    """Marching cubes over samples float[64, 64, 64], positive inside; of occupancies bool, without their stairs."""
    inside = values > 0
    mesh = _marched(values if values.dtype != bool else inside - 0.5)
    return Body(smoothed(mesh, _STEPS) if values.dtype == bool else mesh, inside)


def _marched(values: NDArray) -> Mesh:
    """The zero surface of samples float[N, N, N] of an N³ lattice, closed at its border."""
    padded = np.pad(np.asarray(values, np.float64), 1, constant_values=-0.5)
    vertices, faces = mcubes.marching_cubes(padded, 0.0)
    return Mesh(((vertices - 0.5) / len(values) - 0.5).astype(np.float32), faces.astype(np.int32))


class Truth(Protocol):
    """What a picture's object really is."""

    def body(self) -> Body:
        """To look at, and to be compared as a baseline."""

    def iou(self, body: Body) -> float:
        """Volumetric IoU."""

    def distances(self, bodies: list[Body], seed: int) -> list[dict[str, float]]:
        """`DISTANCES` of each body, or of each nothing, where this truth has no surface. `seed` is of the points."""


@dataclass(frozen=True, eq=False)
class LatticeTruth:
    """Occupancy at the samples of the 64³ lattice, packed uint8[64³/8]. Of a made-up object, its category and seed in
    `made`, the surface is that of its field; else that of the lattice without its stairs."""

    packed: NDArray[np.uint8]
    made: tuple[str, int] | None = None

    def body(self) -> Body:
        if self.made is None:
            return of_lattice(self.inside)
        vertices, faces = procedural.sample(*self.made).mesh()
        return Body(Mesh(vertices.astype(np.float32), faces.astype(np.int32)), self.inside)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """bool[64, 64, 64]"""
        return np.unpackbits(self.packed).astype(bool).reshape(VOXELS, VOXELS, VOXELS)

    def iou(self, body: Body) -> float:
        """Over all samples."""
        return metrics.iou(body.inside, self.inside)

    def distances(self, bodies: list[Body], seed: int) -> list[dict[str, float]]:
        """In the frame, between 100,000 points of each surface."""
        true = self.body().mesh
        surface = metrics.sample(true.vertices, true.faces, metrics.POINTS, seed)
        longest = float(np.ptp(true.vertices, axis=0).max())
        found = []
        for body in bodies:
            made = metrics.sample(body.mesh.vertices, body.mesh.faces, metrics.POINTS, seed + 1)
            far = metrics.compare(made, surface)
            found.append(
                {
                    "chamfer_l1": metrics.chamfer_l1(far, longest),
                    "chamfer_l2": metrics.chamfer_l2(metrics.compare(metrics.few(made), metrics.few(surface))),
                    "f_score": metrics.f_score(far, longest),
                    "normal_consistency": metrics.normal_consistency(far),
                }
            )
        return found


@dataclass(frozen=True, eq=False)
class VoxelTruth:
    """Voxels of a cube that the object's longest side spans, bool[n, n, n], filled: what 3D-R2N2 compares at 32³.

    Their axes are ShapeNetCore.v1's as binvox has them, +Y up and the front to +X; those of the frame are turned by
    −90° about +Y into them, (x, y, z) → (−z, y, x). Both are right-handed, so nothing is mirrored.
    """

    voxels: NDArray[np.bool_]

    def body(self) -> Body:
        # Into the frame by the inverse, and to its size: a bounding box of diagonal 1.
        mesh = _marched(np.flip(self.voxels.swapaxes(0, 2), axis=2) - 0.5)
        scale = 1 / np.linalg.norm(np.ptp(mesh.vertices, axis=0))
        placed = Mesh((mesh.vertices * scale).astype(np.float32), mesh.faces)
        return Body(placed, _inside(placed.vertices, placed.faces, VOXELS))

    def iou(self, body: Body) -> float:
        """With the voxels whose centres lie in the mesh, after its bounding box has been centred and scaled so that its
        longest side spans the cube."""
        return metrics.iou(self.voxelised(body.mesh), self.voxels)

    def distances(self, bodies: list[Body], seed: int) -> list[dict[str, float]]:
        """None: voxels this coarse have no surface to measure distances from."""
        return [{} for _ in bodies]

    def voxelised(self, mesh: Mesh) -> NDArray[np.bool_]:
        """bool[n, n, n]: a mesh in the frame as voxels of the cube."""
        turned = np.stack([-mesh.vertices[:, 2], mesh.vertices[:, 1], mesh.vertices[:, 0]], axis=1).astype(np.float64)
        low, high = turned.min(axis=0), turned.max(axis=0)
        return _inside((turned - (low + high) / 2) / (high - low).max(), mesh.faces, len(self.voxels))


def _inside(vertices: NDArray, faces: NDArray, side: int) -> NDArray[np.bool_]:
    """bool[side, side, side]: which voxels of the cube [-0.5, 0.5]³ have their centre in a closed mesh."""
    axis = (np.arange(side) + 0.5) / side - 0.5
    centres = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int64)
    winding: Any = igl.fast_winding_number(*corners, centres)
    return winding.reshape(side, side, side) > 0.5
