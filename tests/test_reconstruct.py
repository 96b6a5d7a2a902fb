"""The main job, whole: real files and objects, real actors on a real Ray, processes that really die.

The pictures are drawn here and the weights are the embedded ones, but no test asks what a mesh looks like.
"""

import csv
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psutil  # Ray brings it, and puts it on the path when `conftest` imports it
import pytest
import torch
from conftest import BROKEN, ODD, S3, Run
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.config import ImageSettings, StoreSettings, load
from cluster.discovery import Targets
from cluster.errors import RequestError
from cluster.metrics import DriverMetrics
from cluster.store import Stores
from jobs import cli, manifest
from jobs.progress import Progress
from jobs.reconstruct import Result, reconstruct
from workers import ItemError, load_model, weights
from workers.decoder import LatticeField
from workers.encoder import IMAGE_SIZE, encode
from workers.field import OUTSIDE, SparseField
from workers.grid import Lattice
from workers.images import decode, key_out, prepare
from workers.isosurface import extract
from workers.mesh import build, check, verify
from workers.mesher import Mesher, Order
from workers.messages import Failure, Recipe, Reconstruction, Source
from workers.reconstructor import Reconstructor

STORES = Stores(StoreSettings())
TIMES = {"fetch_ms", "encode_ms", "decode_ms", "mesh_ms", "upload_ms"}


def rows_of(output: Path | str, stores: Stores = STORES) -> dict[str, dict[str, Any]]:
    """The manifest by item, each of which has one row."""
    found = manifest.read(stores, str(output)).to_pylist()
    rows = {row["item_id"]: row for row in found}
    assert len(rows) == len(found)
    return rows


def content(row: dict[str, Any], *apart: str) -> dict[str, Any]:
    """What a run over the same images must say again, wherever it writes."""
    return {name: value for name, value in row.items() if name not in {"run_id", "mesh_uri", *TIMES, *apart}}


def convert(catalog: Path | str, output: Path | str, settings: dict[str, Any], **options: Any) -> Result:
    return reconstruct(str(catalog), str(output), load(None, {}, settings), **options)


def sample(metrics: DriverMetrics, name: str) -> float:
    """The sum of a metric over its labels, read from what Prometheus would scrape."""
    lines = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", metrics.render(), re.MULTILINE)
    return sum(map(float, lines))


def files_below(folder: Path) -> set[str]:
    """What a store lists: not what a process that was killed in mid-write left behind."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".isofleet-"))
    return {path.relative_to(folder).as_posix() for path in paths}


def test_a_hostile_folder_gives_one_row_for_each_file(undisturbed: Run, catalog: Path) -> None:
    rows = rows_of(undisturbed.output)
    sources = {str(path) for path in catalog.rglob("*.png")}
    assert {row["source_uri"] for row in rows.values()} == sources
    assert len(rows) == len(sources) == 40
    named = {Path(row["source_uri"]).relative_to(catalog).as_posix(): row for row in rows.values()}
    for name, row in named.items():
        bad = name.startswith("broken/")
        assert row["status"] == ("failed" if bad else "ok"), name
        assert row["attempts"] == 1
        assert row["source_bytes"] == (catalog / name).stat().st_size
        assert row["category"] == name.partition("/")[0]
        if bad:
            assert row["error_code"] == BROKEN[name.removeprefix("broken/")]
            assert re.fullmatch(r"\w.{10,}", row["error_message"])  # one line
            assert "Traceback" not in row["error_message"]
        else:
            mesh = Path(row["mesh_uri"]).read_bytes()
            assert row["mesh_sha256"] == hashlib.sha256(mesh).hexdigest()
            assert row["mesh_bytes"] == len(mesh)
            assert row["watertight"]
            assert (row["width"], row["height"], row["resolution"]) == (64, 64, 16)
            assert all(row[stage] > 0 for stage in TIMES)
    result = undisturbed.result
    assert (result.images, result.ok, result.failed, result.shards) == (40, 35, 5, 10)
    assert result.errors == dict.fromkeys(BROKEN.values(), 1)
    assert result.within_budget


def test_every_file_written_lies_inside_the_output(undisturbed: Run, catalog: Path) -> None:
    output = undisturbed.output
    parts = {f"{folder}/shard-{n:05d}.parquet" for folder in ("catalog", "manifest") for n in range(10)}
    meshes = {Path(row["mesh_uri"]) for row in rows_of(undisturbed.output).values() if row["status"] == "ok"}
    assert all(mesh.resolve().is_relative_to(output / "meshes") for mesh in meshes)
    expected = {"_run.json", "_SUCCESS.json", "catalog/_index.json", *parts}
    assert files_below(output) == expected | {mesh.relative_to(output).as_posix() for mesh in meshes}
    assert files_below(output.parent) == {f"meshes/{name}" for name in files_below(output)}
    assert len(files_below(catalog)) == 40


def test_a_notebook_gets_the_bytes_of_the_run(undisturbed: Run, bundle: Path) -> None:
    model = load_model(bundle)
    for row in rows_of(undisturbed.output).values():
        if row["status"] == "ok":
            solid = model.reconstruct(row["source_uri"], resolution=16, chunk_points=1024)
            assert solid.to_bytes() == Path(row["mesh_uri"]).read_bytes()
            assert solid.latent.tolist() == row["latent"]
            assert solid.points_evaluated == row["points_evaluated"]
        else:
            with pytest.raises(ItemError) as failed:
                model.reconstruct(row["source_uri"])
            assert (failed.value.code, failed.value.message) == (row["error_code"], row["error_message"])


def test_the_metrics_equal_the_manifest(undisturbed: Run) -> None:
    metrics, rows = undisturbed.metrics, rows_of(undisturbed.output).values()
    text = metrics.render()
    for outcome in ("ok", "failed"):
        count = sum(row["status"] == outcome for row in rows)
        assert f'isofleet_images_total{{outcome="{outcome}"}} {float(count)}' in text
    assert sample(metrics, "isofleet_shards_committed_total") == 10
    points = sum(row["points_evaluated"] for row in rows if row["status"] == "ok")
    assert sample(metrics, "isofleet_decoder_points_total") == undisturbed.result.points_evaluated == points
    assert sample(metrics, "isofleet_images_in_flight") == 0
    assert sample(metrics, "isofleet_actor_restarts_total") == 0
    assert 'isofleet_store_requests_total{operation="get",outcome="ok"}' in text
    assert sample(metrics, "isofleet_last_success_timestamp_seconds") > 0


def test_a_resumed_run_is_discovered_with_the_counts_that_stand(
    undisturbed: Run, catalog: Path, small: dict[str, Any]
) -> None:
    metrics, counts = DriverMetrics(), []

    class Noted(Targets):
        def begin(self, run_id: str) -> None:
            counts.append(sample(metrics, "isofleet_images_total"))
            super().begin(run_id)

    convert(catalog, undisturbed.output, small, metrics=metrics, targets=Noted())
    assert counts == [len(rows_of(undisturbed.output))]


def test_a_bucket_gives_the_bytes_that_a_folder_gives(
    undisturbed: Run, catalog: Path, s3: S3, small: dict[str, Any]
) -> None:
    client = boto3.client("s3", endpoint_url=s3.endpoint_url)

    def put(key: str, path: Path) -> None:
        client.put_object(Bucket=s3.bucket, Key=f"photos/{key}", Body=path.read_bytes())

    for path in catalog.rglob("*.png"):
        put(path.relative_to(catalog).as_posix(), path)
    chair = catalog / "chair" / ODD[0]
    only_here = ["../../etc/x.png", f"{'long/' * 178}x.png"]
    assert len(f"photos/{only_here[1]}") > 900
    for key in only_here:
        put(key, chair)

    store = StoreSettings(s3=s3.settings)
    reach = {"store.s3.endpoint_url": s3.endpoint_url, "store.s3.max_attempts": 3}
    result = convert(s3.uri("photos"), s3.uri("out"), small | reach)
    rows, here = rows_of(s3.uri("out"), Stores(store)), rows_of(undisturbed.output)
    assert (result.images, result.ok, result.failed) == (42, 37, 5)

    def read(uri: str) -> bytes:
        key = uri.removeprefix(f"s3://{s3.bucket}/")
        return client.get_object(Bucket=s3.bucket, Key=key)["Body"].read()

    for item_id, there in here.items():
        row = rows.pop(item_id)
        assert row["source_uri"] == s3.uri(f"photos/{Path(there['source_uri']).relative_to(catalog).as_posix()}")
        # The two keys more come before others, so an item's shard may differ.
        assert content(row, "source_uri", "etag", "shard") == content(there, "source_uri", "etag", "shard")
        if row["status"] == "ok":
            assert read(row["mesh_uri"]) == Path(there["mesh_uri"]).read_bytes()
    assert sorted(row["source_uri"] for row in rows.values()) == sorted(s3.uri(f"photos/{key}") for key in only_here)
    assert {row["mesh_sha256"] for row in rows.values()} == {
        row["mesh_sha256"] for row in here.values() if row["source_uri"] == str(chair)
    }
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket)
    written = {found["Key"] for page in pages for found in page["Contents"] if not found["Key"].startswith("photos/")}
    top = re.compile(r"out/(_run\.json|_SUCCESS\.json|catalog/|manifest/|meshes/)")
    assert all(top.match(key) and ".." not in key.split("/") for key in written)


class Pipeline:
    """The two actors' own objects in this process, and what they make of some pictures."""

    def __init__(self, bundle: Path, output: Path, resolution: int = 16) -> None:
        self.digest = weights.digest(str(bundle), STORES)
        self.output = output
        # Chunks so small that every picture needs some, and shares some with its neighbours.
        recipe = Recipe(resolution, exact=False, format="glb", batch_size=4, chunk_points=256)
        self.reconstructor = Reconstructor(
            StoreSettings(), ImageSettings(), {self.digest: str(bundle)}, recipe, threads=1
        )
        self.mesher = Mesher(StoreSettings(), recipe)

    def run(self, pictures: list[Path]) -> dict[str, tuple[bytes, tuple[float, ...], int]]:
        """Mesh, latent and points evaluated of each of one batch's pictures, by name; failures are left out."""
        sources = tuple(
            Source(picture.name, str(picture), None, self.digest, str(self.output / f"{picture.name}.glb"))
            for picture in pictures
        )
        batch, fields = self.reconstructor.reconstruct(sources)
        assert [result.item_id for result in batch.results] == [source.item_id for source in sources]
        made = {result.item_id: result for result in batch.results if isinstance(result, Reconstruction)}
        orders = tuple(
            Order(source.item_id, source.mesh_uri, made[source.item_id].field)
            for source in sources
            if source.item_id in made
        )
        shipment = self.mesher.mesh(orders, fields)
        assert not any(isinstance(result, Failure) for result in shipment.results)
        return {
            name: ((self.output / f"{name}.glb").read_bytes(), result.latent, result.points_evaluated)
            for name, result in made.items()
        }


def test_a_mesh_does_not_depend_on_its_neighbours(catalog: Path, bundle: Path, tmp_path: Path) -> None:
    good = sorted((catalog / "airplane").iterdir())[:3] + sorted((catalog / "car").iterdir())[:3]
    bad = sorted((catalog / "broken").iterdir())
    pipeline = Pipeline(bundle, tmp_path)
    alone = {name: made for picture in good for name, made in pipeline.run([picture]).items()}
    assert len({mesh for mesh, _, _ in alone.values()}) == len(good)
    assert Pipeline(bundle, tmp_path).run(good) == alone  # a new actor

    @settings(max_examples=10, deadline=None)
    @given(crowd=st.permutations(good + bad), cuts=st.lists(st.integers(1, len(good + bad) - 1), max_size=3))
    def in_any_company(crowd: list[Path], cuts: list[int]) -> None:
        borders = sorted({0, len(crowd), *cuts})
        made: dict[str, Any] = {}
        for start, end in pairwise(borders):
            made |= pipeline.run(crowd[start:end])
        assert made == alone

    in_any_company()


def test_the_precision_is_that_asked_for_and_said(
    catalog: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = sorted((catalog / "car").iterdir())[0]
    source = Source(picture.name, str(picture), None, weights.digest(str(bundle), STORES), str(tmp_path / "a.glb"))

    def used(asked: Any) -> tuple[str, SparseField]:
        recipe = Recipe(16, exact=False, format="glb", batch_size=4, chunk_points=None, precision=asked)
        actor = Reconstructor(StoreSettings(), ImageSettings(), {source.weights_digest: str(bundle)}, recipe, threads=1)
        for _ in range(2):  # what is wrong stays wrong
            batch, fields = actor.reconstruct((source,))
        [result] = batch.results
        assert isinstance(result, Reconstruction)
        return result.precision, fields[0]

    monkeypatch.setattr("workers.precision.is_native", lambda device: True)
    assert used("auto")[0] == "float32"  # the bundle's decoder is too narrow to gain
    full, half = used("float32"), used("bfloat16")
    assert (full[0], half[0]) == ("float32", "bfloat16")
    assert not np.array_equal(full[1].values, half[1].values)
    monkeypatch.setattr("workers.precision.is_native", lambda device: False)
    with pytest.raises(
        RequestError, match=r"^reconstruct\.precision is bfloat16, which a node's processor does not have"
    ):
        used("bfloat16")


def test_exact_is_dense_and_the_default_agrees_with_it(pictures: Path, bundle: Path) -> None:
    """The lattice is evaluated here, at one go; the surface's cells are found in it with NumPy."""
    model, n = weights.load(str(bundle), STORES), 32
    chosen = [sorted((pictures / category).iterdir())[0] for category in ("airplane", "car", "table")]
    inputs = [
        prepare(key_out(decode(path.read_bytes(), max_pixels=10**6)), model.config.framing, IMAGE_SIZE)
        for path in chosen
    ]
    latents, lattice = encode(model.encoder, torch.from_numpy(np.stack(inputs)), 1), Lattice(n)
    field = LatticeField(model.decoder, latents, lattice, model.config.threshold, 1024)
    exact, fast = extract(field, lattice, 3, exact=True), extract(field, lattice, 3)
    grid = torch.cartesian_prod(*[torch.arange(n)] * 3)
    for shape in range(3):
        dense = np.full((n + 2,) * 3, OUTSIDE, np.float32)
        dense[1:-1, 1:-1, 1:-1] = field(lattice.keys(shape, grid)).reshape(n, n, n).numpy()
        crossed = crossed_cells(dense > 0)
        assert np.array_equal(exact[shape].indices, np.flatnonzero(corners_of(crossed)))
        assert np.array_equal(exact[shape].values, dense.ravel()[exact[shape].indices])
        assert exact[shape].points_evaluated == n**3

        found = fast[shape]
        assert np.array_equal(found.values, dense.ravel()[found.indices])
        assert found.points_evaluated < n**3
        known = np.zeros_like(dense, bool)
        known.ravel()[found.indices] = True
        followed = crossed & cells_of(known)
        assert followed.sum() > crossed.sum() / 2
        assert np.array_equal(corners_of(followed), known)
        verify(check(build(found)))


def cells_of(points: np.ndarray) -> np.ndarray:
    """Which cells have all their corners among `points` bool[M, M, M]: bool[M−1, M−1, M−1]."""
    for axis in range(3):
        points = np.logical_and(*(np.take(points, window, axis) for window in windows(points.shape[axis])))
    return points


def crossed_cells(inside: np.ndarray) -> np.ndarray:
    return ~cells_of(inside) & ~cells_of(~inside)


def corners_of(cells: np.ndarray) -> np.ndarray:
    """Which points are corners of `cells`."""
    return ~cells_of(np.pad(~cells, 1, constant_values=True))


def windows(length: int) -> tuple[range, range]:
    return range(length - 1), range(1, length)


def descendants(process: psutil.Process, name: str = "") -> list[psutil.Process]:
    """The processes below one whose command begins with `name`."""
    found = []
    for child in process.children(recursive=True):
        try:
            if " ".join(child.cmdline()).startswith(name):
                found.append(child)
        except psutil.Error:  # gone meanwhile
            continue
    return found


def test_a_killed_reconstructor_costs_nothing_but_time(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        if not killed and progress.done >= 8:
            (actor,) = descendants(psutil.Process(), "ray::Reconstructor")
            actor.send_signal(signal.SIGKILL)
            killed.append(actor.pid)

    metrics = DriverMetrics()
    result = convert(catalog, tmp_path, small, on_progress=kill_once, metrics=metrics)
    assert killed
    rows = rows_of(tmp_path)
    retried = [row["attempts"] for row in rows.values() if row["attempts"] > 1]
    assert set(retried) == {2}
    for item_id, row in rows_of(undisturbed.output).items():
        assert content(rows[item_id], "attempts") == content(row, "attempts")
        if row["status"] == "ok":
            assert Path(rows[item_id]["mesh_uri"]).read_bytes() == Path(row["mesh_uri"]).read_bytes()
    assert sample(metrics, "isofleet_actor_restarts_total") >= 1
    assert sample(metrics, "isofleet_images_total") == result.images == len(rows) == 40


def test_a_killed_driver_is_resumed_where_it_stood(
    undisturbed: Run,
    catalog: Path,
    small: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "meshes"
    command = ["reconstruct", str(catalog), str(output), "--json"]
    command += [f"--set={key}={json.dumps(value)}" for key, value in small.items()]
    driver = subprocess.Popen([sys.executable, "-m", "jobs.cli", *command], cwd=Path(cli.__file__).parents[2])
    try:
        deadline = time.monotonic() + 240
        while len(list(output.glob("manifest/*.parquet"))) < 2:
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        left_behind = descendants(psutil.Process(driver.pid))
    finally:
        driver.kill()
        driver.wait()
    parts = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in output.glob("manifest/*.parquet")}
    assert 2 <= len(parts) < 10
    before = rows_of(output)
    meshes = {Path(row["mesh_uri"]) for row in before.values() if row["status"] == "ok"}
    meshes_before = {mesh: (mesh.stat().st_mtime_ns, mesh.stat().st_ino) for mesh in meshes}

    monkeypatch.setattr(sys, "argv", ["isofleet", *command])
    try:
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
    finally:
        for process in left_behind:
            if process.is_running():
                process.kill()
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["shards_resumed"] == len(parts)
    assert (said["images"], said["ok"], said["failed"]) == (40, 35, 5)
    rows = rows_of(output)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in parts} == parts
    assert {mesh: (mesh.stat().st_mtime_ns, mesh.stat().st_ino) for mesh in meshes} == meshes_before
    assert before.items() <= rows.items()
    assert len({row["run_id"] for row in rows.values()}) == 1
    for item_id, row in rows_of(undisturbed.output).items():
        # The code may have been edited since the test session began; two processes read it at two times.
        assert content(rows[item_id], "code_version") == content(row, "code_version")
        if row["status"] == "ok":
            assert Path(rows[item_id]["mesh_uri"]).read_bytes() == Path(row["mesh_uri"]).read_bytes()
    assert files_below(output) == files_below(undisturbed.output)


def test_two_drivers_at_once_write_every_row_once(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    ends: list[tuple[Result, DriverMetrics]] = []
    start = threading.Barrier(2)

    def drive() -> None:
        metrics = DriverMetrics()
        start.wait()
        ends.append((convert(catalog, tmp_path, small, metrics=metrics), metrics))

    drivers = [threading.Thread(target=drive) for _ in range(2)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert len(ends) == 2
    assert len({result.run_id for result, _ in ends}) == 1
    assert {(result.images, result.ok, result.failed, result.shards) for result, _ in ends} == {(40, 35, 5, 10)}
    for _, metrics in ends:  # each counts what the other committed, too
        assert sample(metrics, "isofleet_shards_committed_total") == 10
        assert sample(metrics, "isofleet_images_total") == 40
    rows = rows_of(tmp_path)
    assert {item_id: content(row) for item_id, row in rows.items()} == {
        item_id: content(row) for item_id, row in rows_of(undisturbed.output).items()
    }
    assert files_below(tmp_path) == files_below(undisturbed.output)


def test_a_table_gives_each_category_its_weights_and_each_bad_row_its_row(
    pictures: Path, bundle: Path, small: dict[str, Any], ray_session: None, tmp_path: Path
) -> None:
    model = weights.load(str(bundle), STORES)
    other = model.config.model_copy(update={"name": "other", "threshold": 0.4})
    weights.save(tmp_path / "other", other, model.encoder, model.decoder)
    picture, second = sorted((pictures / "chair").iterdir())[:2]
    table = tmp_path / "catalog.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["id", "uri", "category"],
                ["one", picture, "chair"],
                ["two", picture, "sofa"],
                ["three", picture, "lamp"],
                ["one", second, "chair"],
                ["no-uri", "", "chair"],
                ["bad-scheme", "gopher://old/x.png", "chair"],
                ["gone", tmp_path / "gone.png", "chair"],
                ["a row", "too", "long", "by one"],
            ]
        )
    both = {"chair": str(bundle), "sofa": str(tmp_path / "other")}
    result = convert(table, tmp_path / "out", small | {"reconstruct.weights": both})
    rows = rows_of(tmp_path / "out")
    assert (result.images, result.ok, result.failed) == (8, 2, 6)
    assert not result.within_budget
    assert not (tmp_path / "out" / "_SUCCESS.json").exists()
    assert result.errors == {
        "bad_catalog_row": 3, "duplicate_id": 1, "source_missing": 1, "unknown_category": 1,
    }  # fmt: skip
    one, two = rows["one"], rows["two"]
    assert one["weights_digest"] == model.digest
    assert two["weights_digest"] == weights.digest(str(tmp_path / "other"), STORES) != model.digest
    assert one["latent"] == two["latent"]
    assert one["mesh_sha256"] != two["mesh_sha256"]
    assert rows["three"]["error_message"] == (
        "There are no weights for the category 'lamp'; there are for chair, sofa."
    )
    assert rows["three"]["weights_digest"] is None
    assert rows["gone"]["error_code"] == "source_missing"
    by_code = {row["error_code"]: row for row in rows.values() if row["status"] == "failed"}
    assert "Row 4 has the id one" in by_code["duplicate_id"]["error_message"]
    assert [rows[item_id]["attempts"] for item_id in ("one", "three", "gone")] == [1, 0, 1]


def test_an_actor_refuses_weights_that_are_not_the_runs(
    pictures: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with all pictures is raised, so that no picture gets a row that says it was its fault."""
    picture = next((pictures / "chair").iterdir())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    replaced = shutil.copytree(bundle, tmp_path / "replaced")
    pipeline = Pipeline(replaced, tmp_path)
    text = (replaced / "config.json").read_text()
    (replaced / "config.json").write_text(text.replace('"embedded"', '"another"', 1))
    with pytest.raises(RequestError, match="the digest is"):
        pipeline.run([picture])

    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RequestError, match="XDG_CACHE_HOME"):
        Pipeline(bundle, tmp_path).run([picture])
