"""What is done to a mesh between marching cubes and its file.

Works on: closed meshes in the frame. Knows nothing about fields, formats or where files go.
"""

from dataclasses import dataclass

import numpy as np

from workers.mesh import Mesh, check
from workers.messages import MeshOptions, UpAxis
from workers.simplify import simplified, smoothed


@dataclass(frozen=True)
class Finished:
    """A mesh and its levels of detail, coarser from one to the next, in a file's axes.

    `volume_change` is by which share smoothing and simplification changed the mesh's volume, None without them.
    """

    meshes: tuple[Mesh, ...]
    volume_change: float | None


def finish(mesh: Mesh, options: MeshOptions, size_m: float | None) -> Finished:
    """Smooth, simplify and place a closed mesh. Nothing that would open it is done: where there are more triangles
    than asked for, fewer were not to be had. An empty mesh stays empty."""
    if not len(mesh.faces):
        return Finished((mesh,) * (1 + len(options.lod)), None)
    made = smoothed(mesh, options.smooth)
    if options.faces is not None:
        made = simplified(made, options.faces)
    meshes = [made]
    for budget in options.lod:  # each from the one before, which has what it needs
        meshes.append(simplified(meshes[-1], budget))
    change = None
    if options.smooth or options.faces is not None:
        change = check(made).volume / check(mesh).volume - 1
    return Finished(tuple(place(one, options.up_axis, size_m) for one in meshes), change)


def place(mesh: Mesh, up_axis: UpAxis, size_m: float | None) -> Mesh:
    """The mesh in a file's axes; with `size_m` the longest side of its bounding box is so many metres."""
    vertices = turned(mesh.vertices, up_axis)
    if size_m is not None and len(vertices):
        scale = size_m / float(np.ptp(vertices.astype(np.float64), axis=0).max())
        vertices = (vertices * scale).astype(np.float32)
    return Mesh(vertices, mesh.faces)


def turned(vertices: np.ndarray, up_axis: UpAxis) -> np.ndarray:
    """Vertices float[V, 3] from the frame's axes to a file's, or back: both turns are half ones.

    The frame has +Y up and the front to −Z. With `up_axis` y a file has the front to +Z, as glTF 2.0 has it (section
    3.4). With z it has +Z up and the front to −Y, where front views in Blender and in CAD look from: it is what
    Blender's importers make of the former.
    """
    x, y, z = vertices.T
    return np.stack((-x, y, -z) if up_axis == "y" else (-x, z, y), axis=1) + vertices.dtype.type(0)  # -0 becomes 0
