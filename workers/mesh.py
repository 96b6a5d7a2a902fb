"""Triangles: a sparse field becomes a closed mesh, which is checked and written as a file's bytes.

Works on: sparse fields and arrays of vertices and faces. Knows nothing about decoders, images or where files go.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import Any, Literal

import mcubes
import numpy as np
import trimesh
from trimesh.visual.material import PBRMaterial

from workers.failure import ErrorCode, ItemError
from workers.field import SparseField
from workers.render import vertex_normals

Format = Literal["glb", "obj", "ply", "stl"]

BLOCK = 8  # cells an axis of what marching cubes sees at once: measured, 16 and 32 are slower
BATCH = 2048  # blocks laid out at once: 1.4 MiB of signs

# How near a vertex comes to the ends of its lattice edge, in edges. At 1024 samples an axis that is 4.9e-6, a
# hundred times the spacing of float32 at 0.5, so that no two vertices coincide.
NEAREST = 0.005

# What a glTF buffer view holds: ELEMENT_ARRAY_BUFFER and ARRAY_BUFFER (glTF 2.0, 5.11.5).
_INDICES, _ATTRIBUTES = 34963, 34962

NEUTRAL = PBRMaterial(
    name="neutral", baseColorFactor=(184, 184, 184, 255), metallicFactor=0.0, roughnessFactor=0.8, doubleSided=False
)


@dataclass(frozen=True)
class Mesh:
    """vertices: float32[V, 3] in the frame; faces: int32[F, 3], counter-clockwise seen from outside."""

    vertices: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True)
class MeshReport:
    """What the manifest says of a mesh. Bounds: the least x, y, z, then the greatest; volume: frame units cubed."""

    vertices: int
    faces: int
    watertight: bool
    winding_consistent: bool
    volume: float
    bounds: tuple[float, float, float, float, float, float]
    euler_number: int


def build(field: SparseField) -> Mesh:
    """Marching cubes on the blocks that hold surface, welded: the mesh that the whole lattice would give.

    Marching cubes sees signs alone, so it puts every vertex in the middle of a lattice edge, which names the edge
    exactly. Vertices are welded by that name, and only then moved to where the field is zero, by a formula
    that does not depend on the block. Vertices are sorted by their edge, faces by block; memory follows the surface.
    No edge has other than two faces: the table of PyMCubes resolves ambiguous faces alike from both sides.
    """
    names, faces, count = [np.empty(0, np.int64)], [np.empty((0, 3), np.int64)], 0
    for middles, corners in _march(field):
        x, y, z = middles.T
        names.append((x * (2 * field.resolution + 4) + y) * (2 * field.resolution + 4) + z)
        faces.append(corners + count)
        count += len(middles)
    name, vertex = np.unique(np.concatenate(names), return_inverse=True)
    return Mesh(_place(field, name), vertex[np.concatenate(faces)].astype(np.int32))


def check(mesh: Mesh) -> MeshReport:
    """Measure a mesh with trimesh; an empty one is reported as not watertight."""
    if not len(mesh.faces):
        return MeshReport(len(mesh.vertices), 0, False, False, 0.0, (0.0,) * 6, 0)
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    watertight = bool(solid.is_watertight)
    # Where each edge has two faces and each vertex some, counting edges needs no second sort of them.
    closed = watertight and bool(solid.referenced_vertices.all())
    # By the divergence theorem; trimesh's own volume comes with moments of inertia, which cost more than all else.
    volume = float((solid.triangles[:, 0] * solid.triangles_cross).sum()) / 6
    euler = len(mesh.vertices) - len(mesh.faces) // 2 if closed else int(solid.euler_number)
    x0, y0, z0, x1, y1, z1 = (float(v) for v in solid.bounds.ravel())
    return MeshReport(
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
        watertight=watertight,
        winding_consistent=bool(solid.is_winding_consistent),
        volume=volume,
        bounds=(x0, y0, z0, x1, y1, z1),
        euler_number=euler,
    )


def verify(report: MeshReport) -> None:
    """Raises ItemError: NO_SURFACE for an empty mesh, MESH_NOT_WATERTIGHT for one that encloses no volume."""
    if not report.faces:
        raise ItemError(
            ErrorCode.NO_SURFACE,
            "the decoder's field never crosses the threshold, so there is no surface; check that the image shows "
            "an object of the weights' category, or lower the threshold",
        )
    if not (report.watertight and report.winding_consistent):
        raise ItemError(
            ErrorCode.MESH_NOT_WATERTIGHT,
            f"the mesh of {report.faces} faces has an edge that is not shared by two faces in opposite directions",
        )
    if report.volume <= 0:
        raise ItemError(
            ErrorCode.MESH_NOT_WATERTIGHT,
            f"the mesh of {report.faces} faces encloses a volume of {report.volume:.3g}, which must be positive",
        )


def export(
    mesh: Mesh, format: Format, *, normals: bool | None = None, extras: Mapping[str, str | int | None] | None = None
) -> bytes:
    """A file's bytes, the same for the same arguments; positions are float32 (OBJ: text of eight decimals).

    GLB has a neutral material, lit from outside only, and with `extras` these as the asset's and as the node's.
    `normals`, which None writes to GLB alone and STL has no place for, are unit vectors at the vertices, weighted by
    area, so that viewers shade smoothly.
    """
    with_normals = format == "glb" if normals is None else normals
    solid = trimesh.Trimesh(
        mesh.vertices, mesh.faces, vertex_normals=_normals(mesh) if with_normals else None, process=False
    )
    options: dict[str, Any] = {}
    if format == "glb":
        solid.visual = trimesh.visual.TextureVisuals(material=NEUTRAL)
        options = {"include_normals": with_normals, "tree_postprocessor": partial(_describe, extras=extras)}
    elif format == "obj":
        options = {"include_normals": with_normals}
    elif format == "ply":
        options = {"vertex_normal": with_normals}
    written = solid.export(file_type=format, **options)
    return written if isinstance(written, bytes) else str(written).encode()


def _describe(tree: dict[str, Any], extras: Mapping[str, str | int | None] | None) -> None:
    """Complete a glTF tree, in place, by what trimesh leaves out."""
    (shape,) = tree["meshes"]
    del shape["extras"]  # an empty one
    (primitive,) = shape["primitives"]
    for accessor in (primitive["indices"], *primitive["attributes"].values()):
        view = tree["bufferViews"][tree["accessors"][accessor]["bufferView"]]
        view["target"] = _INDICES if accessor == primitive["indices"] else _ATTRIBUTES
    if extras:
        tree["asset"]["extras"] = dict(extras)
        tree["nodes"][0]["extras"] = dict(extras)  # which Blender and three.js show with the object


def _march(field: SparseField) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Marching cubes by batches of blocks: vertices in half steps from the padding's corner, int64[V, 3]; faces."""
    block, corner, inside = _blocks(field)
    side = BLOCK + 1
    found, first = np.unique(block, return_index=True)
    origins = np.stack(np.unravel_index(found, (_per_axis(field),) * 3), axis=1) * 2 * BLOCK
    ends = np.append(first, len(block))
    for start in range(0, len(found), BATCH):
        stop = min(start + BATCH, len(found))
        points = slice(ends[start], ends[stop])
        signs = np.zeros((stop - start, side**3), np.int8)
        place = np.searchsorted(found[start:stop], block[points])
        signs[place, corner[points]] = np.where(inside[points], 1, -1)
        crossed = (signs.min(axis=1) < 0) & (signs.max(axis=1) > 0)
        signs = _fill(signs[crossed].reshape(-1, side, side, side))
        pieces = [mcubes.marching_cubes(piece, 0.0) for piece in signs]
        if not pieces:
            continue
        counts = [len(vertices) for vertices, _ in pieces]
        middles = np.concatenate([vertices for vertices, _ in pieces]) * 2
        shift = np.repeat(np.cumsum([0, *counts[:-1]]), [len(faces) for _, faces in pieces])
        faces = np.concatenate([faces for _, faces in pieces]).astype(np.int64) + shift[:, None]
        yield middles.astype(np.int64) + np.repeat(origins[start:stop][crossed], counts, axis=0), faces


def _per_axis(field: SparseField) -> int:
    """Blocks along an axis: enough for the resolution + 1 cells between the padding's two sides."""
    return -(-(field.resolution + 1) // BLOCK)


def _blocks(field: SparseField) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points of every block, sorted by block: its number, the index in its (BLOCK + 1)³ corners, if inside.

    Neighbouring blocks share the corners between them, so that every cell belongs to exactly one.
    """
    per_axis = _per_axis(field)
    ijk = np.unravel_index(field.indices, (field.resolution + 2,) * 3)
    block, local = zip(*(np.divmod(index.astype(np.int32), BLOCK) for index in ijk), strict=True)
    parts = []
    for shared in product((0, 1), repeat=3):  # 1: as the last corner along that axis of the block before
        mine = np.logical_and.reduce(
            [(b > 0) & (c == 0) if last else b < per_axis for b, c, last in zip(block, local, shared, strict=True)]
        )
        number, corner = np.zeros((2, np.count_nonzero(mine)), np.int32)
        for b, c, last in zip(block, local, shared, strict=True):
            number = number * per_axis + (b[mine] - last)
            corner = corner * (BLOCK + 1) + (c[mine] + BLOCK * last)
        parts.append((number, corner, field.values[mine] > 0))
    number, corner, inside = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(number, kind="stable")
    return number[order], corner[order], inside[order]


def _fill(signs: np.ndarray) -> np.ndarray:
    """Give signs to the points of blocks int8[B, x, y, z] that have none, in place.

    Such a point is no corner of a crossed cell, so it has the sign of all its neighbours (`SparseField`: closed).
    Hence it has the sign of the nearest point along z that is known, from either side; where that row has none,
    the sign of the row beside it along y; where that plane has none, of the plane beside it along x.
    """
    for axis in (3, 2, 1):
        planes = np.moveaxis(signs, axis, 0)
        for order in (planes, planes[::-1]):
            for before, plane in pairwise(order):
                np.copyto(plane, before, where=plane == 0)
    return signs


def _place(field: SparseField, name: np.ndarray) -> np.ndarray:
    """Vertices float32[V, 3] where the field is zero: at its crossings, or as if it were linear along an edge."""
    m = field.resolution + 2
    middle = np.stack(np.unravel_index(name, (2 * m,) * 3), axis=1)
    along = middle % 2  # one in the direction of the edge
    low = middle // 2
    if field.crossings is None:
        indices = (np.ravel_multi_index(tuple(end.T), (m,) * 3) for end in (low, low + along))
        first, last = (field.values[np.searchsorted(field.indices, index)].astype(np.float64) for index in indices)
        t = first / (first - last)
    else:
        t = field.crossings.astype(np.float64)
    t = np.clip(t, NEAREST, 1 - NEAREST)
    return ((low + along * t[:, None] - 0.5) / field.resolution - 0.5).astype(np.float32)


def _normals(mesh: Mesh) -> np.ndarray:
    """Unit normals float64[V, 3]: the mean of a vertex's faces, weighted by their area."""
    normals = vertex_normals(mesh.vertices, mesh.faces)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals[length[:, 0] == 0] = (0, 1, 0)  # opposite faces cancel; the format wants a unit vector even so
    return normals / np.where(length > 0, length, 1)
