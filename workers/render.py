"""Pictures of triangle meshes, without a display or a GPU.

Works on: vertices and faces as NumPy arrays, and one pinhole camera that looks at the origin. Knows nothing about
files, networks or where the mesh came from. Training renders its views with it; the demo draws what it made.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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


def render(
    vertices: NDArray,
    faces: NDArray,
    camera: Camera,
    size: int,
    *,
    colors: NDArray | None = None,
    light: tuple[float, float, float] = (-0.4, 0.8, -0.45),
    ambient: float = 0.35,
    smooth: bool = False,
    supersample: int = 2,
) -> NDArray[np.uint8]:
    """Lambert-shaded RGBA picture uint8[size, size, 4] on a transparent background, antialiased by supersampling.

    `vertices` float[V, 3], `faces` int[F, 3] counter-clockwise seen from outside, `colors` float[F, 3] in [0, 1]
    (a light grey by default). `light` points from the object to the light, in the object's frame; surfaces that
    face away from it keep the `ambient` share. `smooth` interpolates normals between faces that share a vertex.
    """
    pixels = size * supersample
    position, axes = camera.axes()
    seen = (np.asarray(vertices, np.float64) - position) @ axes.T  # right, up, depth
    scale = pixels / 2 / np.tan(np.radians(camera.field_of_view / 2))
    x = pixels / 2 + scale * seen[:, 0] / seen[:, 2]
    y = pixels / 2 - scale * seen[:, 1] / seen[:, 2]
    corners = np.stack([x, y, 1 / seen[:, 2]], axis=1)[faces]  # 1/depth is linear on the screen

    normals = np.cross(
        vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    ).astype(np.float64)
    edge_a, edge_b = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
    front = edge_a[:, 0] * edge_b[:, 1] - edge_a[:, 1] * edge_b[:, 0] < 0  # y points down: outward is clockwise
    if (seen[:, 2] <= 0).any():
        front &= (seen[:, 2][faces] > 0).all(axis=1)
    visible = np.flatnonzero(front)

    pixel, owner = _rasterise(corners[visible], pixels)
    owner = visible[owner]
    toward = np.asarray(light, np.float64) / np.linalg.norm(light)
    if smooth:
        at_vertices = np.zeros((len(vertices), 3))
        for corner in range(3):
            np.add.at(at_vertices, faces[:, corner], normals)  # area-weighted: the cross product's length is twice it
        weights = _barycentric(corners[owner], pixel, pixels)
        normal = (at_vertices[faces[owner]] * weights[:, :, None]).sum(axis=1)
    else:
        normal = normals[owner]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)
    shade = ambient + (1 - ambient) * np.maximum(normal @ toward, 0)
    albedo = np.full((len(owner), 3), 0.82) if colors is None else np.asarray(colors, np.float64)[owner]

    image = np.zeros((pixels * pixels, 4))
    image[pixel, :3] = albedo * shade[:, None]
    image[pixel, 3] = 1
    image = image.reshape(size, supersample, size, supersample, 4).mean(axis=(1, 3))  # premultiplied by construction
    image[..., :3] /= np.maximum(image[..., 3:], 1e-9)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _rasterise(corners: NDArray, pixels: int) -> tuple[NDArray, NDArray]:
    """The nearest triangle at each covered pixel: flat pixel indices int[K] and triangle indices int[K].

    Scanlines: each triangle is cut into rows, each row into the span between its edges, so only covered pixels are
    ever made, however long and thin the triangle.
    """
    low, high = corners[:, :, 1].min(axis=1), corners[:, :, 1].max(axis=1)
    first = np.clip(np.ceil(low - 0.5), 0, pixels).astype(np.int64)
    rows = np.clip(np.floor(high - 0.5) + 1, 0, pixels).astype(np.int64) - first
    triangle, row = _ranges(first, np.maximum(rows, 0))
    height = row + 0.5
    left, right = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        start, end = corners[triangle, a], corners[triangle, b]
        with np.errstate(divide="ignore", invalid="ignore"):
            at = (height - start[:, 1]) / (end[:, 1] - start[:, 1])
        crossed = (at >= 0) & (at <= 1)
        x = np.where(crossed, start[:, 0] + at * (end[:, 0] - start[:, 0]), np.nan)
        left, right = np.fmin(left, x), np.fmax(right, x)
    begin = np.clip(np.ceil(left - 0.5), 0, pixels)
    stop = np.clip(np.floor(right - 0.5) + 1, 0, pixels)
    span, column = _ranges(begin.astype(np.int64), np.maximum(stop - begin, 0).astype(np.int64))
    triangle, row = triangle[span], row[span]

    pixel = row * pixels + column
    weights = _barycentric(corners[triangle], pixel, pixels)
    nearness = (weights * corners[triangle, :, 2]).sum(axis=1)
    order = np.argsort(nearness, kind="stable")  # the nearest is written last
    nearest = np.full(pixels * pixels, -1)
    nearest[pixel[order]] = triangle[order]
    covered = np.flatnonzero(nearest >= 0)
    return covered, nearest[covered]


def _ranges(first: NDArray, counts: NDArray) -> tuple[NDArray, NDArray]:
    """For every i the integers first[i] … first[i]+counts[i]−1, flat, with the i that each belongs to."""
    owner = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return owner, first[owner] + within


def _barycentric(corners: NDArray, pixel: NDArray, pixels: int) -> NDArray:
    """Screen-space weights float[K, 3] of each pixel's centre in its triangle."""
    y, x = np.divmod(pixel, pixels)
    a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
    p = np.stack([x + 0.5, y + 0.5], axis=1)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)
    at_b = ((p[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (p[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
    at_c = ((b[:, 0] - a[:, 0]) * (p[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (p[:, 0] - a[:, 0])) / area
    return np.stack([1 - at_b - at_c, at_b, at_c], axis=1)
