"""`isofleet remesh`: meshes from a manifest's latents. The pictures are deleted before any test begins."""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psutil
import pytest
from conftest import BROKEN, S3
from test_cli import CHECKOUT, isofleet
from test_reconstruct import Pipeline, content, convert, descendants, rows_of

from cluster.config import StoreSettings, load
from cluster.errors import RequestError
from cluster.store import Stores
from jobs import manifest
from jobs.remesh import remesh
from workers import load_model
from workers.messages import Encoded, Reading, Source

pytestmark = pytest.mark.usefixtures("ray_session")
FINER = {"reconstruct.resolution": 20, "reconstruct.format": "ply"}


@pytest.fixture(scope="module")
def base(catalog: Path, small: dict[str, Any], ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two outputs of the same pictures, `coarse` and `finer`. The pictures are gone."""
    folder = tmp_path_factory.mktemp("base")
    for category, number in {"broken": 5, "chair": 4, "table": 3}.items():
        (folder / "photos" / category).mkdir(parents=True)
        for picture in sorted((catalog / category).iterdir())[:number]:
            shutil.copy(picture, folder / "photos" / category)
    settings = small | {"reconstruct.shard_size": 2}
    convert(folder / "photos", folder / "coarse", settings)
    convert(folder / "photos", folder / "finer", settings | FINER)
    shutil.rmtree(folder / "photos")
    return folder


@pytest.fixture
def options(small: dict[str, Any]) -> list[str]:
    """Those that say how to run. What decides the meshes comes from OUTPUT, and the error budget is the default."""
    return [f"--set={key}={json.dumps(value)}" for key, value in small.items() if not key.startswith("reconstruct.")]


def check_against_fresh(rows: dict[str, Any], finer: Path, read: Any) -> None:
    """Rows and meshes are those of the run over the pictures; without a latent there is a row that says so."""
    fresh = rows_of(finer)
    assert list(rows) == list(fresh)
    for item_id, row in rows.items():
        if row["status"] == "ok":
            assert content(row) == content(fresh[item_id])
            assert read(row["mesh_uri"]) == Path(fresh[item_id]["mesh_uri"]).read_bytes()
            assert (row["fetch_ms"], row["encode_ms"], row["attempts"]) == (None, None, 1)
            assert all(row[stage] > 0 for stage in ("decode_ms", "mesh_ms", "upload_ms"))
        else:
            was = fresh[item_id]
            assert was["error_code"] == BROKEN[item_id.removeprefix("broken/")]
            assert (row["error_code"], row["attempts"], row["latent"]) == ("no_latent", 0, None)
            assert row["error_message"].endswith(f"it failed ({was['error_code']}): {was['error_message']}")
            assert row["etag"] == was["etag"]


def test_meshes_are_those_of_a_run_over_the_pictures(
    base: Path, small: dict[str, Any], options: list[str], tmp_path: Path
) -> None:
    new = tmp_path / "new"
    asked = ["remesh", base / "coarse", new, "--resolution", 20, "--format", "ply", *options]
    said = json.loads(isofleet(*asked, "--dry-run", "--json").stdout)
    assert (said["images"], said["compute"], said["unusable"], said["shards"], said["bytes"]) == (12, 7, 5, 6, 0)
    assert said["why_not"] == "no rate was measured at resolution 20"
    assert not new.exists()

    end = isofleet(*asked)
    assert end.status == 0, end.stderr  # 5 of 12 failed, but of those that could be tried none did
    assert [line.split() for line in end.stdout.splitlines()[1:-1]] == [["5", "no_latent"]]
    check_against_fresh(rows_of(new), base / "finer", lambda uri: Path(uri).read_bytes())
    assert isofleet("verify", new).status == 0
    measured = json.loads((new / "_SUCCESS.json").read_text())["measured"]
    assert (measured["images"], measured["bytes"], measured["resolution"]) == (7, 0, 20)
    assert json.loads(isofleet("status", new, "--json").stdout)["state"] == "finished"

    end = isofleet(*asked, "--dry-run")
    assert end.stdout.startswith("12 rows in 6 shards: 12 done already, 0 to mesh from their latents, 0 without")
    assert "6 of them from an earlier start" in isofleet(*asked).stdout
    for other in (["--resolution", 24], ["--limit", 3]):
        assert "ask the same to resume it" in isofleet(*asked, *other).sentence(2)
    with pytest.raises(RequestError, match=r"holds a run with latents of .*/coarse .* asks for no other output"):
        convert(base / "photos", new, small | {"reconstruct.shard_size": 2} | FINER)


def test_vertices_are_refined_where_that_is_asked(base: Path, options: list[str], tmp_path: Path) -> None:
    new = tmp_path / "new"
    asked = ["remesh", base / "coarse", new, "--limit", 6, *options]
    assert isofleet(*asked, "--refine", 2).status == 0
    was, rows = rows_of(base / "coarse"), rows_of(new)
    [(item_id, row)] = [(item_id, row) for item_id, row in rows.items() if row["status"] == "ok"]
    assert (row["vertices"], row["faces"]) == (was[item_id]["vertices"], was[item_id]["faces"])
    alone = load_model(json.loads((new / "_run.json").read_text())["request"]["weights"]["*"]["uri"], device="cpu")
    solid = alone.mesh(row["latent"], resolution=16, refine=2)
    assert row["points_evaluated"] == solid.points_evaluated > was[item_id]["points_evaluated"]
    assert Path(row["mesh_uri"]).read_bytes() == solid.to_bytes()
    assert "holds a run with refine 2, and this one asks for 0" in isofleet(*asked).sentence(2)
    assert "reconstruct.refine" in isofleet(*asked, "--refine", 9).sentence(2)


def test_in_a_bucket_each_part_is_read_once_and_nothing_else(
    base: Path, small: dict[str, Any], s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("s3", endpoint_url=s3.endpoint_url)
    for path in (base / "coarse").rglob("*.*"):
        key = path.relative_to(base).as_posix()
        client.put_object(Bucket=s3.bucket, Key=key, Body=path.read_bytes())
    parts: Counter[int] = Counter()
    read_part = manifest.read_part

    def counting(stores: Stores, output: str, index: int, **options: Any) -> Any:
        parts[index] += output == s3.uri("coarse")
        return read_part(stores, output, index, **options)

    monkeypatch.setattr(manifest, "read_part", counting)
    run = {key: value for key, value in small.items() if not key.startswith("reconstruct.")}
    reach = {"store.s3.endpoint_url": s3.endpoint_url, "store.s3.max_attempts": 3}
    result = remesh(s3.uri("coarse"), s3.uri("new"), load(None, {}, run | reach | FINER), FINER.keys())
    assert (result.ok, result.errors, result.within_budget) == (7, {"no_latent": 5}, True)
    assert parts == dict.fromkeys(range(6), 1)
    prefix = f"s3://{s3.bucket}/"
    check_against_fresh(
        rows_of(s3.uri("new"), Stores(StoreSettings(s3=s3.settings))),
        base / "finer",
        lambda uri: client.get_object(Bucket=s3.bucket, Key=uri.removeprefix(prefix))["Body"].read(),
    )


def test_a_killed_driver_is_resumed(base: Path, options: list[str], tmp_path: Path) -> None:
    new = tmp_path / "new"
    asked = ["remesh", str(base / "coarse"), str(new), "--resolution", "20", "--format", "ply", *options]
    driver = subprocess.Popen([sys.executable, "-m", "jobs.cli", *asked], cwd=CHECKOUT)
    try:
        deadline = time.monotonic() + 240
        while len(list(new.glob("manifest/*.parquet"))) < 3:  # the first two have no latent
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        left_behind = descendants(psutil.Process(driver.pid))
    finally:
        driver.kill()
        driver.wait()
    try:
        parts = {path: path.stat().st_mtime_ns for path in new.glob("manifest/*.parquet")}
        assert not (new / "_SUCCESS.json").exists()
        assert isofleet(*asked).status == 0
    finally:
        for process in left_behind:
            if process.is_running():
                process.kill()
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    fresh = rows_of(base / "finer")
    for item_id, row in rows_of(new).items():
        assert row["mesh_sha256"] == fresh[item_id]["mesh_sha256"]


def test_what_failed_on_the_way_is_tried_again_from_its_latent(base: Path, options: list[str], tmp_path: Path) -> None:
    new, again = tmp_path / "new", tmp_path / "again"
    fresh = rows_of(base / "finer")
    blocked = new / Path(next(reversed(fresh.values()))["mesh_uri"]).relative_to(base / "finer")
    (blocked / "in the way").mkdir(parents=True)
    asked = ["remesh", base / "coarse", new, "--resolution", 20, "--format", "ply", *options]
    end = isofleet(*asked)
    assert (end.status, "The error budget is exceeded" in end.stdout) == (1, True)  # 1 of 7
    shutil.rmtree(blocked)

    end = isofleet("retry-failed", new, "--code", "upload_failed", *options)
    assert end.status == 0, end.stderr
    for item, row in rows_of(new / "retries" / "00001").items():
        assert row["mesh_sha256"] == fresh[item]["mesh_sha256"]

    # The newest generation has them all, and the latents are to the last bit those that the pictures gave.
    assert isofleet("remesh", new, again, "--resolution", 16, "--format", "glb", *options).status == 0
    coarse = rows_of(base / "coarse")
    for item, row in rows_of(again).items():
        assert row["mesh_sha256"] == coarse[item]["mesh_sha256"]
        assert row["latent"] == coarse[item]["latent"]
    assert json.loads((again / "_run.json").read_text())["request"]["remesh"]["uri"] == f"{new}/retries/00001"


def test_a_limit_takes_the_first_rows(base: Path, options: list[str], tmp_path: Path) -> None:
    end = isofleet("remesh", base / "coarse", tmp_path / "new", "--limit", 7, "--format", "obj", *options)
    assert end.status == 0
    rows = rows_of(tmp_path / "new")
    assert list(rows) == list(rows_of(base / "coarse"))[:7]
    assert {(row["format"], row["resolution"]) for row in rows.values() if row["status"] == "ok"} == {("obj", 16)}


def test_what_cannot_be_done_is_one_sentence(base: Path, bundle: Path, options: list[str], tmp_path: Path) -> None:
    coarse, new = base / "coarse", tmp_path / "new"
    for where in (coarse, f"{coarse}/", coarse / "finer", coarse / ".." / "coarse"):
        assert "is OUTPUT or lies inside it" in isofleet("remesh", coarse, where, *options).sentence(2)
    assert "there is no _run.json in it" in isofleet("remesh", base, new, *options).sentence(2)
    for key in ("shard_size=3", "category=chair", "previous=[x]"):
        said = isofleet("remesh", coarse, new, "--set", f"reconstruct.{key}", *options).sentence(2)
        assert said == f"reconstruct.{key.partition('=')[0]} cannot be asked for here: it is as it was in OUTPUT."
    other = shutil.copytree(bundle, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"name": "other"}))
    said = isofleet("remesh", coarse, new, "--weights", other, *options).sentence(2)
    assert f"the weights {other}" in said
    assert "give --weights the ones that did" in said
    assert isofleet("remesh", coarse, new, "--weights", shutil.copytree(bundle, tmp_path / "moved"), "--dry-run",
                    *options).status == 0  # fmt: skip
    part = shutil.copytree(coarse, tmp_path / "part")
    (part / "manifest" / "shard-00005.parquet").unlink()
    assert "is not finished" in isofleet("remesh", part, new, *options).sentence(2)
    assert "--price is for an estimate" in isofleet("remesh", coarse, new, "--price", 1, *options).sentence(2)
    assert not new.exists()


def test_latents_and_pictures_share_a_batch(pictures: Path, bundle: Path, tmp_path: Path) -> None:
    chosen = sorted((pictures / "chair").iterdir())[:4]
    pipeline = Pipeline(bundle, tmp_path)
    alone = pipeline.run(chosen)
    sources = []
    for number, picture in enumerate(chosen):
        known = Encoded(Reading(width=7), np.array(alone[picture.name][1], np.float32)) if number % 2 else None
        sources.append(Source(picture.name, str(picture), None, pipeline.digest, "", known))
    batch, fields = pipeline.reconstructor.reconstruct(tuple(sources))
    for result, field, source in zip(batch.results, fields, sources, strict=True):
        _, latent, points = alone[result.item_id]
        assert (result.latent, result.points_evaluated, field.points_evaluated) == (latent, points, points)
        assert (result.encode_ms is None) == (result.reading.fetch_ms is None) == (source.encoded is not None)
