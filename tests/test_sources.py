"""Collections as people have them, read from real files of each format, and what is made of one shape."""

import io
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from shapes import CHAIR, TABLE, box, contains, hdf5, obj, renderings, seat, shapenet, zipped

from cluster.config import StoreSettings
from cluster.errors import RequestError
from cluster.store import Stores
from jobs.training import procedural
from jobs.training.collection import POINTS, VOXELS, collect
from jobs.training.failure import ShapeCode, ShapeError
from jobs.training.preparation import Prepared, normalised, prepare
from jobs.training.sources import AXES, Entry, Geometry, Options, open_source, recognise
from jobs.training.sources.source import rotation
from workers.images import Framing, decode
from workers.images import prepare as frame

STORES = Stores(StoreSettings())
BLANK = tuple(b"" for _ in range(24))  # in place of pictures, where a test needs none
MODELS = {CHAIR: ["one", "two"], TABLE: ["three"]}


def entries(uri: Path | str, kind: str, **options: str) -> list[Entry]:
    assert recognise(str(uri), STORES) == kind
    return list(open_source(str(uri), kind, STORES, Options(**options)).entries())


def load(uri: Path | str, kind: str, which: int = 0, stores: Stores = STORES, **options: str) -> Geometry:
    source = open_source(str(uri), kind, stores, Options(**options))
    entry = list(source.entries())[which]
    return source.load(entry.id, entry.address)


def voxels(shape: Prepared) -> np.ndarray:
    return np.unpackbits(np.frombuffer(shape.voxels, np.uint8)).reshape(VOXELS, VOXELS, VOXELS).astype(bool)


def points(shape: Prepared) -> tuple[np.ndarray, np.ndarray]:
    places = np.frombuffer(shape.points, np.float16).reshape(POINTS, 3).astype(float)
    return places, np.unpackbits(np.frombuffer(shape.inside, np.uint8)).astype(bool)


def occupied(mesh: Geometry) -> np.ndarray:
    return voxels(prepare(Geometry(mesh.vertices, mesh.faces, None, BLANK), "it", 0))


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def as_geometry(mesh: trimesh.Trimesh) -> Geometry:
    return Geometry(np.asarray(mesh.vertices, float), np.asarray(mesh.faces))


@pytest.fixture(scope="module")
def stool() -> np.ndarray:
    """The voxels of `seat`, clean and in the project's frame."""
    return occupied(as_geometry(seat()))


# ShapeNet


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("form", ["folder", "archives", "archive"])
def test_shapenet_in_its_forms(version: int, form: str, stool: np.ndarray, tmp_path: Path) -> None:
    root = shapenet(tmp_path / "core", version=version, models=MODELS)
    if form == "archives":
        for synset in MODELS:
            zipped(root / synset, tmp_path / "zips" / f"{synset}.zip")
        root = tmp_path / "zips"
    elif form == "archive":
        root = zipped(root, tmp_path / "ShapeNetCore.zip")
    kind = f"shapenet-v{version}"
    found = entries(root, kind)
    assert [(entry.id, entry.category) for entry in found] == [
        (f"{CHAIR}/one", "chair"), (f"{CHAIR}/two", "chair"), (f"{TABLE}/three", "table"),
    ]  # fmt: skip
    mesh = load(root, kind, 2)
    assert mesh.colors is not None
    assert {tuple(color) for color in mesh.colors} == {(1, 0, 0), (0, 0, 1)}  # a plain material, and a texture
    assert iou(occupied(mesh), stool) > 0.99  # whichever way its own front points


def test_an_unknown_synset_is_called_as_the_taxonomy_calls_it(tmp_path: Path) -> None:
    root = shapenet(tmp_path / "core", version=2, models={"99999999": ["a"], "99999998": ["b"]})
    assert [entry.category for entry in entries(root, "shapenet-v2")] == ["99999998", "gizmo"]


def test_an_archive_of_archives_is_to_be_unpacked(tmp_path: Path) -> None:
    root = shapenet(tmp_path / "core", version=1, models={CHAIR: ["one"]})
    inner = zipped(root / CHAIR, tmp_path / "outer" / f"{CHAIR}.zip")
    outer = zipped(inner.parent, tmp_path / "ShapeNetCore.v1.zip")
    source = open_source(str(outer), "shapenet-v1", STORES, Options())
    with pytest.raises(RequestError, match="unpack the outer one"):
        list(source.entries())


def test_an_archive_in_a_bucket_is_not_fetched_whole(s3, tmp_path: Path) -> None:
    root = shapenet(tmp_path / "core", version=2, models=MODELS)
    noise = np.random.default_rng(0).integers(0, 256, 6 << 20, np.uint8).tobytes()
    (root / CHAIR / "one" / "huge.bin").write_bytes(noise)
    received: list[int] = []
    stores = Stores(StoreSettings(s3=s3.settings), lambda *request: received.append(request[2]))
    stores.open(s3.uri("")).put(s3.uri("core/all.zip"), zipped(root, tmp_path / "all.zip").read_bytes())
    received.clear()
    mesh = load(s3.uri("core"), "shapenet-v2", 1, stores)
    assert len(mesh.faces) == len(seat().faces)
    assert sum(received) < 3 << 20


# any folder of meshes


def test_meshes_of_every_format(stool: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "meshes"
    (folder / "stool").mkdir(parents=True)
    for suffix in ("obj", "glb", "stl", "ply", "off"):
        seat().export(folder / "stool" / f"a.{suffix}")
    for name, data in seat().export(file_type="gltf").items():
        (folder / "stool" / name).write_bytes(data)
    (folder / "stool" / "._a.obj").write_bytes(b"not a mesh")  # as macOS leaves them
    (folder / "stool" / "read me.txt").write_text("what these are")
    found = entries(folder, "meshes")
    assert [(entry.id, entry.category) for entry in found] == [
        (f"stool/{name}", "stool") for name in ("a.glb", "a.obj", "a.off", "a.ply", "a.stl", "model.gltf")
    ]
    for which in range(len(found)):
        assert iou(occupied(load(folder, "meshes", which)), stool) > 0.99, found[which].id


@pytest.mark.parametrize("suffix", ["ply", "glb"])
@pytest.mark.parametrize("of", ["face_colors", "vertex_colors"])
def test_colours_of_faces_and_vertices(suffix: str, of: str, tmp_path: Path) -> None:
    mesh = seat()
    setattr(mesh.visual, of, [10, 200, 30, 255])
    (tmp_path / "stool").mkdir()
    mesh.export(tmp_path / "stool" / f"a.{suffix}")
    colors = load(tmp_path, "meshes").colors
    assert colors is not None
    assert np.allclose(colors, np.array([10, 200, 30]) / 255)


def test_axes_of_another_frame(stool: np.ndarray, tmp_path: Path) -> None:
    """Blender's frame: z up, the front at −y."""
    mesh = seat()
    mesh.vertices = np.stack([-mesh.vertices[:, 0], mesh.vertices[:, 2], mesh.vertices[:, 1]], axis=1)
    (tmp_path / "m" / "stool").mkdir(parents=True)
    mesh.export(tmp_path / "m" / "stool" / "a.ply")
    assert iou(occupied(load(tmp_path / "m", "meshes", up="+z", front="-y")), stool) > 0.99
    assert iou(occupied(load(tmp_path / "m", "meshes")), stool) < 0.5


@given(up=st.sampled_from(sorted(AXES)), front=st.sampled_from(sorted(AXES)))
def test_a_frame_is_turned_and_never_mirrored(up: str, front: str) -> None:
    if up[1] == front[1]:
        with pytest.raises(ValueError, match="one line"):
            rotation(up, front)
        return
    turn = rotation(up, front)
    assert np.linalg.det(turn) == 1
    axis = {name: np.eye(3)[number] * (1 if name[0] == "+" else -1) for name, number in AXES.items()}
    assert np.array_equal(turn @ axis[up], [0, 1, 0])
    assert np.array_equal(turn @ axis[front], [0, 0, -1])


def test_folders_of_splits_are_the_sources_word(tmp_path: Path) -> None:
    for split in ("train", "test", "val", "other"):
        (tmp_path / "m" / "chair" / split).mkdir(parents=True)
        seat().export(tmp_path / "m" / "chair" / split / "a.off")
    source = open_source(str(tmp_path / "m"), "meshes", STORES, Options())
    assert [source.split(entry.address) for entry in source.entries()] == [None, "test", "train", "validation"]


TRIANGLE = "v {x} 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 3 4\nf 1 2 4\nf 2 3 4\n"


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        ("a.obj", "", ShapeCode.EMPTY_MESH, "no triangles"),
        ("a.obj", "v 0 0 0\nf 1 2 3\n", ShapeCode.NOT_A_MESH, "OBJ"),
        ("a.obj", TRIANGLE.format(x="nan"), ShapeCode.NOT_FINITE, "not a number"),
        ("a.glb", "glTF and nothing else", ShapeCode.NOT_A_MESH, "GLB"),
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex 9\n", ShapeCode.NOT_A_MESH, "PLY"),
        ("a.obj", TRIANGLE.format(x=0) * 3, ShapeCode.TOO_MANY_FACES, "12 triangles, more than the 10"),
        ("a.obj", TRIANGLE.format(x=0) + " " * 5000, ShapeCode.TOO_MANY_BYTES, "more than the 4000"),
    ],
)
def test_what_is_wrong_with_a_mesh_file(name: str, content: str, code: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "m" / "c").mkdir(parents=True)
    (tmp_path / "m" / "c" / name).write_text(content)
    source = open_source(str(tmp_path / "m"), "meshes", STORES, Options(max_bytes=4000, max_faces=10))
    (entry,) = source.entries()
    with pytest.raises(ShapeError) as error:
        source.load(entry.id, entry.address)
    assert error.value.code == code
    assert says in error.value.message
    assert error.value.message.endswith(".")


def test_a_mesh_cannot_reach_out_of_its_collection(tmp_path: Path) -> None:
    (tmp_path / "secret.mtl").write_text("newmtl red\nKd 1 0 0\nnewmtl checked\nKd 0 1 0\n")
    (tmp_path / "m" / "c").mkdir(parents=True)
    for name, library in (("a", "../../secret.mtl"), ("b", str(tmp_path / "secret.mtl"))):
        (tmp_path / "m" / "c" / f"{name}.obj").write_text(obj(seat(), library))
    for which in range(2):
        colors = load(tmp_path / "m", "meshes", which).colors
        assert colors is None or not (colors == [1, 0, 0]).all(axis=1).any()


def test_an_archive_that_lies_unfolds_no_further(tmp_path: Path) -> None:
    """A member of 50 MB that says it has 100 bytes, and a texture that would be 3.6 GB of pixels."""
    folder = tmp_path / "m" / "c"
    folder.mkdir(parents=True)
    (folder / "a.obj").write_bytes(TRIANGLE.format(x=0).encode() + b" " * 50_000_000)
    archive = zipped(tmp_path / "m", tmp_path / "zips" / "m.zip")
    size = (folder / "a.obj").stat().st_size
    packed = archive.read_bytes()
    assert packed.count(size.to_bytes(4, "little")) == 2  # before the member, and in the table of contents
    archive.write_bytes(packed.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with pytest.raises(ShapeError) as error:
        load(tmp_path / "zips", "meshes")
    assert error.value.code == ShapeCode.SOURCE_UNREADABLE

    root = shapenet(tmp_path / "core", version=2, models={CHAIR: ["one"]})
    chunks = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    head = (13).to_bytes(4, "big") + chunks + zlib.crc32(chunks).to_bytes(4, "big")
    (root / CHAIR / "one" / "images" / "t.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head)
    colors = load(root, "shapenet-v2").colors
    assert colors is not None
    assert len(np.unique(colors, axis=0)) == 2  # the two materials without a texture


# meshes in the wild


@settings(max_examples=8, deadline=None)
@example(seed=96, flipped=0.0, holes=0.05859375, doubled=False)  # seat and back have one edge, with a hole at it
@given(seed=st.integers(0, 99), flipped=st.floats(0, 1), holes=st.floats(0, 0.06), doubled=st.booleans())
def test_holes_and_flipped_faces_leave_it_solid(
    stool: np.ndarray, seed: int, flipped: float, holes: float, doubled: bool
) -> None:
    random = np.random.default_rng(seed)
    mesh = seat().subdivide().subdivide()
    faces = np.asarray(mesh.faces)
    faces = np.where((random.random(len(faces)) < flipped)[:, None], faces[:, ::-1], faces)
    faces = faces[random.random(len(faces)) >= holes]
    if doubled:
        faces = np.concatenate([faces, faces[:, ::-1]])
    soup = Geometry(np.asarray(mesh.vertices)[faces].reshape(-1, 3), np.arange(faces.size).reshape(-1, 3))
    assert iou(occupied(soup), stool) > 0.9


def test_sheets_are_as_thick_as_a_voxel() -> None:
    """A seat and a back that are single polygons, over a closed box: the box is full, and the seat is there."""
    seat_and_back = trimesh.Trimesh(
        [[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1], [-1, 2, 1], [1, 2, 1]],
        [[0, 1, 2], [0, 2, 3], [3, 2, 5], [3, 5, 4]],
    ).subdivide()
    mesh = trimesh.util.concatenate([seat_and_back, box((0.4, 1, 0.4), (0, -0.52, 0))])
    found = occupied(as_geometry(mesh))
    side = 2 * VOXELS / np.linalg.norm([2, 3.02, 2])  # of the seat, in voxels
    assert found.any(axis=1).sum() == pytest.approx(side**2, rel=0.1)  # the seat, seen from above
    assert found[:, 40].sum() == pytest.approx(side, rel=0.1)  # the back, one voxel thick
    assert found[32, :25, 32].sum() >= 0.5 * side  # the box below the seat is full


def test_a_body_without_its_underside_is_full() -> None:
    body = box((2, 0.7, 1), (0, 0, 0)).subdivide()
    faces = body.faces[body.triangles_center[:, 1] > -0.34]
    found = occupied(Geometry(np.asarray(body.vertices), np.asarray(faces)))
    assert iou(found, occupied(as_geometry(body))) > 0.9


@pytest.mark.parametrize(
    ("mesh", "code"),
    [
        (Geometry(np.zeros((3, 3)), np.array([[0, 1, 2]])), ShapeCode.DEGENERATE),
        (Geometry(np.eye(3), np.array([[0, 1, 1], [2, 2, 2], [0, 0, 2]])), ShapeCode.EMPTY_MESH),
        (Geometry(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]])), ShapeCode.DEGENERATE),
        (as_geometry(box((1, 0.003, 0.003), (0, 0, 0))), ShapeCode.ZERO_VOLUME),
        (Geometry(np.eye(3) * 1e300 * 1e8, np.array([[0, 1, 2]])), ShapeCode.DEGENERATE),
    ],
)
def test_what_encloses_nothing_says_so(mesh: Geometry, code: str) -> None:
    with pytest.raises(ShapeError) as error:
        prepare(mesh, "it", 0)
    assert error.value.code == code


def test_a_prepared_mesh_is_whole_and_the_same_again() -> None:
    mesh = as_geometry(seat())
    colors = np.random.default_rng(0).random((len(mesh.faces), 3))
    shape, again = (prepare(Geometry(mesh.vertices, mesh.faces, colors), "it", 3) for _ in range(2))
    assert (shape.views, shape.points, shape.voxels) == (again.views, again.points, again.voxels)
    assert shape.points != prepare(Geometry(mesh.vertices, mesh.faces, colors, BLANK), "another", 3).points
    low, high = (edge(normalised(mesh)[0], axis=0) for edge in (np.min, np.max))
    assert np.isclose(np.linalg.norm(high - low), 1)
    assert np.allclose(low + high, 0)
    places, labels = points(shape)
    back = (np.abs(places[:, 0]) < 0.2) & (places[:, 1] > 0.1)
    assert labels[back & (places[:, 2] > 0)].any()  # the back of the seat is behind
    assert not labels[back & (places[:, 2] < 0)].any()
    surface = trimesh.Trimesh(*normalised(mesh)[:2], process=False)
    far = trimesh.proximity.ProximityQuery(surface).vertex(places)[0] > 0.2
    assert 0.15 < far.mean() < 0.6  # a quarter is anywhere in the cube, and most of that far from it
    assert 0.01 < shape.share < 0.2
    pictures = [np.asarray(Image.open(io.BytesIO(view))) for view in shape.views]
    assert {picture.shape for picture in pictures} == {(137, 137, 4)}
    for picture in pictures:
        alpha = picture[..., 3]
        assert not alpha[[0, -1]].any()  # it is whole in the picture
        assert not alpha[:, [0, -1]].any()
        assert 0.03 < (alpha > 0).mean() < 0.7
        assert ((alpha > 0) & (alpha < 255)).any()  # antialiased
    darkness = [float(picture[picture[..., 3] == 255][:, :3].mean()) for picture in pictures]
    assert min(darkness) < 60
    assert max(darkness) > 120


def test_a_made_up_object_as_a_mesh_has_the_voxels_of_its_collection() -> None:
    made = collect(["sofa"], 1, 1, Framing(mode="fit"), seed=7).voxel_grid(torch.tensor([0]))[0, 0].bool().numpy()
    vertices, faces = procedural.sample("sofa", 7).mesh(64)
    assert iou(occupied(Geometry(vertices, faces)), made) > 0.9


# HDF5


@pytest.mark.parametrize("fine", [True, False])
def test_hdf5_in_both_conventions(fine: bool, tmp_path: Path) -> None:
    file = hdf5(tmp_path / "all_vox256_img_train.hdf5", fine=fine, rows=2)
    file.with_suffix(".txt").write_text(f"{CHAIR}/one\n{TABLE}/two\n")
    found = entries(file, "hdf5")
    assert [(entry.id, entry.category) for entry in found] == [(f"{CHAIR}/one", "chair"), (f"{TABLE}/two", "table")]
    source = open_source(str(tmp_path), "hdf5", STORES, Options())
    assert [source.split(entry.address) for entry in source.entries()] == ["train", "train"]
    shape = prepare(source.load(found[1].id, found[1].address), found[1].id, 0)
    places, labels = points(shape)
    truth = contains(places)
    side = 256 if fine else 64  # a label of the coarse convention says whether any of a cell's finer voxels is inside
    agree = labels == truth
    near_edge = ~np.all([np.abs(contains(places + step) ^ truth) == 0 for step in _steps(1 / side)], axis=0)
    assert agree[~near_edge].all()
    assert fine is bool(agree.all())
    assert labels.mean() > 0.02
    grid = np.stack(np.meshgrid(*[(np.arange(VOXELS) + 0.5) / VOXELS - 0.5] * 3, indexing="ij"), axis=-1)
    assert iou(voxels(shape), contains(grid.reshape(-1, 3)).reshape((VOXELS,) * 3)) > 0.85
    view = decode(shape.views[3], max_pixels=1 << 20)
    assert set(view.rgba[..., 3].flat) == {0, 255}
    assert view.rgba[60, 60].tolist() == [15, 15, 15, 255]
    assert frame(view, Framing(mode="crop"), 128).max() == pytest.approx(240 / 255, abs=0.01)


def _steps(size: float) -> list[np.ndarray]:
    return [np.array([x, y, z]) * size for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]


@pytest.mark.parametrize("damage", ["pixels", "values", "cut", "names"])
def test_what_is_wrong_with_an_hdf5_file(damage: str, tmp_path: Path) -> None:
    file = hdf5(tmp_path / "03001627_vox.hdf5", fine=False, damage=damage)
    if damage == "values":
        source = open_source(str(file), "hdf5", STORES, Options())
        (entry,) = source.entries()
        assert (entry.id, entry.category) == (f"{CHAIR}/000000", "chair")
        with pytest.raises(ShapeError, match="other than 0 and 1"):
            source.load(entry.id, entry.address)
        return
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:3000])
    if damage == "names":
        file.with_suffix(".txt").write_text("one\ntwo\n")
    says = {"pixels": "no dataset 'pixels'", "cut": "not a readable HDF5", "names": "2 names for the 1 rows"}[damage]
    with pytest.raises(RequestError, match=says):
        list(open_source(str(file), "hdf5", STORES, Options()).entries())


# 3D-R2N2's renderings


def test_renderings_take_the_place_of_our_own(tmp_path: Path) -> None:
    root = shapenet(tmp_path / "core", version=1, models={CHAIR: ["one", "two", "three"]})
    pictures = renderings(tmp_path / "r", [f"{CHAIR}/one"])
    renderings(tmp_path / "r", [f"{CHAIR}/two"], views=23)
    mesh = load(root, "shapenet-v1", 0, renderings=str(pictures))
    assert mesh.views is not None
    shape = prepare(mesh, f"{CHAIR}/one", 0)
    assert [Image.open(io.BytesIO(view)).getpixel((50, 50)) for view in shape.views] == [
        (number * 10, 0, 0, 255) for number in range(24)
    ]
    for which, says in ((1, "no 03001627/three/rendering/00.png"), (2, "has 23 pictures, and 24 are needed")):
        with pytest.raises(ShapeError, match=re.escape(says)) as error:
            load(root, "shapenet-v1", which, renderings=str(pictures))
        assert error.value.code == ShapeCode.VIEWS_MISSING
    with pytest.raises(RequestError, match="--renderings"):
        recognise(str(pictures), STORES)


def test_real_renderings(tmp_path: Path) -> None:
    real = Path(__file__).resolve().parents[2] / "shared" / "renderings" / "chair"
    if not real.is_dir():
        pytest.skip("../shared/renderings is not here")
    model = sorted(real.iterdir())[0]
    shutil.copytree(model, tmp_path / "r" / CHAIR / model.name / "rendering")
    root = shapenet(tmp_path / "core", version=1, models={CHAIR: [model.name]})
    views = load(root, "shapenet-v1", renderings=str(tmp_path / "r")).views
    assert views == tuple((model / f"{number:02d}.png").read_bytes() for number in range(24))


# which is which


def test_what_is_no_collection_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not exist or is empty"):
        recognise(str(tmp_path / "none"), STORES)
    (tmp_path / "notes.txt").write_text("nothing in three dimensions")
    with pytest.raises(RequestError, match="none of the layouts"):
        recognise(str(tmp_path), STORES)
    (tmp_path / "broken.zip").write_bytes(b"PK and no more")
    with pytest.raises(RequestError, match="not a readable zip archive"):
        recognise(str(tmp_path), STORES)
