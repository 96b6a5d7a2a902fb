"""`isofleet evaluate`: real bundles on pictures whose truth is known, and truths, baselines and pages by themselves."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import trimesh
from chromium import Browser, browser  # noqa: F401
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cluster.config import Config, StoreSettings
from cluster.errors import RequestError
from cluster.store import Stores
from jobs import cli
from jobs.evaluation import autoencoder, baselines, measure, metrics, page, summary
from jobs.evaluation.examples import SEED, Made
from jobs.evaluation.renderings import renderings
from jobs.evaluation.shapes import LatticeTruth, VoxelTruth, of_lattice
from jobs.training import procedural
from jobs.training.checkpoints import Checkpoint, Checkpoints
from jobs.training.collection import VOXELS, Collection
from jobs.training.fields import Fields
from jobs.training.plan import HELD_OUT, Plan
from jobs.training.shape import Shape
from jobs.training.stages import Networks
from workers import load_model, weights
from workers.decoder import Decoder, LatticeField
from workers.encoder import Encoder
from workers.failure import ErrorCode, ItemError
from workers.grid import Lattice
from workers.images import Framing
from workers.isosurface import extract
from workers.mesh import Mesh
from workers.render import Camera, render, vertex_normals

RENDERINGS = Path(__file__).resolve().parents[2] / "shared" / "renderings"
VOID = {"meta", "link", "img", "br", "input", "hr"}
HOSTILE = "</style><script>window.stolen = 1</script><img src=x onerror='window.stolen = 2'>\u202egnp"


class Nested(HTMLParser):
    """Fails where an element is not closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def well_formed(text: str) -> None:
    parser = Nested()
    parser.feed(text)
    parser.close()
    assert parser.open == []


@pytest.fixture(scope="module")
def void(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose decoder says of every point that it is outside."""
    torch.manual_seed(0)
    encoder, decoder = Encoder(8, 2), Decoder("imnet-2019", 8, 2)
    torch.nn.init.zeros_(decoder.layers[-1].weight)
    torch.nn.init.constant_(decoder.layers[-1].bias, -5.0)
    folder = tmp_path_factory.mktemp("bundles") / "void"
    config = weights.BundleConfig(
        name="void", family="imnet-2019", latent_size=8, decoder_width=2, encoder_width=2,
        framing=Framing(mode="crop"), categories=("chair", "car"),
    )  # fmt: skip
    weights.save(folder, config, encoder, decoder)
    return folder


def test_made_up_objects_end_to_end(void: Path, tmp_path: Path) -> None:
    """In a process, against a bundle that finds no surface in pictures of another framing."""
    output = tmp_path / "evaluation"
    command = [sys.executable, "-m", "jobs.cli", "evaluate", "embedded", str(output), "--against", str(void)]
    command += ["--objects", "4", "--training", "6", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    facts = json.loads((output / "metrics.json").read_text())
    rows = pq.read_table(output / "items.parquet").to_pylist()
    assert len(rows) == 4 * 4
    assert {(row["id"], row["category"]) for row in rows} == {  # of the categories that both know
        (f"{name}/{SEED + place}", name) for place, name in enumerate(("car", "chair", "car", "chair"))
    }
    assert SEED > HELD_OUT

    own = [row for row in rows if row["method"] == "bundle"]
    by_category = [np.mean([row["iou"] for row in own if row["category"] == name]) for name in ("car", "chair")]
    assert facts["methods"]["bundle"]["mean"]["iou"] == pytest.approx(np.mean(by_category))
    assert said["means"]["bundle"] == facts["methods"]["bundle"]["mean"]
    assert np.mean([row["iou"] for row in own]) > 0.15
    assert all(0 <= row["iou"] <= 1 and 0 < row["chamfer_l1"] < 5 and row["pieces"] >= 1 for row in own)
    lost = [row for row in rows if row["method"] == "against"]
    assert {row["error_code"] for row in lost} == {ErrorCode.NO_SURFACE.value}
    assert all("threshold" in row["error_message"] and row["iou"] is None for row in lost)
    assert (
        facts["methods"]["against"]["mean"] | {"pictures": 4, "failed": 4, "iou": 0}
        == (facts["methods"]["against"]["mean"])
    )
    assert facts["gains"]["against"]["mean"]["gain"] == pytest.approx(facts["methods"]["bundle"]["mean"]["iou"])
    assert facts["baselines"]["training_objects"] == 6

    text = (output / "index.html").read_text()
    well_formed(text)
    assert text.count("<figure") == 2 * 2  # the best and the median are one of two
    assert "void" in text


def test_what_is_measured_is_what_a_run_makes() -> None:
    """The IoU of one object, evaluated densely by hand, and its mesh by the notebook's way."""
    model, shape = load_model("embedded"), procedural.sample("car", SEED)
    vertices, faces = shape.mesh()
    picture = render(vertices, faces, Camera(), 137, normals=vertex_normals(vertices, faces))
    latent = model.encode(Image.fromarray(picture))
    truth = LatticeTruth(np.packbits(lattice_of(shape)), ("car", SEED))
    place, [row] = measure.measure(measure.Task(7, truth, {"bundle": model.surface(latent)}))
    lattice = Lattice(VOXELS)
    ijk = torch.cartesian_prod(*[torch.arange(VOXELS)] * 3)
    config = model.bundle.config
    field = LatticeField(model.bundle.decoder, torch.from_numpy(latent)[None], lattice, config.threshold, 256)
    inside = (field(lattice.keys(0, ijk)) > 0).reshape([VOXELS] * 3).numpy()
    assert place == 7
    assert row["iou"] == pytest.approx(metrics.iou(inside, truth.inside))
    assert row["faces"] == len(model.mesh(latent).faces)


def lattice_of(shape: Shape) -> np.ndarray:
    return Fields([shape]).volume(torch.tensor([0]), VOXELS)[0].numpy() < 0


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31), resolution=st.sampled_from([8, 16, 33]))
def test_a_sparse_field_knows_the_side_of_every_sample(seed: int, resolution: int) -> None:
    """Of rough fields that touch the border: as a dense evaluation has them."""
    lattice, random = Lattice(resolution), torch.Generator().manual_seed(seed)
    values = torch.randn(6, 6, 6, generator=random)[None, None]
    dense = torch.nn.functional.interpolate(values, [resolution] * 3, mode="trilinear", align_corners=True)[0, 0]

    def field(keys: torch.Tensor) -> torch.Tensor:
        i, j, k = lattice.split(keys)[1].unbind(1)
        return dense[i, j, k]

    [found] = extract(field, lattice, 1, exact=True)
    assert np.array_equal(found.inside(), (dense > 0).numpy())


def test_a_truth_is_its_own_best_and_shapes_keep_their_size() -> None:
    """Of a car by its field and by its lattice alone: both surfaces are the same to half a voxel, 0.08 of the unit."""
    inside = np.packbits(lattice_of(procedural.sample("car", 5)))
    exact, stairs = LatticeTruth(inside, ("car", 5)), LatticeTruth(inside)
    assert exact.iou(stairs.body()) == 1
    [found] = exact.distances([stairs.body()], seed=0)
    assert found["chamfer_l1"] < 0.1
    assert found["f_score"] > 0.8
    assert found["normal_consistency"] > 0.85
    [same] = exact.distances([exact.body()], seed=0)
    assert same["chamfer_l1"] < 0.03
    assert same["f_score"] > 0.99
    assert metrics.pieces(*vars(stairs.body().mesh).values()) == 1


def test_pieces_are_bodies_and_not_the_walls_of_holes() -> None:
    grid = np.zeros((3, VOXELS, VOXELS, VOXELS), bool)
    grid[0, 10:30, 10:30, 10:30] = True
    grid[0, 15:20, 15:20, 15:20] = False  # a hole inside
    grid[1, 10:20, 10:20, 10:20] = grid[1, 30:40, 30:40, 30:40] = True
    meshes = [of_lattice(one).mesh for one in grid]
    assert [metrics.pieces(mesh.vertices, mesh.faces) for mesh in meshes] == [1, 2, 0]


def test_voxels_of_3d_r2n2_have_the_front_to_x() -> None:
    """A bar that is long, upright at the back of the frame (+Z) and to its right (+X) lies at −X, and at +Z."""
    post = trimesh.creation.box((0.1, 1.0, 0.1)).apply_translation((0.3, 0, 0.4))
    slab = trimesh.creation.box((0.8, 0.1, 0.9))
    both = trimesh.util.concatenate([post, slab])
    mesh = Mesh(both.vertices.astype(np.float32), both.faces.astype(np.int32))
    empty = VoxelTruth(np.zeros((32, 32, 32), bool))
    voxels = empty.voxelised(mesh)
    x, _, z = np.argwhere(voxels[:, -6:]).mean(axis=0)
    assert voxels[:, [0, -1]].any(), "the longest side spans the cube"
    assert x < 10
    assert z > 22
    again = VoxelTruth(voxels)
    assert again.iou(again.body()) > 0.99, "into the frame and back"


def test_a_folder_as_3d_r2n2_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two views each of two cars, one of them of no picture, beside voxels turned into binvox's axes."""
    folder, blank = tmp_path / "data", VoxelTruth(np.zeros((32, 32, 32), bool))
    for seed in (1, 2):
        shape = Shape()
        shape.box((0, 0.3, 0), (1.8, 0.6, 4.2 + 0.2 * seed), round=0.1)
        shape.box((0, 0.8, 0.4), (1.5, 0.7, 2.2), taper=(0.2, 0.4))
        vertices, faces = shape.normalised().mesh(64)
        there = folder / "02958343" / f"{seed} {HOSTILE.replace('/', '')}"
        there.mkdir(parents=True)
        voxels = blank.voxelised(Mesh(vertices.astype(np.float32), faces.astype(np.int32)))
        binvox = trimesh.exchange.binvox.export_binvox(trimesh.voxel.VoxelGrid(voxels))
        (there / "model.binvox").write_bytes(binvox)
        for view, azimuth in enumerate((40, 200)):
            picture = render(vertices, faces, Camera(azimuth), 137, normals=vertex_normals(vertices, faces))
            Image.fromarray(picture).save(there / f"{view:02d}.png")
    min((folder / "02958343").iterdir()).joinpath("00.png").write_bytes(b"no picture")
    (folder / "no-truth").mkdir()
    (folder / "no-truth" / "1.png").write_bytes(b"beside")
    assert run("evaluate", "embedded", str(tmp_path / "out"), "--data", str(folder), "--json") == 0
    rows = pq.read_table(tmp_path / "out" / "items.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["failed", "ok", "ok", "ok"]
    assert rows[0]["error_code"] == "not_an_image"
    assert {row["view"] for row in rows} == {0, 1}
    assert all(row["iou"] > 0.4 and row["chamfer_l1"] is None for row in rows[1:]), "cars, not turned the wrong way"
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert facts["methods"]["bundle"]["02958343"]["iou"] == pytest.approx(sum(row["iou"] for row in rows[1:]) / 4)
    assert facts["baselines"] is None, "no made-up object is of that category"
    well_formed((tmp_path / "out" / "index.html").read_text())


@pytest.mark.skipif(not RENDERINGS.is_dir(), reason="../shared/renderings is not here")
def test_real_voxels_are_read_as_they_are_meant() -> None:
    """What the protocol says of itself: another chair's true shape scores 0.21, and the truth itself everything."""
    found = renderings(str(RENDERINGS), Config(), None, (), Made("cpu", lambda count: 1))
    assert found is not None
    assert len(found.examples) == 3 * 24
    truths = list(dict.fromkeys(example.truth for example in found.examples))
    scores = np.array([[truth.iou(other.body()) for other in truths] for truth in truths])
    assert np.diag(scores).min() > 0.96
    assert scores[~np.eye(3, dtype=bool)].mean() == pytest.approx(0.21, abs=0.01)


def checkpoint(folder: Path, joint_steps: int, stage: int, step: int) -> Networks:
    """What a training of an autoencoder, then of an image encoder, then perhaps of both, leaves at some step."""
    torch.manual_seed(1)
    plan = Plan(
        name="tiny", categories=("car",), latent_size=8, decoder_width=2, encoder_width=2,
        schedule={"joint_steps": joint_steps, "voxel_width": 2},
    )  # fmt: skip
    networks = Networks(plan)
    torch.nn.init.normal_(networks.decoder.layers[-1].weight, std=5.0)
    state = {"plan": plan.model_dump(mode="json"), "progress": {"stage": stage, "step": step}}
    tensors = {f"networks.{name}": value for name, value in networks.state_dict().items()}
    Checkpoints(str(folder), Stores(StoreSettings()), keep=2).save(step, Checkpoint(state, tensors), [])
    return networks


def test_the_autoencoder_of_a_training(tmp_path: Path) -> None:
    networks = checkpoint(tmp_path / "kept", joint_steps=0, stage=2, step=7)
    inside = lattice_of(procedural.sample("car", 1))
    found = autoencoder.load(str(tmp_path / "kept"), Config())
    with torch.inference_mode():
        expected = networks.voxel_encoder.eval()(torch.from_numpy(inside[None, None]).float())[0]
    assert np.allclose(found.latents([inside])[0], expected, atol=1e-6)
    arguments = ["--objects", "1", "--category", "car", "--training", "0", "--checkpoints", str(tmp_path / "kept")]
    assert run("evaluate", "embedded", str(tmp_path / "out"), *arguments) == 0
    rows = pq.read_table(tmp_path / "out" / "items.parquet").to_pylist()
    assert [one["method"] for one in rows] == ["bundle", "autoencoder"]
    assert rows[1]["iou"] is not None or rows[1]["error_code"] == "no_surface"
    well_formed((tmp_path / "out" / "index.html").read_text())


@pytest.mark.parametrize(
    ("joint_steps", "stage", "step", "sentence"),
    [(0, 0, 5, "not trained yet"), (9, 2, 1, "joint training"), (9, 3, 0, "joint training"), (9, 2, 0, None)],
)
def test_an_autoencoder_that_is_not_there(
    joint_steps: int, stage: int, step: int, sentence: str | None, tmp_path: Path
) -> None:
    checkpoint(tmp_path, joint_steps, stage, step)
    if sentence is None:  # joint training has not begun
        autoencoder.load(str(tmp_path), Config())
        return
    with pytest.raises(RequestError, match=sentence):
        autoencoder.load(str(tmp_path), Config())


def collection(voxels: np.ndarray, categories: list[int]) -> Collection:
    packed = torch.from_numpy(np.packbits(voxels.reshape(len(voxels), -1), axis=1))
    nothing = torch.zeros(len(voxels), 1)
    ids = tuple(map(str, range(len(voxels))))
    return Collection(nothing, packed, nothing, nothing, torch.tensor(categories), ("chair", "car", "table"), ids)


def test_the_mean_shape_of_known_shapes() -> None:
    """Three cubes and one slab that contains them: at a level of ½ and less the mean is one or the other."""
    voxels = np.zeros((5, VOXELS, VOXELS, VOXELS), bool)
    voxels[:3, 20:30, 20:30, 20:30] = True
    voxels[3, 20:30, 20:30, 10:50] = True
    voxels[4, :8, :8, :8] = True
    found = baselines.mean_shapes(collection(voxels, [0, 0, 0, 0, 2]))
    assert list(found) == ["chair", "table"]
    assert np.array_equal(found["chair"].body.inside, voxels[0])
    assert found["chair"].iou == pytest.approx((3 + 1 / 4) / 4)
    assert 0.25 < found["chair"].level <= 1
    assert np.array_equal(found["table"].body.inside, voxels[4])
    assert found["table"].iou == pytest.approx(1)


@given(seed=st.integers(0, 2**31))
def test_the_nearest_latent_is_the_nearest(seed: int) -> None:
    known, asked = np.split(np.random.default_rng(seed).random((9, 5), np.float32), [6])
    far = np.linalg.norm(asked[:, None] - known[None], axis=2)
    assert np.array_equal(baselines.nearest(known, asked), far.argmin(axis=1))


def row(method: str, name: str, iou: float | None, category: str = "chair", **more: Any) -> dict[str, Any]:
    status = {"status": "ok" if iou is not None else "failed"}
    known = {"id": name, "category": category, "view": 0, "method": method, "iou": iou, "pieces": iou and 1}
    return dict.fromkeys(measure.SCHEMA.names) | known | status | more


def test_a_failure_counts_as_nothing_where_nothing_is_the_worst() -> None:
    rows = [row("bundle", "a", 0.8, chamfer_l1=0.4, f_score=0.6), row("bundle", "b", None)]
    rows += [row("bundle", "c", 0.5, "car", chamfer_l1=0.2, f_score=0.5, pieces=2)]
    cells = summary.summary(rows, ["chair", "car"])["bundle"]
    assert cells["chair"] | {"iou": 0.4, "f_score": 0.3, "chamfer_l1": 0.4, "whole": 0.5, "failed": 1} == cells["chair"]
    assert cells["mean"]["iou"] == pytest.approx((0.4 + 0.5) / 2), "of categories, not of pictures"
    assert cells["mean"]["chamfer_l2"] is None


def test_gains_are_of_the_same_pictures() -> None:
    rows = [row("bundle", name, score) for name, score in (("a", 0.5), ("b", 0.7), ("c", 0.9))]
    rows += [row("nearest", name, score) for name, score in (("a", 0.4), ("b", 0.4))]
    found = summary.gains(rows, "bundle", "nearest", ["chair"])
    assert found["chair"]["gain"] == pytest.approx(0.2)
    assert found["chair"]["error"] == pytest.approx(0.1)
    assert found["mean"] == found["chair"]


def test_the_page_in_a_browser_keeps_strangers_text(browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    rows = [row("bundle", HOSTILE, 0.5, HOSTILE), row("against", HOSTILE, None, HOSTILE)]
    rows[0] |= dict.fromkeys(("chamfer_l1", "chamfer_l2", "f_score", "normal_consistency"), 0.5) | {"pieces": 3}
    bundle = {"uri": HOSTILE, "name": HOSTILE, "digest": "0" * 64, "categories": []}
    facts = {
        "bundle": bundle, "against": bundle | {"digest": "1" * 64}, "data": HOSTILE, "baselines": None,
        "methods": summary.summary(rows, [HOSTILE]), "resolution": 64, "device": "cpu", "code_version": HOSTILE,
        "gains": {"against": summary.gains(rows, "bundle", "against", [HOSTILE])}, "written_at": "", "seconds": 1.0,
    }  # fmt: skip
    box = trimesh.creation.box((0.5, 0.5, 0.5))
    mesh = Mesh(box.vertices.astype(np.float32), box.faces.astype(np.int32))
    look = page.Look("best", rows[0], np.zeros((128, 128), np.float32), {"bundle": mesh, "against": None}, mesh)
    text = page.html(facts, [look], summary.by_object(rows))
    well_formed(text)
    (tmp_path / "index.html").write_text(text)
    browser.open((tmp_path / "index.html").as_uri(), 390, 844)
    assert browser.run("return window.stolen === undefined && document.scripts.length === 0")
    assert HOSTILE in browser.texts("h1")[0]
    assert browser.run("return [...document.images].every((one) => one.naturalWidth > 0)")
    assert browser.complaints() == []
    assert all(address.startswith(("file:", "data:")) for address in browser.requests())
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), "tables scroll by themselves"


def run(*arguments: str) -> int:
    """The program in this process; its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["isofleet"])
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--category", "unicorn"], "--category unicorn: made-up objects are of"),
        (["--against", "embedded"], "--against embedded: is the same bundle"),
        (["--objects", "0"], "objects"),
        (["--data", "{tmp}/absent"], "--data {tmp}/absent: "),
        (["--data", "{tmp}/empty"], "holds no CATEGORY/ID/model.binvox"),
        (["--data", "{tmp}/bad"], "is no binvox file"),
        (["--data", "{tmp}/damaged"], "is a damaged binvox file"),
        (["--checkpoints", "{tmp}/empty"], "holds no checkpoint of a training"),
        (["--data", "{tmp}/bad", "--category", "unicorn"], "--category unicorn: {tmp}/bad has chair"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for name, data in (
        ("bad", b"no voxels"),
        ("damaged", b"#binvox 1\ndim 32 32 32\ntranslate 0 0 0\nscale 1\ndata\n\1"),
    ):
        (tmp_path / name / "chair" / "1").mkdir(parents=True)
        (tmp_path / name / "chair" / "1" / "model.binvox").write_bytes(data)
        Image.new("RGBA", (8, 8)).save(tmp_path / name / "chair" / "1" / "0.png")
    output = str(tmp_path / "out")
    assert run("evaluate", "embedded", output, *(option.format(tmp=tmp_path) for option in options)) == 2
    said = capsys.readouterr().err
    assert sentence.format(tmp=tmp_path) in said
    assert len(said.strip().splitlines()) == 1
    assert not Path(output).exists()


def test_why_a_picture_failed_is_kept() -> None:
    error = ItemError(ErrorCode.NOTHING_VISIBLE, "Every pixel is transparent.")
    _, [found] = measure.measure(measure.Task(0, LatticeTruth(np.zeros(VOXELS**3 // 8, np.uint8)), {"bundle": error}))
    assert (found["status"], found["error_code"], found["iou"]) == ("failed", "nothing_visible", None)
