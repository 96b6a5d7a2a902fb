"""What is done to a mesh before its file is written: where it faces, its size, and what the file says of it."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.finish import finish, place
from workers.grid import Lattice
from workers.isosurface import extract
from workers.mesh import Mesh, build, check, export, verify
from workers.messages import MeshOptions
from workers.simplify import is_sound, simplified, smoothed

# A nose on the front (−Z in the frame), an ear on the right of who looks out of it (+X), a hat.
NOSE, EAR, HAT = np.array([0, 0, -0.4]), np.array([0.3, 0, 0]), np.array([0, 0.5, 0])


def creature() -> Mesh:
    """An octahedron that is like no mirror image and no turn of itself."""
    corners = np.array([EAR, HAT, -NOSE / 4, -EAR / 3, -HAT / 5, NOSE], np.float32)
    faces = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    made = Mesh(corners, np.array(faces, np.int32))
    verify(check(made))
    return made


def noise(seed: int, share: float, resolution: int = 12) -> Mesh:
    """The surface of blobs at random: parts, holes, cavities and tunnels of every kind."""
    samples = torch.from_numpy(np.random.default_rng(seed).random((resolution,) * 3) + (share - 1)).float()
    lattice = Lattice(resolution)
    (field,) = extract(lambda keys: samples[tuple(lattice.split(keys)[1].T)], lattice, 1, exact=True)
    return build(field)


def ball(subdivisions: int = 4) -> Mesh:
    """A sphere of radius 0.4, of 20·4ⁿ triangles."""
    made = trimesh.creation.icosphere(subdivisions, 0.4)
    return Mesh(made.vertices.astype(np.float32), made.faces.astype(np.int32))


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
    mesh = place(ball(2), "y", 3.0)
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


OPTIONS = st.builds(
    MeshOptions,
    faces=st.none() | st.integers(4, 3000),
    lod=st.lists(st.integers(4, 2000), max_size=3, unique=True).map(lambda counts: tuple(sorted(counts)[::-1])),
    smooth=st.integers(0, 12),
    up_axis=st.sampled_from(["y", "z"]),
)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.03, 0.3, 0.5, 0.8]), OPTIONS, st.none() | st.floats(1e-6, 1e6))
def test_whatever_is_asked_every_mesh_is_closed(seed, share, options, size_m):
    """And the same each time."""
    found = noise(seed, share)
    finished = finish(found, options, size_m)
    again = finish(noise(seed, share), options, size_m)
    assert len(finished.meshes) == 1 + len(options.lod)
    assert (finished.volume_change is None) == (options.faces is None and not options.smooth)
    faces = len(found.faces)
    for made, same in zip(finished.meshes, again.meshes, strict=True):
        assert is_sound(made)
        verify(check(made))
        assert len(made.faces) <= faces
        faces = len(made.faces)
        format = "glb" if options.up_axis == "y" else "stl"
        data = export(made, format)
        assert data == export(same, format)
        assert read(data, format).is_watertight or (size_m is not None and size_m < 1e-3)  # trimesh joins within 1e-8


def test_a_budget_is_met_and_the_shape_kept():
    found = ball(5)
    for budget in (4000, 500, 64):
        made = simplified(found, budget)
        assert is_sound(made)
        assert 0.97 * budget <= len(made.faces) <= budget
        assert (
            np.abs(np.linalg.norm(made.vertices, axis=1) - 0.4).max() < 2 / budget
        )  # a chord of an edge: some 4 r / budget


def test_a_budget_that_holes_do_not_allow_leaves_a_closed_mesh():
    found = noise(1, 0.5)
    made = simplified(found, 4)
    assert is_sound(made)
    assert 4 < len(made.faces) < len(found.faces)


def test_smoothing_evens_out_ripples_and_does_not_shrink():
    found = ball()
    rough = Mesh(
        (found.vertices * (1 + np.random.default_rng(1).normal(0, 0.02, (len(found.vertices), 1)))).astype(np.float32),
        found.faces,
    )
    made = smoothed(rough, 10)
    spread = [np.linalg.norm(mesh.vertices, axis=1).std() for mesh in (rough, made)]
    assert spread[1] < spread[0] / 2.5
    assert check(made).volume == pytest.approx(check(rough).volume, rel=0.01)
    assert finish(rough, MeshOptions(smooth=10), None).volume_change == pytest.approx(0, abs=0.01)


def test_what_is_not_asked_for_is_not_loaded():
    """A mesher starts in little time and memory."""
    code = "import sys, workers.mesher; sys.exit('igl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
