"""What a notebook uses: one picture, a latent, a mesh. That its meshes are a run's is asked in test_reconstruct."""

import io
import re
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import notebooks
import numpy as np
import pytest
import torch
import trimesh
from conftest import S3
from PIL import Image
from test_isosurface import assert_closed, one_thread  # noqa: F401

import workers
from cluster.config import StoreSettings
from cluster.errors import RequestError
from cluster.store import Stores
from workers import ErrorCode, ItemError, Model, Solid, load_model
from workers.decoder import LatticeField
from workers.grid import Lattice
from workers.isosurface import extract
from workers.mesh import build, check, verify

CHECKOUT = Path(__file__).resolve().parents[1]
CHAIR = Path(str(files("jobs.demo"))) / "images" / "chair" / "chair-3.png"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(device="cpu")


@pytest.fixture(scope="module")
def chair(model: Model) -> Solid:
    return model.reconstruct(CHAIR, resolution=32)


def test_importing_the_package_imports_nothing_heavy_and_no_ray() -> None:
    program = """
import sys, workers
from workers import ItemError
assert not {"torch", "numpy", "PIL", "ray"} & set(sys.modules), "import workers"
from workers import load_model
assert "ray" not in sys.modules, "load_model"
assert not set(workers.__all__) - set(dir(workers))
"""
    subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, check=True, timeout=60)
    with pytest.raises(AttributeError, match="'workers' has no attribute 'reconstruct_all'"):
        workers.reconstruct_all  # noqa: B018


def test_a_picture_may_come_as_file_bytes_image_or_object(model: Model, chair: Solid, s3: S3, s3_client) -> None:
    s3_client.put_object(Bucket=s3.bucket, Key="chair.png", Body=CHAIR.read_bytes())
    there = replace(model, _stores=Stores(StoreSettings(s3=s3.settings)))
    with Image.open(CHAIR) as image:
        given = [str(CHAIR), CHAIR.read_bytes(), image, image.convert("P")]
        latents = [model.encode(picture) for picture in given]
    latents.append(there.encode(s3.uri("chair.png")))
    for latent in [*latents[:3], latents[-1]]:
        assert latent.dtype == np.float32
        np.testing.assert_array_equal(latent, chair.latent)
    np.testing.assert_allclose(latents[3], chair.latent, atol=0.2)  # 256 colours are another picture


def test_a_latent_is_enough_for_any_resolution(model: Model, chair: Solid) -> None:
    again = model.mesh(chair.latent.tolist(), resolution=32)
    assert again.to_bytes() == chair.to_bytes()
    exact = model.mesh(chair.latent, resolution=32, exact=True)
    assert (exact.points_evaluated, exact.report) == (32**3, chair.report)
    assert chair.points_evaluated < 32**3 / 2  # at 32³ a large chair has a surface in a third of all cells
    assert model.mesh(chair.latent, resolution=16).report.vertices < chair.report.vertices / 3


@pytest.mark.parametrize("resolution", [33, 50, 100, 130])
def test_any_resolution_is_closed(model: Model, chair: Solid, resolution: int) -> None:
    config, latents = model.bundle.config, torch.tensor(chair.latent)[None]
    field = LatticeField(model.bundle.decoder, latents, Lattice(resolution), config.threshold, 256)
    [sparse] = extract(field, Lattice(resolution), 1)
    assert_closed(sparse)
    verify(check(build(sparse)))


def from_the_surface(model: Model, solid: Solid) -> np.ndarray:
    """How far vertices are from the decoder's surface, to first order, in cells: |value| / |gradient| * resolution."""
    points = torch.tensor(solid.vertices, requires_grad=True)
    values = model.bundle.decoder(points[None], torch.tensor(solid.latent)[None])[0]
    values = values - model.bundle.decoder.level(model.bundle.config.threshold)
    [gradient] = torch.autograd.grad(values.sum(), points)
    return (values.abs() / gradient.norm(dim=1) * solid.resolution).detach().numpy()


def test_refinement_brings_vertices_to_the_decoders_surface(model: Model, chair: Solid) -> None:
    plain, *refined = [model.mesh(chair.latent, resolution=64, refine=steps) for steps in (0, 1, 2, 3)]
    inner = np.abs(plain.vertices).max(axis=1) < 0.49
    errors = [from_the_surface(model, solid)[inner] for solid in (plain, *refined)]
    mean, p99 = ([float(of(error)) for error in errors] for of in (np.mean, lambda error: np.quantile(error, 0.99)))
    assert mean[0] > 0.03
    assert all(now < share * mean[0] for now, share in zip(mean[1:], (0.25, 0.1, 0.015), strict=True))
    assert all(now < share * p99[0] for now, share in zip(p99[1:], (0.4, 0.13, 0.04), strict=True))
    for solid, steps in zip(refined, (1, 2, 3), strict=True):
        np.testing.assert_array_equal(solid.faces, plain.faces)
        assert solid.report.watertight
        assert solid.points_evaluated == plain.points_evaluated + steps * len(plain.vertices)
    for wrong in (-1, 9):
        with pytest.raises(RequestError, match=f"^refine is {wrong}; choose 0 to 8 steps$"):
            model.mesh(chair.latent, refine=wrong)


def test_a_solid_is_saved_as_its_name_says(chair: Solid, tmp_path: Path) -> None:
    for suffix in (".glb", ".obj", ".ply", ".STL"):
        path = chair.save(tmp_path / f"chair{suffix}")
        read = trimesh.load_mesh(path, process=suffix == ".STL")  # which names no vertex twice
        assert (len(read.vertices), len(read.faces)) == (len(chair.vertices), len(chair.faces))
        assert read.volume == pytest.approx(chair.report.volume, rel=1e-4)


def test_a_file_has_the_axes_and_the_size_that_were_asked_for(chair: Solid, tmp_path: Path) -> None:
    low, high = chair.vertices.min(axis=0), chair.vertices.max(axis=0)
    x, y, z = (high - low) * (1.2 / (high - low).max())
    for up_axis, sides in (("y", (x, y, z)), ("z", (x, z, y))):
        path = chair.save(tmp_path / f"chair-{up_axis}.ply", up_axis=up_axis, size_m=1.2)  # type: ignore[arg-type]
        read = trimesh.load_mesh(path)
        assert read.extents == pytest.approx(sides, rel=1e-5)
        assert read.volume > 0


def test_a_file_may_have_fewer_and_smoother_triangles(chair: Solid) -> None:
    coarse = trimesh.load_mesh(io.BytesIO(chair.to_bytes("ply", faces=300)), file_type="ply")
    smooth = trimesh.load_mesh(io.BytesIO(chair.to_bytes("ply", smooth=10)), file_type="ply")
    assert len(coarse.faces) <= 300 < len(smooth.faces) == len(chair.faces)
    assert coarse.is_watertight
    assert smooth.is_watertight
    assert smooth.area < trimesh.Trimesh(chair.vertices, chair.faces).area
    assert chair.to_bytes(normals=False) != chair.to_bytes(normals=True) == chair.to_bytes()


def test_a_notebook_shows_a_solid_as_a_picture(chair: Solid) -> None:
    with Image.open(io.BytesIO(chair._repr_png_())) as picture:
        assert (picture.format, picture.size) == ("PNG", (320, 320))
        covered = np.asarray(picture)[..., 3].mean() / 255
    assert 0.05 < covered < 0.5
    assert re.fullmatch(
        r"Solid\(\d+ vertices, \d+ faces, volume 0\.\d+, watertight, from \d+ points at 32³\)", repr(chair)
    )
    front, back = chair.view(64, azimuth=35), chair.view(64, azimuth=215)
    assert front.size == (64, 64)
    assert front.tobytes() != back.tobytes()


def test_what_is_wrong_is_one_sentence(model: Model, chair: Solid, tmp_path: Path) -> None:
    wrong = {
        "chair.fbx: the name says no format; let it end in one of .glb, .obj, .ply, .stl": lambda: chair.save(
            "chair.fbx"
        ),
        "nowhere/chair.glb: cannot be written (No such file or directory)": lambda: chair.save("nowhere/chair.glb"),
        "the format is 'fbx'; choose one of glb, obj, ply, stl": lambda: chair.to_bytes("fbx"),  # type: ignore[arg-type]
        "up_axis is 'z'; a glb file has y": lambda: chair.to_bytes("glb", up_axis="z"),
        "faces is 3: Input should be greater than": lambda: chair.to_bytes("ply", faces=3),
        "size_m is -1; it must be a number of metres above 0": lambda: chair.to_bytes("ply", size_m=-1),
        "resolution is 7; choose one from 8 to 1024": lambda: model.mesh(chair.latent, resolution=7),
        "the latent has the shape (3,); these weights' latents have (128,)": lambda: model.mesh([0, 0, 1]),
        f"the picture cannot be read: {tmp_path}/none.png does not exist": lambda: model.encode(tmp_path / "none.png"),
        "device is 'tpu'; choose one of cpu, cuda": lambda: load_model(device="tpu"),
        "weights nowhere: cannot be read as a bundle": lambda: load_model("nowhere"),
    }
    for sentence, call in wrong.items():
        with pytest.raises(RequestError, match=re.escape(sentence)) as refused:
            call()
        assert "\n" not in str(refused.value)
    blank = Image.new("RGB", (32, 32), "white")
    for picture, code in ((blank, ErrorCode.NOTHING_VISIBLE), (blank.convert("HSV"), ErrorCode.NOT_AN_IMAGE)):
        with pytest.raises(ItemError) as failed:
            model.reconstruct(picture)
        assert failed.value.code == code


@pytest.mark.parametrize("path", sorted(notebooks.NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_what_stands_in_it(path: Path) -> None:
    import nbformat

    def without_numbers(notebook: nbformat.NotebookNode) -> list[object]:
        """Kinds of outputs and their text: another CPU rounds otherwise, and may find a vertex more."""
        return [
            (source, [{kind: re.sub(r"[\d.]+", "0", str(data)) for kind, data in one.items() if "image" not in kind}
                      | dict.fromkeys(kind for kind in one if "image" in kind) for one in said])
            for source, said in notebooks.outputs(notebook)
        ]  # fmt: skip

    kept = nbformat.read(path, as_version=4)
    nbformat.validate(kept)
    assert without_numbers(notebooks.executed(path)) == without_numbers(kept), "run `make docs`"
    assert path.stat().st_size < 200_000
