"""From a collection to a dataset and into training's arrays: real files, real actors, a real store."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import S3
from shapes import CHAIR, TABLE, contains, hdf5, seat, shapenet, zipped
from test_cli import isofleet

from cluster.config import Config, StoreSettings, load
from cluster.errors import RequestError, RunError
from cluster.store import Stores
from jobs.evaluate import evaluate
from jobs.prepare import prepare
from jobs.progress import Progress
from jobs.shapes import Asked
from jobs.stop import Stop
from jobs.training import dataset, shards
from jobs.training.collection import POINTS, VOXELS
from jobs.training.shards import split_for
from workers.images import Framing

pytestmark = pytest.mark.usefixtures("ray_session")

CHECKOUT = Path(__file__).resolve().parents[1]
STORES = Stores(StoreSettings())
SMALL = {"prepare.shard_size": 2, "actors.preparers": 1, "prepare.max_failed_percent": 100.0}
OPTIONS = [f"--set={key}={value}" for key, value in SMALL.items()]
NAMES = {CHAIR: ["a", "b", "c", "flat"], TABLE: ["d", "e", "torn"]}
FIT = Framing(mode="fit")


def configured(**more: object) -> Config:
    return load(None, {}, SMALL | {key.replace("__", "."): value for key, value in more.items()})


def parts(folder: Path) -> dict[str, str]:
    """The shards of a dataset and the SHA-256 of each."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "shards").iterdir()}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ShapeNetCore.v2 with seven models, of which one is flat and one is no mesh."""
    root = shapenet(tmp_path_factory.mktemp("collection") / "core", version=2, models=NAMES)
    (root / CHAIR / "flat" / "models" / "model_normalized.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (root / TABLE / "torn" / "models" / "model_normalized.obj").write_text("v 0 0 0\nf 1 2 3\n")
    return root


@pytest.fixture(scope="module")
def undisturbed(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection prepared with nothing in the way, by the command."""
    target = tmp_path_factory.mktemp("undisturbed") / "data"
    end = isofleet("prepare", collection, target, *OPTIONS, "--json")
    assert end.status == 0, end
    said = json.loads(end.stdout)
    assert (said["shapes"], said["ok"], said["failed"], said["shards"]) == (7, 5, 2, 4)
    assert said["errors"] == {"degenerate": 1, "not_a_mesh": 1}
    assert said["categories"] == {"chair": 4, "table": 3}
    assert json.loads((target / "_SUCCESS.json").read_text())["ok"] == 5
    return target


def test_every_shape_has_one_row(undisturbed: Path) -> None:
    tables = [shards.read(STORES, str(undisturbed), index) for index in range(4)]
    found = [row for table in tables for row in table.to_pylist()]
    assert [row["item_id"] for row in found] == [f"{synset}/{name}" for synset in NAMES for name in NAMES[synset]]
    wrong = {row["item_id"]: row for row in found if row["status"] == "failed"}
    assert {key: row["error_code"] for key, row in wrong.items()} == {
        f"{CHAIR}/flat": "degenerate", f"{TABLE}/torn": "not_a_mesh",
    }  # fmt: skip
    assert all(row["error_message"].endswith(".") and row["views"] is None for row in wrong.values())
    for row in found:
        assert row["split"] == split_for(row["item_id"], None)
        if row["status"] == "ok":
            assert [len(row[name]) for name in ("views", "voxels", "points", "inside")] == [24, 32768, 49152, 1024]
            assert row["faces"] == len(seat().faces)


def test_the_same_dataset_in_a_bucket(collection: Path, undisturbed: Path, s3: S3, s3_client) -> None:
    """From a zip archive in a bucket into the bucket: the same rows, but for where the shapes lie."""
    archive = zipped(collection, collection.parent / "ShapeNetCore.v2.zip")
    store = Stores(StoreSettings(s3=s3.settings))
    store.open(s3.uri("")).put(s3.uri("core.zip"), archive.read_bytes())
    config = load(None, {}, SMALL | {"store.s3.endpoint_url": s3.endpoint_url})
    result = prepare(s3.uri("core.zip"), s3.uri("data"), config)
    assert (result.kind, result.ok, result.failed) == ("shapenet-v2", 5, 2)
    for index in range(4):
        here, there = (shards.read(*place, index) for place in ((STORES, str(undisturbed)), (store, s3.uri("data"))))
        assert here.drop(["source_uri", "etag"]).equals(there.drop(["source_uri", "etag"]))
    assert there["source_uri"][0].as_py().startswith(f"{s3.uri('core.zip')}!/core/{TABLE}/")


def test_a_driver_that_was_killed_goes_on(collection: Path, undisturbed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobs.cli", "prepare", str(collection), str(tmp_path / "data"), *OPTIONS]
    driver = subprocess.Popen(command, cwd=CHECKOUT, start_new_session=True, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "data" / "shards" / "shard-00000.parquet").exists():
            assert driver.poll() is None, driver.stderr and driver.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    before = parts(tmp_path / "data")
    end = isofleet("prepare", collection, tmp_path / "data", *OPTIONS)
    assert end.status == 0, end
    assert f"4 shards, {len(before)} of them from an earlier start" in end.stdout
    assert parts(tmp_path / "data") == parts(undisturbed)
    assert before.items() <= parts(undisturbed).items()


def test_a_wish_to_stop_commits_what_is_in_flight(collection: Path, undisturbed: Path, tmp_path: Path) -> None:
    stop = Stop()

    def enough(progress: Progress) -> None:
        if progress.done:
            stop.by = "SIGTERM"

    target = tmp_path / "data"
    with pytest.raises(RunError, match="stopped by SIGTERM; what was committed stays"):
        prepare(str(collection), str(target), configured(), on_progress=enough, stop=stop)
    assert 0 < len(parts(target)) < 4
    assert not (target / "_SUCCESS.json").exists()
    with pytest.raises(RequestError, match="is not finished; give isofleet prepare the same once more"):
        dataset.load(str(target), "train", FIT, STORES, tmp_path / "scratch")
    prepare(str(collection), str(target), configured())
    assert parts(target) == parts(undisturbed)


def test_a_dry_run_writes_nothing(collection: Path, undisturbed: Path, tmp_path: Path) -> None:
    end = isofleet("prepare", collection, tmp_path / "data", *OPTIONS, "--category", "chair", "--dry-run")
    assert (end.status, end.stderr) == (0, "")
    assert end.stdout.startswith("shapenet-v2: 4 shapes in 2 shards, 0.0 MB\n")
    assert end.stdout.endswith("       4  chair\n")
    assert not list(tmp_path.iterdir())
    said = json.loads(isofleet("prepare", collection, undisturbed, *OPTIONS, "--dry-run", "--json").stdout)
    assert (said["shapes"], said["done"], said["categories"]) == (7, 7, {"chair": 4, "table": 3})


def test_too_many_failures_fail_the_command(collection: Path, undisturbed: Path, tmp_path: Path) -> None:
    end = isofleet("prepare", collection, undisturbed, *OPTIONS, "--max-failed-percent", "20")  # all is there
    assert end.status == 1
    assert end.stdout.startswith("5 shapes and 2 failures in ")
    assert "4 shards, 4 of them from an earlier start" in end.stdout
    (tmp_path / "m" / "c").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "m" / "c" / f"{number}.obj").touch()
    end = isofleet("prepare", tmp_path / "m", tmp_path / "data", *OPTIONS, "--set=prepare.max_failed=1")
    says = r"the error budget is exceeded: [234] of [234] shapes failed, and prepare.max_failed is 1; .*empty_mesh"
    assert re.match(says, end.sentence(1))
    assert not (tmp_path / "data" / "_SUCCESS.json").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--kind", "shapenet-v1"], "has no shapes in the layout shapenet-v1"),
        (["--category", "unicorn"], "no shapes of the category unicorn"),
        (["--front", "+z"], "--up and --front are for a folder of meshes"),
        (["--kind", "meshes", "--up", "+z"], "lie along one line"),
        (["--kind", "meshes", "--renderings", "r"], "--renderings are pictures of ShapeNet's models"),
        (["--kind", "cubes"], "--kind"),
    ],
)
def test_a_wrong_request_is_one_sentence(options: list[str], says: str, collection: Path, tmp_path: Path) -> None:
    assert says in isofleet("prepare", collection, tmp_path / "data", *options).sentence(2)
    assert not list(tmp_path.iterdir())


def test_a_dataset_answers_one_request(collection: Path, undisturbed: Path) -> None:
    sentence = isofleet("prepare", collection, undisturbed, *OPTIONS, "--seed", "1").sentence(2)
    assert "holds a dataset with seed 0, and this one asks for 1" in sentence


def test_two_shapes_of_one_id(tmp_path: Path) -> None:
    root = shapenet(tmp_path / "core", version=2, models={CHAIR: ["one"]})
    for name in ("a.zip", "b.zip"):
        zipped(root / CHAIR, tmp_path / "zips" / name)
    result = prepare(str(tmp_path / "zips"), str(tmp_path / "data"), configured())
    assert (result.ok, result.errors) == (1, {"duplicate_id": 1})


# into training


@pytest.fixture
def loaded(undisturbed: Path, tmp_path: Path) -> tuple[Path, dataset.Collection]:
    return tmp_path, dataset.load(str(undisturbed), "train", FIT, STORES, tmp_path)


def test_training_sees_what_was_prepared(loaded: tuple[Path, dataset.Collection], undisturbed: Path) -> None:
    scratch, found = loaded
    good = [f"{synset}/{name}" for synset in NAMES for name in NAMES[synset] if name not in ("flat", "torn")]
    assert list(found.ids) == [name for name in good if split_for(name, None) == "train"]
    assert found.names == ("chair", "table")
    assert [found.names[row] for row in found.categories] == [
        "chair" if name.startswith(CHAIR) else "table" for name in found.ids
    ]
    assert found.views.shape == (len(found), 24, 128, 128)
    assert found.views.dtype == torch.uint8
    assert (found.views.flatten(2).amax(-1) > 60).all()
    grid = found.voxel_grid(torch.arange(len(found)))
    assert torch.equal(grid[0], grid[1])  # they are all the same stool
    points, labels = found.labelled_points(torch.tensor([0]), POINTS, 0)
    cells = ((points[0] + 0.5) * VOXELS).long().clamp(0, VOXELS - 1)
    agree = grid[0, 0][cells[:, 0], cells[:, 1], cells[:, 2]] == labels[0]
    assert agree.float().mean() > 0.85  # near the surface a cell and a point in it differ

    made = {path: path.stat().st_mtime_ns for path in scratch.rglob("*.npy")}
    again = dataset.load(str(undisturbed), "train", FIT, STORES, scratch)
    assert torch.equal(again.views, found.views)
    assert {path: path.stat().st_mtime_ns for path in scratch.rglob("*.npy")} == made
    dataset.load(str(undisturbed), "train", Framing(mode="crop"), STORES, scratch)
    assert len(list(scratch.rglob("views.npy"))) == 2
    assert not list(scratch.glob(".*"))  # nothing half made


def test_evaluation_takes_the_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of stools alone, one to test with: the nearest training shape and the mean are the truth itself."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tested = next(str(number) for number in range(100) if split_for(f"{CHAIR}/{number}", None) == "test")
    root = shapenet(tmp_path / "core", version=2, models={CHAIR: ["a", "b", tested]})
    prepare(str(root), str(tmp_path / "data"), configured())
    facts = evaluate("embedded", str(tmp_path / "out"), Config(), data=str(tmp_path / "data"), training=1)
    cells = {method: found["chair"] for method, found in facts["methods"].items()}
    assert cells["bundle"]["pictures"] == 1
    assert 0 < cells["bundle"]["iou"] < 1
    assert cells["bundle"]["chamfer_l1"] > 0
    assert cells["nearest"]["iou"] == cells["mean_shape"]["iou"] == 1
    assert facts["baselines"]["training_objects"] == 1
    with pytest.raises(RequestError, match=r"--category unicorn: .* has chair"):
        evaluate("embedded", str(tmp_path / "out"), Config(), data=str(tmp_path / "data"), categories=["unicorn"])


def test_a_category_without_shapes_is_one_sentence(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has no shape to validate with of the category"):
        dataset.load(str(undisturbed), "validation", FIT, STORES, tmp_path)
    with pytest.raises(RequestError, match=r"holds no dataset: there is no _dataset\.json"):
        dataset.load(str(tmp_path), "train", FIT, STORES, tmp_path)


def test_splits_are_shares_and_the_sources_word_stands() -> None:
    names = [f"{CHAIR}/{number}" for number in range(4000)]
    share = {split: np.mean([split_for(name, None) == split for name in names]) for split in shards.SPLITS}
    assert share == {"train": pytest.approx(0.8, abs=0.02), "validation": pytest.approx(0.1, abs=0.02),
                     "test": pytest.approx(0.1, abs=0.02)}  # fmt: skip
    assert {split_for(name, "test") for name in names} == {"test"}
    assert np.mean([split_for(name, "train") == "validation" for name in names]) == pytest.approx(0.1, abs=0.02)
    assert {split_for(name, "train") for name in names} == {"train", "validation"}


def test_hdf5_needs_no_rendering(tmp_path: Path) -> None:
    hdf5(tmp_path / "03001627_vox256_img_train.hdf5", fine=True, rows=3)
    result = prepare(str(tmp_path), str(tmp_path / "data"), configured(), Asked(limit=2))
    assert (result.kind, result.ok, result.categories) == ("hdf5", 2, {"chair": 2})
    found = dataset.load(str(tmp_path / "data"), "train", Framing(mode="crop"), STORES, tmp_path / "scratch")
    points, labels = found.labelled_points(torch.tensor([0]), POINTS, 0)
    # float16 moves a point by a ten-thousandth
    assert (contains(points[0].numpy()) == labels[0].bool().numpy()).mean() > 0.999
