"""Fewer triangles, and smoother ones: meshes that stay closed.

Works on: closed meshes. Knows nothing about fields, formats or why somebody wants it.
"""

import numpy as np

from workers.mesh import Mesh, check

_TRIES = 6  # with twice as many triangles each: 32 times the budget, then the mesh as it is

# Taubin, "A signal processing approach to fair surface design" (SIGGRAPH 95): a step of λ inwards, one of μ outwards,
# with 1/λ + 1/μ = the pass band's frequency, which he takes to be 0.1.
_INWARDS = 0.5
_OUTWARDS = 1 / (1 / _INWARDS - 0.1)  # −μ


def is_sound(mesh: Mesh) -> bool:
    """Whether it is closed, turned outwards, encloses a volume, and no two vertices are in the same place, so that it
    is closed for readers that join vertices, too."""
    report = check(mesh)
    closed = report.watertight and report.winding_consistent and report.volume > 0
    return closed and len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)


def simplified(mesh: Mesh, budget: int) -> Mesh:
    """At most `budget` triangles, by collapsing edges where quadrics say that it shows least (Garland and Heckbert,
    SIGGRAPH 97; libigl's implementation makes no collapse that would open the surface).

    Where no sound mesh of so few is found, the one of the fewest that is: holes and separate parts need triangles.
    """
    if len(mesh.faces) <= budget:
        return mesh
    import igl  # 4 MB, which only this option needs

    vertices = np.asfortranarray(mesh.vertices, np.float64)
    faces = np.asfortranarray(mesh.faces, np.int32)
    for doubled in range(_TRIES):
        target = budget << doubled
        if target >= len(faces):
            break
        kept, triangles, *_ = igl.qslim(vertices, faces, target)
        made = Mesh(np.ascontiguousarray(kept, np.float32), np.ascontiguousarray(triangles, np.int32))
        if is_sound(made):
            return made
    return mesh


def smoothed(mesh: Mesh, steps: int) -> Mesh:
    """Taubin's filter, which evens out ripples of a few edges' length and hardly shrinks what is larger.

    A mesh that would not stay sound comes back as it was.
    """
    if not steps:
        return mesh
    from scipy import sparse

    a, b, c = mesh.faces.T
    ends = np.concatenate([a, b, c]), np.concatenate([b, c, a])  # each edge once from either end, since it is closed
    size = len(mesh.vertices)
    joined = sparse.csr_array((np.ones(len(ends[0])), ends), (size, size))
    mean = sparse.diags_array(1 / joined.sum(axis=1)) @ joined
    vertices = mesh.vertices.astype(np.float64)
    for _ in range(steps):
        vertices += _INWARDS * (mean @ vertices - vertices)
        vertices -= _OUTWARDS * (mean @ vertices - vertices)
    made = Mesh(vertices.astype(np.float32), mesh.faces)
    return made if is_sound(made) else mesh
