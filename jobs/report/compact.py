"""Meshes made small enough to lie beside a page by the thousand.

Works on: vertices and faces as NumPy arrays. Knows nothing about files or pages; `static/viewer.js` reads what
`encode` writes.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

MOST_FACES = 16_000  # of a mesh at 64³, and 50 kB of base64
_CELLS = 96  # along the longest side, where simplification starts
_STEPS = (1 << 12) - 1  # of a position along the longest side: 1/64 of a cell at 64³


def simplify(vertices: NDArray, faces: NDArray, most: int = MOST_FACES) -> tuple[NDArray, NDArray]:
    """A mesh of at most `most` faces that looks much the same; one that has no more is returned as it is.

    Vertices float[V, 3] in the same cell of a grid become their mean, and faces int[F, 3] that lose a corner go; the
    grid is as fine as the bound lets it be (Rossignac & Borrel, "Multi-resolution 3D approximations", 1993). It need
    not stay watertight.
    """
    if len(faces) <= most:
        return vertices, faces
    low, side = vertices.min(axis=0), np.ptp(vertices, axis=0).max()
    cells = _CELLS
    while True:
        place = np.minimum((vertices - low) * (cells / side), cells - 1).astype(np.int64)
        _, vertex = np.unique((place[:, 0] * cells + place[:, 1]) * cells + place[:, 2], return_inverse=True)
        corners = vertex[faces]
        kept = corners[(corners != np.roll(corners, 1, axis=1)).all(axis=1)]
        if len(kept) <= most:
            break
        cells = min(cells - 1, int(cells * np.sqrt(most / len(kept))))  # faces grow with the square of the cells
    weights = np.maximum(np.bincount(vertex), 1)
    means = np.stack([np.bincount(vertex, axis) for axis in vertices.T], axis=1) / weights[:, None]
    return means, kept


def encode(vertices: NDArray, faces: NDArray) -> bytes:
    """The mesh, its positions rounded to 1/4095 of its longest side, as zlib's deflate of little-endian

        uint32 V, F; float32 x, y, z of the least corner, length of a step;
        positions: differences of x from vertex to vertex, from 0 on, then of y, then of z, as two planes of bytes;
        corners: what each lacks to the least vertex not yet named, as three planes of bytes.

    Differences are zigzag: 0, −1, 1, −2 … are 0, 1, 2, 3 …; a plane has the lowest bytes, the next the bytes above.
    Vertices are in the order in which faces name them, those that none names are left out. So most bytes are small
    and alike: about 2.5 bytes a face after deflate.
    """
    _, first, vertex = np.unique(faces, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    corners = rank[vertex].ravel()
    named = np.asarray(vertices, np.float64)[np.unique(faces)[order]]
    low = named.min(axis=0, initial=np.inf) if len(named) else np.zeros(3)
    step = (np.ptp(named, axis=0).max() if len(named) else 0.0) / _STEPS or 1.0
    steps = np.round((named - low) / step).astype(np.int64)
    moves = np.diff(steps, axis=0, prepend=0).T.ravel()
    unnamed = np.maximum.accumulate(np.concatenate([[-1], corners[:-1]])) + 1 if len(corners) else corners
    head = np.array([len(named), len(faces)], "<u4").tobytes() + np.array([*low, step], "<f4").tobytes()
    return zlib.compress(head + _planes((moves << 1) ^ (moves >> 63), 2) + _planes(unnamed - corners, 3), 9)


def _planes(values: NDArray, count: int) -> bytes:
    return b"".join(((values >> 8 * plane) & 255).astype(np.uint8).tobytes() for plane in range(count))
