"""Meshes: the same as by dense marching cubes, closed whatever the signs, and readable by others."""

import io
import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import mcubes
import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from workers import mesh as meshes
from workers.failure import ErrorCode, ItemError
from workers.field import OUTSIDE
from workers.grid import Lattice
from workers.isosurface import extract
from workers.mesh import Mesh, build, check, export, verify


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors lose more than they gain when threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sparse(samples):
    """The sparse field of samples float[N, N, N]."""
    samples = torch.as_tensor(samples, dtype=torch.float32)
    lattice = Lattice(len(samples))
    (field,) = extract(lambda keys: samples[tuple(lattice.split(keys)[1].T)], lattice, 1, exact=True)
    return field


def distance(resolution, function):
    """A sparse field, found by following the surface, of a function of x, y, z in the frame."""
    lattice = Lattice(resolution)
    (field,) = extract(lambda keys: function(*lattice.positions(keys).T), lattice, 1)
    return field


def sphere(radius, centre=(0.0, 0.0, 0.0)):
    return lambda x, y, z: radius - torch.stack([x - centre[0], y - centre[1], z - centre[2]]).norm(dim=0)


def torus(x, y, z):
    return 0.1 - torch.hypot(torch.hypot(x, z) - 0.3, y)


def dense_marching_cubes(samples):
    """Triangles float32[F, 3, 3] of one marching cubes over the whole padded lattice."""
    padded = np.pad(samples.astype(np.float32), 1, constant_values=OUTSIDE)
    middles, faces = mcubes.marching_cubes(np.where(padded > 0, 1.0, -1.0), 0.0)
    low, high = np.floor(middles).astype(int), np.ceil(middles).astype(int)
    a, b = (padded[tuple(end.T)].astype(np.float64) for end in (low, high))
    t = (a / (a - b)).clip(0.005, 0.995)[:, None]
    vertices = ((low + (high - low) * t - 0.5) / len(samples) - 0.5).astype(np.float32)
    return vertices[faces.astype(np.int64)]


def assert_same_triangles(a, b):
    """Triangles float32[F, 3, 3] have the same vertices, to the last bit, and the same winding."""
    _, rank = np.unique(np.stack([a, b]).reshape(-1, 3), axis=0, return_inverse=True)
    rank = rank.reshape(2, -1, 3)
    turn = (rank.argmin(axis=2)[..., None] + np.arange(3)) % 3  # the least vertex first
    rank = np.take_along_axis(rank, turn, axis=2)
    a, b = (faces[np.lexsort(faces.T)] for faces in rank)
    np.testing.assert_array_equal(a, b)


def assert_every_edge_has_two_opposite_faces(mesh):
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]).astype(np.int64)
    names = edges[:, 0] * len(mesh.vertices) + edges[:, 1]
    assert len(np.unique(names)) == len(names)
    np.testing.assert_array_equal(np.sort(names), np.sort(edges[:, 1] * len(mesh.vertices) + edges[:, 0]))


@settings(deadline=None, max_examples=30)
@given(st.integers(8, 20), st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.3, 0.5, 0.9, 1.0]))
def test_blocks_make_the_mesh_of_the_whole_lattice(resolution, seed, share):
    samples = share - np.random.default_rng(seed).random((resolution,) * 3)
    mesh = build(sparse(samples))
    assert_same_triangles(mesh.vertices[mesh.faces], dense_marching_cubes(samples))
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices) == len(np.unique(mesh.faces))


@pytest.mark.parametrize(("block", "batch"), [(5, 3), (8, 1), (16, 7), (64, 2048)])
def test_the_surface_does_not_depend_on_the_blocks(block, batch, monkeypatch):
    field = distance(33, torus)
    usual = build(field)
    monkeypatch.setattr(meshes, "BLOCK", block)
    monkeypatch.setattr(meshes, "BATCH", batch)
    other = build(field)
    np.testing.assert_array_equal(other.vertices, usual.vertices)
    assert sorted(map(sorted, other.faces.tolist())) == sorted(map(sorted, usual.faces.tolist()))


@pytest.mark.parametrize("axis", range(3))
def test_all_pairs_of_neighbouring_cells_have_edges_of_two_faces(axis):
    # A mesh edge joins two lattice edges of one cell, so at most the two cells that have both can share it: these
    # 2¹² neighbourhoods, set apart by outside samples, are all there are.
    shape = [2, 2, 2]
    shape[axis] = 3
    tiles = (np.arange(4096)[:, None] >> np.arange(12) & 1).reshape(16, 16, 16, *shape)
    inside = np.pad(tiles, [(0, 0)] * 3 + [(0, 1)] * 3).transpose(0, 3, 1, 4, 2, 5)
    inside = inside.reshape(inside.shape[0] * inside.shape[1], inside.shape[2] * inside.shape[3], -1)
    samples = -np.ones((64, 64, 64))
    samples[tuple(map(slice, inside.shape))][inside == 1] = 1
    mesh = build(sparse(samples))
    assert_every_edge_has_two_opposite_faces(mesh)
    verify(check(mesh))


@settings(deadline=None, max_examples=30)
@given(st.integers(8, 24), st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_values_of_any_magnitude_keep_vertices_apart(resolution, seed, share):
    rng = np.random.default_rng(seed)
    samples = np.where(rng.random((resolution,) * 3) < share, 1, -1) * 10.0 ** rng.integers(-30, 30, (resolution,) * 3)
    mesh = build(sparse(samples))
    assert_every_edge_has_two_opposite_faces(mesh)
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)
    assert np.abs(mesh.vertices).max(initial=0) <= 0.5 + 1 / resolution


def test_a_sphere_is_measured():
    mesh = build(distance(64, sphere(0.35)))
    report = check(mesh)
    verify(report)
    assert (mesh.vertices.dtype, mesh.faces.dtype) == (np.float32, np.int32)
    assert (report.vertices, report.faces) == (len(mesh.vertices), len(mesh.faces))
    assert report.watertight
    assert report.winding_consistent
    assert report.volume == pytest.approx(4 / 3 * np.pi * 0.35**3, rel=0.003)
    assert report.bounds == pytest.approx((-0.35,) * 3 + (0.35,) * 3, abs=0.001)
    assert report.euler_number == 2
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 0.35, atol=0.001)
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", outward, corners.mean(axis=1)) > 0).all()


@pytest.mark.parametrize(
    ("function", "euler"),
    [
        (torus, 0),
        (lambda *p: torch.maximum(sphere(0.2, (0.2, 0, 0))(*p), sphere(0.15, (-0.3, 0, 0))(*p)), 4),
        (lambda *p: torch.minimum(sphere(0.4)(*p), -sphere(0.2)(*p)), 4),  # a cavity is a second surface
        (lambda *p: torch.minimum(sphere(0.6)(*p), -torus(*p)), 2),  # cut by the frame, with a cavity
        (lambda x, y, z: torch.ones_like(x), 2),
    ],
)
def test_topology_is_that_of_the_field(function, euler):
    report = check(build(distance(48, function)))
    verify(report)
    assert report.euler_number == euler


def test_a_small_part_at_the_finest_resolution():
    mesh = build(distance(1024, sphere(0.01, (0.488, -0.4885, 0.4889))))
    report = check(mesh)
    verify(report)
    assert report.euler_number == 2
    assert report.volume == pytest.approx(4 / 3 * np.pi * 0.01**3, rel=0.01)
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)


def test_an_empty_field_has_no_surface():
    report = check(build(sparse(-np.ones((9, 9, 9)))))
    assert (report.vertices, report.faces, report.volume) == (0, 0, 0.0)
    with pytest.raises(ItemError, match="no surface") as caught:
        verify(report)
    assert caught.value.code is ErrorCode.NO_SURFACE


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda faces: faces[1:], "not shared by two faces"),
        (lambda faces: np.concatenate([faces, faces[:1]]), "not shared by two faces"),
        (lambda faces: np.concatenate([faces[:1, ::-1], faces[1:]]), "opposite directions"),
        (lambda faces: faces[:, ::-1], "volume of -0.1"),
    ],
)
def test_a_damaged_mesh_does_not_pass(damage, sentence):
    mesh = build(distance(32, sphere(0.35)))
    with pytest.raises(ItemError, match=sentence) as caught:
        verify(check(Mesh(mesh.vertices, np.ascontiguousarray(damage(mesh.faces)))))
    assert caught.value.code is ErrorCode.MESH_NOT_WATERTIGHT


def test_an_unused_vertex_does_not_count_for_topology():
    mesh = build(distance(32, torus))
    loose = Mesh(np.concatenate([mesh.vertices, np.zeros((1, 3), np.float32)]), mesh.faces)
    assert check(loose).euler_number == check(mesh).euler_number == 0


@pytest.mark.parametrize("format", ["glb", "obj", "ply", "stl"])
@pytest.mark.parametrize("function", [torus, lambda *p: torch.minimum(sphere(0.4)(*p), -sphere(0.2)(*p))])
def test_files_hold_the_mesh_and_are_the_same_every_time(format, function):
    mesh = build(distance(40, function))
    data = export(mesh, format)
    assert data == export(build(distance(40, function)), format)
    loaded = trimesh.load(io.BytesIO(data), file_type=format, force="mesh")
    assert loaded.is_watertight
    assert loaded.is_winding_consistent
    assert (len(loaded.vertices), len(loaded.faces)) == (len(mesh.vertices), len(mesh.faces))
    assert loaded.volume == pytest.approx(check(mesh).volume, rel=1e-5)
    where = np.argsort(mesh.vertices.view([("", "f4")] * 3).ravel())
    vertices = loaded.vertices.astype(np.float32)
    there = np.argsort(np.ascontiguousarray(vertices).view([("", "f4")] * 3).ravel())
    np.testing.assert_allclose(vertices[there], mesh.vertices[where], atol=1e-8 if format == "obj" else 0)


def test_a_glb_says_how_to_shade_it():
    mesh = build(distance(40, sphere(0.35)))
    data = export(mesh, "glb")
    header = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    (material,) = header["materials"]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert not material["doubleSided"]
    (shape,) = header["meshes"]
    (primitive,) = shape["primitives"]
    positions, normals = (header["accessors"][primitive["attributes"][name]] for name in ("POSITION", "NORMAL"))
    assert positions["componentType"] == normals["componentType"] == 5126  # float32
    assert positions["count"] == normals["count"] == len(mesh.vertices)
    view = header["bufferViews"][normals["bufferView"]]
    start = data.index(b"BIN\0") + 4 + view["byteOffset"]
    normal = np.frombuffer(data, "<f4", 3 * len(mesh.vertices), start).reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-6)
    radial = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    assert (normal * radial).sum(axis=1).min() > 0.99


def test_binary_formats_are_binary():
    mesh = build(distance(16, sphere(0.35)))
    assert len(export(mesh, "stl")) == 84 + 50 * len(mesh.faces)
    assert b"format binary_little_endian" in export(mesh, "ply")[:100]


def test_normals_exist_where_faces_cancel():
    # Two faces back to back: their normals add up to nothing, but a file needs a unit vector.
    flat = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32), np.array([[0, 1, 2], [0, 2, 1]], np.int32))
    loaded = trimesh.load(io.BytesIO(export(flat, "glb")), file_type="glb", force="mesh", process=False)
    assert np.isfinite(loaded.vertex_normals).all()


def test_blocks_tile_the_lattice():
    for resolution, corner in product((8, 15, 16, 17, 31), ((0, 0, 0), (-1, -1, -1), (7, 0, -1))):
        samples = -np.ones((resolution,) * 3)
        samples[corner] = 1
        assert check(build(sparse(samples))).faces == 8


@pytest.mark.parametrize("module", ["workers.mesher", "jobs.verify", "jobs.cli"])
def test_what_computes_no_field_loads_no_pytorch(module: str) -> None:
    """It would cost every mesher 700 MB, and seconds at its start."""
    check = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[1]).returncode == 0
