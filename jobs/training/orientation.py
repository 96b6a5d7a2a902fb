"""Which side of a stranger's faces is outside, so that winding numbers mean something.

Works on: triangle soups as NumPy arrays, in the project's frame. Knows nothing about files or what is asked of the
mesh afterwards.

Generalised winding numbers (Jacobson, Kavan & Sorkine-Hornung, "Robust Inside-Outside Segmentation using Generalized
Winding Numbers", SIGGRAPH 2013) bear holes, self-intersections and parts inside one another, but not faces that point
the wrong way: of a box with a random two fifths of its faces flipped, they find 6 % inside. In collections such as
ShapeNet that is the rule, and so are faces that are there twice, once for each side, which cancel. So vertices that
share a place become one, faces that share their corners become one, and each patch of faces that hang together is
turned to the side from which it is seen: the vote of Takayama et al., "A Simple Method for Correcting Facet
Orientations in Polygon Meshes Based on Ray Casting", JCGT 2014, but with pictures instead of random rays, so that it
is the same every time.

A sheet, such as a seat that is a single polygon, has no inside at all. Where it can be seen from both sides it is made
a slab as thick as a voxel, as the authors' voxels have it.
"""

import igl
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from workers.render import Camera, seen, vertex_normals

_GRID = 1 << 20  # places that differ by less than a millionth of the diagonal are one
_LOOKS = [
    *(Camera(azimuth, elevation, 4.0, 16.0) for elevation in (-35.0, 5.0, 40.0) for azimuth in range(15, 375, 60)),
    Camera(10.0, 85.0, 4.0, 16.0),
    Camera(10.0, -85.0, 4.0, 16.0),
]
_LOOK_SIZE = 192  # pixels a side
_CLEAR = 0.3  # of a patch's pixels, by which one side must lead
_SHARE = 0.1  # of a patch's pixels, from which on a part of it may be another body
SHEET = 1 / 64  # thickness, in object units, that a sheet is given: one that the 64³ lattice cannot miss


def welded(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> tuple[NDArray, NDArray, NDArray]:
    """Vertices float64[W, 3] of which no two share a place, faces int64[G, 3] of which no two share their corners and
    none has less than three, and the index int64[G] that each had. `vertices` must lie in [-0.5, 0.5]³."""
    cells = np.round((vertices + 0.5) * (_GRID - 1)).astype(np.int64)
    _, first, names = np.unique((cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2], True, True)
    corners = names[faces]
    ordered = np.sort(corners, axis=1)
    proper = (ordered[:, 0] != ordered[:, 1]) & (ordered[:, 1] != ordered[:, 2])
    which = np.flatnonzero(proper)
    # Three names of 21 bits fill an int64; more vertices than that need a slower comparison.
    if len(first) < 1 << 21:
        low, middle, high = ordered[which].T
        _, kept = np.unique((low << 42) | (middle << 21) | high, return_index=True)
    else:
        _, kept = np.unique(ordered[which], axis=0, return_index=True)
    which = which[np.sort(kept)]
    return vertices[first], corners[which], which


def outward(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`faces` of a welded mesh, turned so that the sides which can be seen from outside are the outsides; and which of
    them, bool[F], belong to a sheet: a patch with a rim that is seen from both sides alike.

    A patch that cannot be seen, or is seen from both sides alike, is turned so that it encloses a positive volume
    with the origin.
    """
    patched, patch = igl.bfs_orient(np.ascontiguousarray(faces))
    votes, pixels = np.zeros(len(faces)), np.zeros(len(faces))  # of each face
    for look in _LOOKS:
        nearest, shows = seen(vertices, patched, look, _LOOK_SIZE)
        votes += np.bincount(nearest, np.where(shows[nearest], 1.0, -1.0), len(faces))
        pixels += np.bincount(nearest, minlength=len(faces))
    patch = _parted(patched, patch, votes, pixels)
    count = int(patch.max()) + 1
    vote, weight = np.bincount(patch, votes, count), np.bincount(patch, pixels, count)
    a, b, c = (vertices[patched[:, corner]] for corner in range(3))
    volumes = np.bincount(patch, np.einsum("ij,ij->i", a, np.cross(b, c)), count)
    clear = np.abs(vote) > _CLEAR * weight
    wrong = np.where(clear, vote < 0, volumes < 0)
    turned: NDArray[np.int64] = np.where(wrong[patch][:, None], patched[:, ::-1], patched)
    return turned, (~clear & (weight > 0) & _rimmed(patched, patch, count))[patch]


def _parted(
    faces: NDArray[np.int64], patch: NDArray[np.int64], votes: NDArray[np.float64], pixels: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The patch int64[F] of each face, where bodies that touch are patches of their own.

    Two closed bodies with a common edge make one patch where a hole is at that edge, and one of the two is then inside
    out. So a patch is cut between neighbours whose votes contradict each other, and a part becomes a patch of its own
    that is a good share of what is seen of the whole. A face or two that are seen through a hole are not.
    """
    edges, ends = np.unique(_edges(faces), return_inverse=True)
    owners = np.argsort(ends, kind="stable")
    first = np.searchsorted(ends[owners], np.arange(len(edges)))
    two = np.flatnonzero(np.bincount(ends) == 2)
    one, other = owners[first[two]] // 3, owners[first[two] + 1] // 3
    side = np.sign(votes) * (np.abs(votes) > _CLEAR * pixels)
    while True:  # faces that are not seen, such as those where two bodies touch, go with their neighbours
        around = np.bincount(one, side[other], len(faces)) + np.bincount(other, side[one], len(faces))
        found = (side == 0) & (around != 0)
        if not found.any():
            break
        side[found] = np.sign(around[found])
    joined = (patch[one] == patch[other]) & (side[one] * side[other] >= 0)
    links = coo_array((np.ones(joined.sum()), (one[joined], other[joined])), shape=(len(faces), len(faces)))
    _, part = connected_components(links, directed=False)
    all_of_it = np.bincount(patch, pixels)[patch]
    own = np.bincount(part, pixels)[part] >= _SHARE * all_of_it
    return np.unique(np.where(own & (all_of_it > 0), len(faces) + part, patch), return_inverse=True)[1]


def solid(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], sheets: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The mesh with each sheet as a slab, SHEET thick: two skins, of which each faces away from the other."""
    if not sheets.any():
        return vertices, faces
    used, corners = np.unique(faces[sheets], return_inverse=True)
    corners = corners.reshape(-1, 3)
    places = vertices[used]
    normals = vertex_normals(places, corners)
    offset = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30) * (SHEET / 2)
    kept, over = len(vertices), len(vertices) + len(places)
    return (
        np.concatenate([vertices, places + offset, places - offset]),
        np.concatenate([faces[~sheets], corners + kept, corners[:, ::-1] + over]),
    )


def _rimmed(faces: NDArray[np.int64], patch: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """bool[count]: which patches have an edge that no other face shares."""
    _, edge, shared = np.unique(_edges(faces), return_inverse=True, return_counts=True)
    return np.bincount(patch.repeat(3), shared[edge] == 1, count) > 0


def _edges(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """A name int64[3·F] of each face's three edges: the same for all faces that share it."""
    ends = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return np.asarray(ends[:, 0] * (int(faces.max()) + 1) + ends[:, 1])


def inside(vertices: NDArray[np.float64], faces: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool[P]: whether points float64[P, 3] lie inside an outward mesh, closed or not: winding number above ½."""
    winding = igl.fast_winding_number(
        np.ascontiguousarray(vertices), np.ascontiguousarray(faces), np.ascontiguousarray(points)
    )
    return np.asarray(np.abs(winding) > 0.5)
