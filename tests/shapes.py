"""Collections of shapes as people have them, written by the tests: real files of each format."""

import os
import zipfile
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

CHAIR, TABLE = "03001627", "04379243"
# An analytic shape with no symmetry: which axis is which, and which way it points, shows in every number.
LOW, HIGH = np.array([-0.4, 0.0, -0.2]), np.array([-0.1, 0.45, 0.05])


def seat() -> trimesh.Trimesh:
    """A stool with a back in the project's frame: the back is behind, at +z, one leg is missing, at −x and −z."""
    parts = [box((0.6, 0.1, 0.6), (0, 0.45, 0)), box((0.6, 0.5, 0.08), (0, 0.75, 0.26))]
    parts += [box((0.08, 0.4, 0.08), (x, 0.2, z)) for x, z in ((-0.26, 0.26), (0.26, 0.26), (0.26, -0.26))]
    return trimesh.util.concatenate(parts)


def box(size: tuple[float, float, float], center: tuple[float, float, float]) -> trimesh.Trimesh:
    """A closed box."""
    return trimesh.creation.box(size, trimesh.transformations.translation_matrix(center))


def obj(mesh: trimesh.Trimesh, library: str = "model.mtl") -> str:
    """An OBJ in two groups, with materials from a file beside it: one plain, one with a texture."""
    half = len(mesh.faces) // 2
    lines = [f"mtllib {library}", *(f"v {x} {y} {z}" for x, y, z in mesh.vertices), "vt 0.5 0.5"]
    for name, faces in (("red", mesh.faces[:half]), ("checked", mesh.faces[half:])):
        lines += [f"g {name}", f"usemtl {name}", *(f"f {a}/1 {b}/1 {c}/1" for a, b, c in faces + 1)]
    return "\n".join(lines) + "\n"


def shapenet(folder: Path, *, version: int, models: dict[str, list[str]]) -> Path:
    """ShapeNetCore's layout, with materials whose texture lies in another folder; v1 faces +x."""
    mesh = seat()
    if version == 1:  # front −z becomes front +x: the inverse of what is asked of the reader
        mesh.vertices = np.stack([-mesh.vertices[:, 2], mesh.vertices[:, 1], mesh.vertices[:, 0]], axis=1)
    for synset, names in models.items():
        for name in names:
            base = folder / synset / name
            where = base / "models" if version == 2 else base
            where.mkdir(parents=True)
            stem = "model_normalized" if version == 2 else "model"
            (where / f"{stem}.obj").write_text(obj(mesh, f"{stem}.mtl"))
            texture = os.path.relpath(base / "images" / "t.png", where)
            (where / f"{stem}.mtl").write_text(f"newmtl red\nKd 1 0 0\nnewmtl checked\nKd 1 1 1\nmap_Kd {texture}\n")
            (base / "images").mkdir()
            Image.new("RGB", (8, 8), (0, 0, 255)).save(base / "images" / "t.png")
    (folder / "taxonomy.json").write_text('[{"synsetId": "99999999", "name": "gizmo,thing", "children": []}]')
    return folder


def zipped(folder: Path, archive: Path) -> Path:
    """What a folder holds, as an archive."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(folder.parent))
    return archive


def renderings(folder: Path, models: list[str], views: int = 24) -> Path:
    """3D-R2N2's layout: a picture of one colour a view, so that it can be told which is which."""
    for model in models:
        where = folder / model / "rendering"
        where.mkdir(parents=True)
        names = [f"{number:02d}.png" for number in range(views)]
        for number, name in enumerate(names):
            picture = Image.new("RGBA", (137, 137))
            picture.paste((number * 10, 0, 0, 255), (30, 30, 100, 100))
            picture.save(where / name)
        (where / "renderings.txt").write_text("\n".join(names) + "\n")
        (where / "rendering_metadata.txt").write_text("166.3 29.7 0 0.889 25\n" * views)
    return folder


def hdf5(path: Path, *, fine: bool, rows: int = 1, damage: str | None = None) -> Path:
    """The authors' file of the analytic box, with points of the 256³ grid (`fine`) or of the R³ grids."""
    import h5py

    random = np.random.default_rng(0)
    whole = _lattice(256)
    voxels = {
        side: whole.reshape(side, 256 // side, side, 256 // side, side, -1).max(axis=(1, 3, 5)) for side in (64, 32, 16)
    }
    counts = {16: 4096, 32: 4096, 64: 16384} if fine else {16: 4096, 32: 8192, 64: 32768}
    data: dict[str, NDArray] = {
        "pixels": np.full((1, 24, 137, 137), 255, np.uint8), "voxels": voxels[64][None, ..., None],
    }  # fmt: skip
    data["pixels"][:, :, 40:90, 50:80] = np.arange(24, dtype=np.uint8)[None, :, None, None] * 5
    for side, count in counts.items():
        cells = np.stack(np.unravel_index(np.arange(side**3), (side,) * 3), axis=1)
        if side > 16:
            cells = cells[random.permutation(len(cells))[:count]]
        if fine:
            wanted = voxels[side][tuple(cells.T)]
            points = _inside_voxel(whole, cells * (256 // side), 256 // side, wanted, random)
            values = whole[tuple(points.T)]
        else:
            points, values = cells, voxels[side][tuple(cells.T)]
        data[f"points_{side}"], data[f"values_{side}"] = points[None].astype(np.uint8), values[None, :, None]
    if damage == "values":
        data["values_64"][0, 5] = 7
    with h5py.File(path, "w") as file:
        for name, content in data.items():
            if name != damage:
                file.create_dataset(name, data=np.repeat(content, rows, axis=0), compression=1)
    return path


def contains(points: NDArray) -> NDArray[np.bool_]:
    """Whether points [N, 3] lie in the analytic box."""
    return ((points >= LOW) & (points < HIGH)).all(axis=1)


def _lattice(side: int) -> NDArray[np.uint8]:
    centers = (np.arange(side) + 0.5) / side - 0.5
    along = [(centers >= low) & (centers < high) for low, high in zip(LOW, HIGH, strict=True)]
    return (along[0][:, None, None] & along[1][None, :, None] & along[2][None, None, :]).astype(np.uint8)


def _inside_voxel(
    whole: NDArray, corners: NDArray, size: int, wanted: NDArray, random: np.random.Generator
) -> NDArray[np.int64]:
    """For each cell a voxel in it that has the wanted value, as the authors' script draws it."""
    points = corners + random.integers(size, size=corners.shape)
    for _ in range(200):
        wrong = np.flatnonzero(whole[tuple(points.T)] != wanted)
        points[wrong] = corners[wrong] + random.integers(size, size=(len(wrong), 3))
    return points[whole[tuple(points.T)] == wanted]
