"""From the bytes of a mesh file to triangles with a colour each.

Works on: OBJ, glTF, GLB, STL, PLY and OFF, as trimesh reads them, with the materials and textures that lie beside
them. Knows nothing about collections. Whatever is wrong with a file is a ShapeError; materials that are missing, and
textures that are no ordinary pictures, are left out.
"""

import io
import logging
import posixpath
import re
from dataclasses import replace
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from jobs.training.failure import ShapeCode, ShapeError
from jobs.training.sources.files import Files
from jobs.training.sources.source import Geometry
from workers.failure import ItemError
from workers.images import decode

SUFFIXES = frozenset({".obj", ".glb", ".gltf", ".stl", ".ply", ".off"})
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".tga", ".dds"})
_MAX_TEXTURE_PIXELS = 64 << 20
_TEXTURE_SIDE = 512  # pixels: a face's colour is one sample of it
_GREY = 0.75  # of faces without a material beside others with one

logging.getLogger("trimesh").setLevel(logging.ERROR)  # it warns of every missing texture


def load_mesh(files: Files, key: str, max_bytes: int, max_faces: int) -> Geometry:
    """The triangles of the mesh at `key`, with its own axes.

    Raises ShapeError: SOURCE_UNREADABLE, TOO_MANY_BYTES, NOT_A_MESH, EMPTY_MESH, TOO_MANY_FACES, NOT_FINITE.
    """
    try:
        data = files.read(key, max_bytes)
    except KeyError as error:
        raise ShapeError(ShapeCode.SOURCE_UNREADABLE, f"{key} was gone when it was read.") from error
    suffix = posixpath.splitext(key)[1].lower().removeprefix(".")
    beside = _Beside(files, key, max_bytes)
    try:
        # Polygons are split into triangles; nothing is merged or repaired before the triangles are counted.
        scene = trimesh.load_scene(io.BytesIO(data), file_type=suffix, resolver=beside, process=False)
        parts = [part for node in scene.graph.nodes_geometry if (part := _part(scene, node))]
    except MemoryError:
        raise
    except ShapeError:
        raise
    except Exception as error:  # trimesh's readers raise whatever a stranger's file makes them
        reason = re.sub(r"[^ -~]", "", str(error).partition("\n")[0])[:200] or type(error).__name__
        raise ShapeError(ShapeCode.NOT_A_MESH, f"The {suffix.upper()} file cannot be read: {reason}.") from error
    count = sum(len(faces) for _, faces, _ in parts)
    if not parts:
        raise ShapeError(ShapeCode.EMPTY_MESH, f"The {suffix.upper()} file has no triangles.")
    if count > max_faces:
        raise ShapeError(ShapeCode.TOO_MANY_FACES, f"It has {count} triangles, more than the {max_faces} allowed.")
    return _joined(parts)


def turned(geometry: Geometry, rotation: NDArray, views: tuple[bytes, ...] | None = None) -> Geometry:
    """The same shape with its axes mapped by `rotation` float[3, 3], and `views` of it."""
    return replace(geometry, vertices=geometry.vertices @ rotation.T, views=views)


_Part = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64] | None]


def _part(scene: Any, node: str) -> _Part | None:
    transform, name = scene.graph[node]
    mesh = scene.geometry[name]
    if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
        return None  # a curve or a cloud of points
    vertices = trimesh.transform_points(np.asarray(mesh.vertices, np.float64), transform)
    faces = np.asarray(mesh.faces, np.int64)
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ShapeError(ShapeCode.NOT_A_MESH, "A face of it names a vertex that there is not.")
    if not np.isfinite(vertices[faces]).all():
        raise ShapeError(ShapeCode.NOT_FINITE, "A coordinate of it is infinite or not a number.")
    if np.linalg.det(transform[:3, :3]) < 0:
        faces = faces[:, ::-1]
    return vertices, faces, _colors(mesh, faces)


def _colors(mesh: trimesh.Trimesh, faces: NDArray) -> NDArray[np.float64] | None:
    """A colour for each face, or None where the file has none."""
    visual = mesh.visual
    try:
        if isinstance(visual, trimesh.visual.TextureVisuals):
            return _textured(visual, np.asarray(mesh.faces))
        if visual is None or visual.kind is None:
            return None
        return np.asarray(visual.face_colors, np.float64)[:, :3] / 255
    except (IndexError, TypeError, ValueError):  # half a material: as if there were none
        return None


def _textured(visual: Any, faces: NDArray) -> NDArray[np.float64] | None:
    material = visual.material
    plain = np.asarray(material.main_color, np.float64)[:3] / 255
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if image is None or visual.uv is None or not len(visual.uv):
        return np.tile(plain, (len(faces), 1))
    pixels = np.asarray(image.convert("RGB"), np.float64) / 255
    u, v = np.nan_to_num(np.asarray(visual.uv, np.float64))[faces].mean(axis=1).T
    rows = ((1 - v) % 1 * len(pixels)).astype(int).clip(0, len(pixels) - 1)
    columns = (u % 1 * pixels.shape[1]).astype(int).clip(0, pixels.shape[1] - 1)
    return pixels[rows, columns]


def _joined(parts: list[_Part]) -> Geometry:
    colored = any(colors is not None for _, _, colors in parts)
    offsets = np.cumsum([0, *(len(vertices) for vertices, _, _ in parts)])
    colors = [
        np.full((len(faces), 3), _GREY) if colors is None else colors for _, faces, colors in parts
    ]  # fmt: skip
    return Geometry(
        np.concatenate([vertices for vertices, _, _ in parts]),
        np.concatenate([faces + offset for (_, faces, _), offset in zip(parts, offsets, strict=False)]),
        np.concatenate(colors) if colored else None,
    )


class _Beside(trimesh.resolvers.Resolver):
    """What a mesh file refers to. Textures come small, and through the one decoder for strangers' pictures."""

    def __init__(self, files: Files, key: str, max_bytes: int) -> None:
        self._files = files
        self._key = key
        self._max_bytes = max_bytes

    def get(self, name: str) -> bytes:
        """Raises KeyError where there is no such file, or it is not to be used."""
        key = self._files.beside(self._key, str(name).strip())
        try:
            data = self._files.read(key, self._max_bytes)
        except ShapeError as error:
            raise KeyError(name) from error
        return _small(data, name) if posixpath.splitext(key)[1].lower() in _PICTURES else data

    def keys(self) -> list[str]:
        """Nothing is listed: a file is asked for by its name."""
        return []

    def write(self, name: str, data: Any) -> None:
        """Nothing is ever written beside a source."""
        raise io.UnsupportedOperation(f"{name}: a source is only read")

    def namespaced(self, namespace: str) -> "_Beside":
        return self


def _small(data: bytes, name: str) -> bytes:
    try:
        picture = Image.fromarray(decode(data, max_pixels=_MAX_TEXTURE_PIXELS).rgba)
    except ItemError as error:
        raise KeyError(name) from error
    picture.thumbnail((_TEXTURE_SIDE, _TEXTURE_SIDE))
    sink = io.BytesIO()
    picture.save(sink, "PNG", compress_level=1)
    return sink.getvalue()
