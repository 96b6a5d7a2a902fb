"""What is done to a mesh before its file is written: where it faces, its size, and what the file says of it."""

import io
import json

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.finish import place
from workers.mesh import Mesh, check, export, verify

# A nose on the front (−Z in the frame), an ear on the right of who looks out of it (+X), a hat.
NOSE, EAR, HAT = np.array([0, 0, -0.4]), np.array([0.3, 0, 0]), np.array([0, 0.5, 0])


def creature() -> Mesh:
    """An octahedron that is like no mirror image and no turn of itself."""
    corners = np.array([EAR, HAT, -NOSE / 4, -EAR / 3, -HAT / 5, NOSE], np.float32)
    faces = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    made = Mesh(corners, np.array(faces, np.int32))
    verify(check(made))
    return made


def read(data: bytes, format: str) -> trimesh.Trimesh:
    return trimesh.load(io.BytesIO(data), file_type=format, force="mesh")


def header(glb: bytes) -> dict:
    return json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])


@pytest.mark.parametrize(
    ("format", "up_axis"),
    [("glb", "y"), ("obj", "y"), ("ply", "y"), ("stl", "y"), ("obj", "z"), ("ply", "z"), ("stl", "z")],
)
@pytest.mark.parametrize("size_m", [None, 2.0])
def test_a_file_stands_upright_and_faces_its_reader(format, up_axis, size_m):
    loaded = read(export(place(creature(), up_axis, size_m), format), format)
    assert loaded.is_watertight
    assert loaded.volume > 0
    # What a reader takes for up and for the front: glTF 2.0, 3.4; Blender's front view looks along +Y.
    up, front = ([0, 1, 0], [0, 0, 1]) if up_axis == "y" else ([0, 0, 1], [0, -1, 0])
    scale = 1.0 if size_m is None else size_m / 0.6  # from the hat to below the feet
    if size_m is not None:
        assert loaded.extents.max() == pytest.approx(size_m)
    for direction, length in ((up, 0.5), (front, 0.4), (np.cross(front, up), 0.3)):  # its right: no mirror image
        far = loaded.vertices[(loaded.vertices @ np.array(direction)).argmax()]
        np.testing.assert_allclose(far, np.array(direction) * length * scale, atol=1e-6)


@pytest.mark.parametrize(("format", "asked"), [("glb", None), ("glb", True), ("ply", True), ("obj", True)])
def test_normals_point_outwards(format, asked):
    ball = trimesh.creation.icosphere(2, 0.4)
    mesh = place(Mesh(ball.vertices.astype(np.float32), ball.faces.astype(np.int32)), "y", 3.0)
    file = io.BytesIO(export(mesh, format, normals=asked))
    (loaded,) = trimesh.load_scene(file, file_type=format, process=False).geometry.values()
    assert "vertex_normals" in loaded._cache.cache  # read from the file, not worked out
    radial = loaded.vertices / np.linalg.norm(loaded.vertices, axis=1, keepdims=True)
    assert (loaded.vertex_normals * radial).sum(axis=1).min() > 0.999


@pytest.mark.parametrize(("format", "asked"), [("glb", False), ("ply", None), ("ply", False), ("obj", None)])
def test_without_normals_a_file_has_none(format, asked):
    data = export(creature(), format, normals=asked)
    marks = {"glb": b'"NORMAL"', "ply": b"property float nx", "obj": b"\nvn "}
    assert marks[format] in export(creature(), format, normals=True)
    assert marks[format] not in data


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text() | st.integers(0, 2**53) | st.none(), min_size=1))
@settings(deadline=None, max_examples=30)
def test_extras_come_back_as_they_went_in(extras):
    data = export(creature(), "glb", extras=extras)
    tree = header(data)
    assert tree["asset"]["extras"] == tree["nodes"][0]["extras"] == extras
    assert tree["asset"]["version"] == "2.0"
    assert read(data, "glb").is_watertight


def test_a_mesh_of_nothing_is_placed():
    assert len(place(Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32)), "y", 1.0).vertices) == 0
