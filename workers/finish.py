"""What is done to a mesh between marching cubes and its file.

Works on: closed meshes in the frame. Knows nothing about fields, formats or where files go.
"""

import numpy as np

from workers.mesh import Mesh
from workers.messages import UpAxis


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
