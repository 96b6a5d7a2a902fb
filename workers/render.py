"""Pictures of triangle meshes, without a display or a GPU.

Works on: vertices and faces as NumPy arrays, and one pinhole camera that looks at the origin. Knows nothing about
files, networks or where the mesh came from. Training renders its views with it; the demo draws what it made.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Points = tuple[NDArray, NDArray]  # x and y on the screen, float[T] each


@dataclass(frozen=True)
class Camera:
    """A camera on a sphere around the origin, looking at it, +Y up.

    `azimuth` in degrees: 0 looks at the object's front (from −Z), growing towards +X. `elevation` in degrees above
    the XZ plane, strictly between −90 and 90. `distance` in object units; `field_of_view` in degrees, both axes.
    """

    azimuth: float = 30.0
    elevation: float = 25.0
    distance: float = 2.6
    field_of_view: float = 25.0

    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The camera's position [3] and its right, up and forward axes as rows [3, 3]."""
        azimuth, elevation = np.radians(self.azimuth), np.radians(self.elevation)
        outward = np.array(
            [
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
                -np.cos(elevation) * np.cos(azimuth),
            ]
        )
        right = np.cross(-outward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        return outward * self.distance, np.stack([right, np.cross(right, -outward), -outward])


def vertex_normals(vertices: NDArray, faces: NDArray) -> NDArray[np.float64]:
    """float64[V, 3]: at each vertex the sum of its faces' normals, each as long as twice the face's area."""
    corners = np.ascontiguousarray(np.transpose(faces))
    sums = np.zeros((3, len(vertices)))
    for axis, areas in enumerate(_face_normals(_columns(vertices), *corners)):
        for corner in corners:
            sums[axis] += np.bincount(corner, areas, len(vertices))
    return sums.T


def render(
    vertices: NDArray,
    faces: NDArray,
    camera: Camera,
    size: int,
    *,
    colors: NDArray | None = None,
    light: tuple[float, float, float] = (-0.4, 0.8, -0.45),
    ambient: float = 0.35,
    normals: NDArray | None = None,
    supersample: int = 2,
) -> NDArray[np.uint8]:
    """Lambert-shaded RGBA picture uint8[size, size, 4] on a transparent background, antialiased by supersampling.

    `vertices` float[V, 3], `faces` int[F, 3] counter-clockwise seen from outside, `colors` float[F, 3] in [0, 1]
    (a light grey by default). `light` points from the object to the light, in the object's frame; surfaces that
    face away from it keep the `ambient` share. `normals` float[V, 3], of any length, are interpolated over the faces
    (`vertex_normals` has those that make a mesh look smooth); without, faces are flat.
    """
    pixels = size * supersample
    points = _columns(vertices)
    x, y, depth = _project(points, camera, pixels)
    a, b, c = np.ascontiguousarray(faces.T)
    front = _faces_camera(x, y, a, b, c)
    if (depth <= 0).any():
        front &= (depth[faces] > 0).all(axis=1)
    visible = np.flatnonzero(front)
    a, b, c = a[visible], b[visible], c[visible]
    triangles = _Triangles(x, y, 1 / depth, a, b, c)  # 1/depth is linear on the screen
    row, column, owner = _rasterise(triangles, pixels)

    if normals is None:
        normal = [component[owner] for component in _face_normals(points, a, b, c)]
    else:
        at_b, at_c = triangles.weights(owner, column + 0.5, row + 0.5)
        at_a = 1 - at_b - at_c
        corners = a[owner], b[owner], c[owner]
        normal = [at_a * n[corners[0]] + at_b * n[corners[1]] + at_c * n[corners[2]] for n in _columns(normals)]
    toward = np.asarray(light, np.float64) / np.linalg.norm(light)
    length = np.sqrt(sum(component * component for component in normal))
    facing = sum(component * share for component, share in zip(normal, toward, strict=True))
    lit = np.maximum(facing, 0) / np.maximum(length, 1e-20)
    shade = ambient + (1 - ambient) * lit

    # Only covered samples are added up: those of one picture's pixel share an index.
    where = row // supersample * size + column // supersample
    covered = np.bincount(where, minlength=size * size)
    image = np.empty((size * size, 4), np.uint8)
    albedos = [0.82] if colors is None else np.asarray(colors, np.float64)[visible[owner]].T
    for channel, albedo in enumerate(albedos):
        mean = np.bincount(where, albedo * shade, size * size) / np.maximum(covered, 1)
        image[:, channel : 3 if colors is None else channel + 1] = _as_byte(mean)[:, None]
    image[:, 3] = _as_byte(covered / supersample**2)
    return image.reshape(size, size, 4)


def seen(vertices: NDArray, faces: NDArray, camera: Camera, size: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which face is the nearest at each pixel that one covers, whatever side it shows: int64[K], in no order, and for
    every face whether it shows its outside, bool[F]. All vertices must lie before the camera."""
    x, y, depth = _project(_columns(vertices), camera, size)
    a, b, c = np.ascontiguousarray(faces.T)
    return _rasterise(_Triangles(x, y, 1 / depth, a, b, c), size)[2], _faces_camera(x, y, a, b, c)


def _project(points: NDArray, camera: Camera, pixels: int) -> tuple[NDArray, NDArray, NDArray]:
    """Points float64[3, V] on a screen of `pixels` squared: x, y (down) and the depth before the camera."""
    position, axes = camera.axes()
    right, up, depth = axes @ (points - position[:, None])
    scale = pixels / 2 / np.tan(np.radians(camera.field_of_view / 2))
    return pixels / 2 + scale * right / depth, pixels / 2 - scale * up / depth, depth


def _faces_camera(x: NDArray, y: NDArray, a: NDArray, b: NDArray, c: NDArray) -> NDArray[np.bool_]:
    xa, ya = x[a], y[a]
    return (x[b] - xa) * (y[c] - ya) < (y[b] - ya) * (x[c] - xa)  # y points down: outward is clockwise


def _as_byte(share: NDArray) -> NDArray[np.uint8]:
    return np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)


class _Triangles:
    """Triangles on the screen: `a`, `b`, `c` int[T] index the vertices `x`, `y` (in samples) and `nearness`."""

    def __init__(self, x: NDArray, y: NDArray, nearness: NDArray, a: NDArray, b: NDArray, c: NDArray) -> None:
        self.x, self.y = (x[a], x[b], x[c]), (y[a], y[b], y[c])
        self._ab, self._ac = (
            (self.x[1] - self.x[0], self.y[1] - self.y[0]),
            (self.x[2] - self.x[0], self.y[2] - self.y[0]),
        )
        area = self._ab[0] * self._ac[1] - self._ab[1] * self._ac[0]
        self._area = np.where(np.abs(area) < 1e-12, 1e-12, area)
        self._nearness = nearness[a]
        rise_b, rise_c = nearness[b] - self._nearness, nearness[c] - self._nearness
        self.rise_x = (rise_b * self._ac[1] - rise_c * self._ab[1]) / self._area
        self._rise_y = (rise_c * self._ab[0] - rise_b * self._ac[0]) / self._area

    def nearness(self, triangle: NDArray, x: NDArray, y: NDArray) -> NDArray:
        """Of the triangles at points of the screen, float[K]."""
        across, down = x - self.x[0][triangle], y - self.y[0][triangle]
        return self._nearness[triangle] + self.rise_x[triangle] * across + self._rise_y[triangle] * down

    def weights(self, triangle: NDArray, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """The barycentric weights of `b` and `c` at points of the screen, float[K] each."""
        across, down = x - self.x[0][triangle], y - self.y[0][triangle]
        area = self._area[triangle]
        at_b = (across * self._ac[1][triangle] - down * self._ac[0][triangle]) / area
        at_c = (down * self._ab[0][triangle] - across * self._ab[1][triangle]) / area
        return at_b, at_c


def _rasterise(triangles: _Triangles, pixels: int) -> tuple[NDArray, NDArray, NDArray]:
    """The covered samples' rows and columns, and the nearest triangle at each: int[K] each.

    Scanlines: each triangle is cut into rows, each row into the span between its edges, so only covered samples are
    ever made, however long and thin the triangle. An edge is always followed from its upper end, so that two
    triangles agree to the last bit where the edge between them lies.
    """
    top, middle, bottom = _by_height(*zip(triangles.x, triangles.y, strict=True))
    first = np.clip(np.ceil(top[1] - 0.5), 0, pixels).astype(np.int64)
    rows = np.clip(np.floor(bottom[1] - 0.5) + 1, 0, pixels).astype(np.int64) - first
    triangle, row = _ranges(first, np.maximum(rows, 0))
    height = row + 0.5
    lower = height >= middle[1][triangle]
    begin = np.where(lower, _follow(middle, bottom, triangle, height), _follow(top, middle, triangle, height))
    end = _follow(top, bottom, triangle, height)
    left = np.clip(np.ceil(np.minimum(begin, end) - 0.5), 0, pixels).astype(np.int64)
    right = np.clip(np.floor(np.maximum(begin, end) - 0.5) + 1, 0, pixels).astype(np.int64)
    span, column = _ranges(left, np.maximum(right - left, 0))

    along = triangles.rise_x[triangle]
    nearness = triangles.nearness(triangle, left + 0.5, height)[span] + along[span] * (column - left[span])
    pixel = row[span] * pixels + column
    nearest = np.full(pixels * pixels, -np.inf)
    np.maximum.at(nearest, pixel, nearness)
    won = np.flatnonzero(nearness == nearest[pixel])
    owner = np.full(pixels * pixels, -1)
    owner[pixel[won]] = triangle[span[won]]  # of two that are as near, the later
    covered = np.flatnonzero(owner >= 0)
    row, column = np.divmod(covered.astype(np.int32), np.int32(pixels))  # four times as fast as with 64 bits
    return row, column, owner[covered]


def _by_height(a: _Points, b: _Points, c: _Points) -> tuple[_Points, _Points, _Points]:
    """The three corners of each triangle, the upper one (of smaller y) first."""
    a, b = _swapped(a, b)
    b, c = _swapped(b, c)
    a, b = _swapped(a, b)
    return a, b, c


def _swapped(a: _Points, b: _Points) -> tuple[_Points, _Points]:
    swap = b[1] < a[1]
    upper = np.where(swap, b[0], a[0]), np.where(swap, b[1], a[1])
    return upper, (np.where(swap, a[0], b[0]), np.where(swap, a[1], b[1]))


def _follow(start: _Points, end: _Points, edge: NDArray, height: NDArray) -> NDArray:
    """Where edges from `start` down to `end` are at a height: x float[K]."""
    rise = end[1] - start[1]
    slope = np.where(rise > 0, end[0] - start[0], 0) / np.where(rise > 0, rise, 1)
    return start[0][edge] + (height - start[1][edge]) * slope[edge]


def _ranges(first: NDArray, counts: NDArray) -> tuple[NDArray, NDArray]:
    """For every i the integers first[i] … first[i]+counts[i]−1, flat, with the i that each belongs to."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) + np.repeat(first - np.cumsum(counts) + counts, counts)


def _columns(rows: NDArray) -> NDArray[np.float64]:
    """float64[3, N] of float[N, 3]: NumPy looks up the items of one column several times as fast as short rows."""
    return np.ascontiguousarray(np.transpose(rows), np.float64)


def _face_normals(points: NDArray, a: NDArray, b: NDArray, c: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """The components of (B − A) × (C − A), float[F] each, of points float[3, V]."""
    (ux, uy, uz), (vx, vy, vz) = ([axis[end] - axis[a] for axis in points] for end in (b, c))
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
