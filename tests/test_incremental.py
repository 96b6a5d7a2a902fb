"""Runs that follow earlier ones: real files and objects, a real Ray, and counts that must agree wherever they stand."""

import hashlib
import json
import os
import re
import shutil
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import boto3
import pyarrow.parquet as pq
import pytest
from conftest import S3, Run
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import isofleet
from test_manifest import bad, good

from cluster.config import StoreSettings, load
from cluster.errors import RequestError, RunError
from cluster.metrics import DriverMetrics
from cluster.store import Stores
from jobs import manifest, run, vanished
from jobs.catalog import Item, Position
from jobs.estimate import estimate
from jobs.previous import Kind, Previous
from jobs.reconstruct import Result, reconstruct
from jobs.run import PreviousUsed, Request, WeightsUsed
from jobs.worklist import Shard
from workers import weights
from workers.messages import MeshOptions

STORES = Stores(StoreSettings())
# The figures are 1,000 images of which 30 are changed, 20 added and 10 removed: set the first to 1000.
IMAGES = int(os.environ.get("ISOFLEET_TEST_INCREMENTAL_IMAGES", "100"))
CHANGED, ADDED, REMOVED = 3 * IMAGES // 100, 2 * IMAGES // 100, IMAGES // 100


def rows_of(output: Path | str, stores: Stores = STORES) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in manifest.read(stores, str(output)).to_pylist()}


def samples(metrics: DriverMetrics) -> dict[str, float]:
    found = re.findall(r'^isofleet_images_(?:total{outcome="(\w+)"}|(vanished)) (\S+)$', metrics.render(), re.M)
    return {outcome or gauge: float(value) for outcome, gauge, value in found}


def agree(output: Path | str, result: Result, metrics: DriverMetrics, stores: Stores = STORES) -> None:
    """The result's counts are those of the manifest, of the metrics, of `_SUCCESS.json` and of `vanished`."""
    rows = rows_of(output, stores).values()
    carried = [row for row in rows if row["carried_from"]]
    ok = [row for row in rows if row["status"] == "ok"]
    assert (result.images, result.ok, result.carried) == (len(rows), len(ok), len(carried))
    assert (result.failed, result.computed) == (len(rows) - len(ok), len(rows) - len(carried))
    assert all(row["status"] == "ok" for row in carried)
    assert {row["run_id"] for row in rows} == {result.run_id}
    assert result.points_evaluated == sum(row["points_evaluated"] or 0 for row in rows if not row["carried_from"])
    assert samples(metrics) == {
        "ok": result.ok - result.carried,
        "failed": result.failed,
        "carried": result.carried,
        "vanished": result.vanished,
    }
    uri = f"{output}/_SUCCESS.json"
    success = json.loads(stores.open(uri).get(uri).data)
    said = asdict(result)
    assert success.items() >= {(name, said[name]) for name in ("images", "ok", "failed", "carried", "computed")}
    assert success["vanished"] == said["vanished"]


def convert(
    catalog: Path | str, output: Path | str, settings: dict[str, Any], *previous: Path | str, stores: Stores = STORES
) -> Result:
    """One run, whose counts agree."""
    metrics = DriverMetrics()
    config = load(None, {}, settings | {"reconstruct.previous": [str(one) for one in previous]})
    result = reconstruct(str(catalog), str(output), config, metrics=metrics)
    agree(output, result, metrics, stores)
    return result


@pytest.fixture(scope="module")
def tiny(small: dict[str, Any]) -> dict[str, Any]:
    """Settings for many images: larger batches, and shards that do not align with the changes."""
    return small | {"reconstruct.batch_size": 16, "reconstruct.shard_size": 32}


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that asks for Ray fails."""
    monkeypatch.setattr("jobs.reconstruct.session", None)


@pytest.fixture(scope="module")
def generations(
    pictures: Path, tiny: dict[str, Any], ray_session: None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A catalog that was converted, then changed and converted again; what had been estimated; only to be read."""
    folder = tmp_path_factory.mktemp("generations")
    catalog, sources = folder / "photos", sorted(pictures.rglob("*.png"))
    for number in range(IMAGES):
        path = catalog / sources[number % 32].parent.name / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources[number % 32], path)
    first = convert(catalog, folder / "0", tiny)
    paths = sorted(catalog.rglob("*.png"))
    changed, removed = paths[5 : 5 + CHANGED], paths[-REMOVED:]
    for path in changed:
        shutil.copyfile(sources[0], path)
    added = [catalog / "car" / f"added-{number}.png" for number in range(ADDED)]
    for path in added:
        shutil.copyfile(sources[1], path)
    for path in removed:
        path.unlink()
    follow = tiny | {"reconstruct.previous": [str(folder / "0")]}
    estimated = estimate(str(catalog), str(folder / "1"), load(None, {}, follow), price=2.0)
    assert not (folder / "1").exists()
    second = convert(catalog, folder / "1", tiny, folder / "0")
    return {
        "folder": folder, "catalog": catalog, "first": first, "second": second, "estimated": estimated,
        "changed": {str(path) for path in changed}, "added": {str(path) for path in added},
        "removed": {str(path) for path in removed},
    }  # fmt: skip


def test_only_what_changed_is_converted(generations: dict[str, Any]) -> None:
    folder, first, second = generations["folder"], generations["first"], generations["second"]
    assert (first.images, first.computed, first.carried, first.vanished) == (IMAGES, IMAGES, 0, 0)
    assert second.images == IMAGES + ADDED - REMOVED
    assert (second.computed, second.vanished) == (CHANGED + ADDED, REMOVED)
    assert second.carried == IMAGES - CHANGED - REMOVED
    before = {row["source_uri"]: row for row in rows_of(folder / "0").values()}
    made = set()
    for row in rows_of(folder / "1").values():
        mesh = Path(row["mesh_uri"]).read_bytes()
        assert (row["mesh_sha256"], row["mesh_bytes"]) == (hashlib.sha256(mesh).hexdigest(), len(mesh))
        if row["carried_from"]:
            old = before[row["source_uri"]]
            assert row == old | {"run_id": second.run_id, "shard": row["shard"], "carried_from": first.run_id}
        else:
            made.add(row["source_uri"])
            assert Path(row["mesh_uri"]).is_relative_to(folder / "1" / "meshes")
    assert made == generations["changed"] | generations["added"]
    assert len(list((folder / "1" / "meshes").rglob("*.glb"))) == len(made)
    gone = pq.read_table(folder / "1" / "vanished").to_pylist()
    assert {row["source_uri"] for row in gone} == generations["removed"]
    assert all(row == {name: before[row["source_uri"]][name] for name in vanished.SCHEMA.names} for row in gone)
    verified = isofleet("verify", folder / "1")
    assert verified.status == 0, verified


def test_what_was_estimated_is_what_happened(generations: dict[str, Any], tiny: dict[str, Any]) -> None:
    folder, said, second = generations["folder"], generations["estimated"], generations["second"]
    assert (said.images, said.carried, said.vanished) == (second.images, second.carried, second.vanished)
    assert (said.new, said.changed, said.compute) == (ADDED, CHANGED, second.computed)
    made = [row for row in rows_of(folder / "1").values() if not row["carried_from"]]
    assert (said.bytes, said.sizes_unknown) == (sum(row["source_bytes"] for row in made), 0)
    measured = json.loads((folder / "0" / "_SUCCESS.json").read_text())["measured"]
    first = generations["first"]
    assert (measured["device"], measured["reconstructors"], measured["resolution"]) == ("CPU", 1, 16)
    assert (measured["images"], measured["points"]) == (IMAGES, first.points_evaluated)
    assert measured["bytes"] == sum(row["source_bytes"] for row in rows_of(folder / "0").values())
    assert 0 < measured["seconds"] < first.seconds
    assert measured["actor_hours"] == pytest.approx(measured["seconds"] / 3600, rel=0.01)
    assert measured["device_hours"] == pytest.approx(2 * measured["actor_hours"])  # the mesher's CPU, too
    share = second.computed / IMAGES
    assert said.points == round(share * first.points_evaluated)
    assert said.device_hours == pytest.approx(share * measured["device_hours"])
    assert (said.device, said.cost) == ("CPU", pytest.approx(2 * said.device_hours))
    assert said.measured_by == (str(folder / "0"),)

    # The next run's estimate counts both, and at another resolution there is none.
    options = [f"--set={key}={json.dumps(value)}" for key, value in tiny.items()]
    command = "reconstruct", generations["catalog"], folder / "not written", *options, "--previous", folder / "1"
    both = json.loads(isofleet(*command, "--dry-run", "--json").stdout)
    assert (both["carried"], both["compute"], both["points"], both["device_hours"]) == (second.images, 0, 0, 0)
    finer = isofleet(*command, "--resolution", 24, "--dry-run", "--price", 3)
    assert re.search(rf" 0 new, {second.images} changed, 0 carried forward", finer.stdout)
    assert "no rate was measured at resolution 24" in finer.stdout
    assert isofleet(*command, "--price", 3).sentence(2) == "--price is for an estimate; give --dry-run with it."
    assert not (folder / "not written").exists()


def test_a_third_generation_needs_neither_the_second_nor_ray(
    generations: dict[str, Any], tiny: dict[str, Any], tmp_path: Path, no_ray: None
) -> None:
    folder = generations["folder"]
    third = convert(generations["catalog"], tmp_path / "2", tiny, folder / "1")
    assert (third.computed, third.carried, third.vanished) == (0, third.images, 0)
    second = rows_of(folder / "1")
    for item_id, row in rows_of(tmp_path / "2").items():
        assert row["mesh_uri"] == second[item_id]["mesh_uri"]
        assert row["carried_from"] == (second[item_id]["carried_from"] or second[item_id]["run_id"])
    assert {row["carried_from"] for row in rows_of(tmp_path / "2").values()} == {
        generations["first"].run_id, generations["second"].run_id,
    }  # fmt: skip
    assert not (tmp_path / "2" / "meshes").exists()
    assert json.loads((tmp_path / "2" / "_SUCCESS.json").read_text())["measured"] is None
    follow = tiny | {"reconstruct.previous": [str(folder / "1")]}
    again = reconstruct(str(generations["catalog"]), str(tmp_path / "2"), load(None, {}, follow))
    assert replace(again, seconds=0) == replace(third, seconds=0, shards_resumed=third.shards)


@pytest.mark.parametrize(
    "other",
    [
        {"reconstruct.resolution": 12},
        {"reconstruct.format": "ply"},
        {"reconstruct.exact": True},
        {"reconstruct.refine": 2},
        "weights",
    ],
    ids=["resolution", "format", "exact", "refine", "weights"],
)
def test_another_option_converts_all(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path, other: Any
) -> None:
    if other == "weights":
        model = weights.load(small["reconstruct.weights"], STORES)
        config = model.config.model_copy(update={"name": "another"})
        weights.save(tmp_path / "other", config, model.encoder, model.decoder)
        other = {"reconstruct.weights": str(tmp_path / "other")}
    said = estimate(
        str(catalog), str(tmp_path), load(None, {}, small | other | {"reconstruct.previous": [str(undisturbed.output)]})
    )
    assert (said.changed, said.carried, said.new, said.vanished) == (40, 0, 0, 0)
    if other == {"reconstruct.refine": 2}:
        assert said.why_not is not None
        assert "at resolution 16, refined by 2" in said.why_not


def test_what_failed_and_what_lost_its_mesh_is_converted_again(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    before = shutil.copytree(undisturbed.output, tmp_path / "0")
    point_to(before, undisturbed.output)
    meshes = sorted((before / "meshes").rglob("*.glb"))
    meshes[0].unlink()
    meshes[1].write_bytes(b"short")
    config = load(None, {}, small | {"reconstruct.previous": [str(before)]})
    said = estimate(str(catalog), str(tmp_path / "1"), config)
    assert (said.images, said.carried, said.changed, said.compute) == (40, 33, 7, 7)


def point_to(output: Path, original: Path) -> None:
    """Let a copied output's rows name its own meshes."""
    for part in sorted((output / "manifest").iterdir()):
        index = int(part.stem.removeprefix("shard-"))
        rows = manifest.read_part(STORES, str(output), index).to_pylist()
        for row in rows:
            row["mesh_uri"] = row["mesh_uri"] and row["mesh_uri"].replace(str(original), str(output))
        part.unlink()
        items = tuple(Item(row["item_id"], row["source_uri"], row["category"]) for row in rows)
        shard = Shard(index, items, Position(len(items), ""), False, None)
        assert manifest.write_part(STORES, str(output), shard, [manifest.Row(**row) for row in rows])


def test_the_last_named_output_that_fits_counts_and_an_unfinished_one_may_be_used(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path, no_ray: None
) -> None:
    done = undisturbed.output
    whole = shutil.copytree(done, tmp_path / "whole")
    point_to(whole, done)
    part = shutil.copytree(whole, tmp_path / "part")
    point_to(part, whole)
    (part / "_SUCCESS.json").unlink()
    for index in (0, 4, 5, 9):
        (part / "manifest" / f"shard-{index:05d}.parquet").unlink()
    good_ones = tmp_path / "good"
    shutil.copytree(catalog, good_ones, copy_function=os.link)
    shutil.rmtree(good_ones / "broken")

    def carried(*previous: Path) -> list[str]:
        options = small | {"reconstruct.previous": [str(one) for one in previous]}
        request = run.request_for(str(catalog), str(tmp_path / "x"), load(None, {}, options), STORES)
        rows = []
        with closing(Previous(STORES, request)) as earlier:
            for row in rows_of(done).values():
                item = Item(row["item_id"], row["source_uri"], row["category"], row["etag"])
                rows += earlier.carry(Shard(0, (item,), Position(1, ""), True, None), "now").values()
        return [row.mesh_uri.partition("/meshes/")[0] for row in rows if row.mesh_uri]

    assert (
        run.request_for(
            str(catalog), str(tmp_path / "x"), load(None, {}, {"reconstruct.previous": [str(part)]}), STORES
        )
        .previous[0]
        .shards
        == "1-3,6-8"
    )
    assert carried(whole) == [str(whole)] * 35
    there = sum(row["status"] == "ok" for row in rows_of(part).values())
    assert carried(part) == [str(part)] * there
    assert sorted(carried(whole, part)) == sorted([str(part)] * there + [str(whole)] * (35 - there))
    assert carried(part, whole) == [str(whole)] * 35


def test_a_previous_output_of_an_earlier_version_is_read(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    old = shutil.copytree(undisturbed.output, tmp_path / "old")
    for part in (old / "manifest").iterdir():
        pq.write_table(pq.read_table(part).drop_columns("carried_from"), part)
    record = json.loads((old / "_run.json").read_text())
    del record["request"]["previous"]
    (old / "_run.json").write_text(json.dumps(record))
    config = load(None, {}, small | {"reconstruct.previous": [str(old)]})
    assert estimate(str(catalog), str(tmp_path / "new"), config).carried == 35


def test_a_resumed_run_decides_the_same(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path, no_ray: None
) -> None:
    """A previous run that goes on meanwhile adds nothing, and what is lost is decided again as it was."""
    done = shutil.copytree(undisturbed.output, tmp_path / "whole")
    point_to(done, undisturbed.output)
    first = shutil.copytree(done, tmp_path / "0")
    point_to(first, done)
    (first / "manifest" / "shard-00009.parquet").rename(tmp_path / "later.parquet")
    rows = [row for row in rows_of(first).values() if row["status"] == "ok" and "~" not in row["item_id"]]
    table = tmp_path / "photos.csv"
    lines = [f"{row['item_id']},{row['source_uri']},{row['category']}" for row in rows]
    table.write_text("\n".join(["id,uri,category", *lines, ",,"]))
    output = tmp_path / "1"
    whole = convert(table, output, small, first)
    assert (whole.carried, whole.failed, whole.vanished) == (len(rows), 1, 36 - len(rows))
    kept = {path: path.read_bytes() for path in sorted(output.rglob("*.parquet"))}
    (tmp_path / "later.parquet").rename(first / "manifest" / "shard-00009.parquet")
    (output / "_SUCCESS.json").unlink()
    for path in list(kept)[-3:]:
        path.unlink()
    shutil.rmtree(output / "vanished")
    again = reconstruct(str(table), str(output), load(None, {}, small | {"reconstruct.previous": [str(first)]}))
    assert replace(again, seconds=0) == replace(whole, seconds=0, shards_resumed=again.shards_resumed)
    assert 0 < again.shards_resumed < again.shards
    assert {path: path.read_bytes() for path in sorted(output.rglob("*.parquet"))} == kept

    options = [f"--set={key}={json.dumps(value)}" for key, value in small.items()]
    said = isofleet("reconstruct", table, output, *options).sentence(2)
    assert said.startswith(f"{output} holds a run with previous {first} (")
    assert said.endswith("and this one asks for none; ask the same to resume it, or choose another OUTPUT.")


def test_a_bucket_and_a_table_without_etags(
    pictures: Path, s3: S3, tiny: dict[str, Any], ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("s3", endpoint_url=s3.endpoint_url)
    sources = sorted(pictures.rglob("*.png"))[:6]

    def put(name: str, path: Path) -> None:
        client.put_object(Bucket=s3.bucket, Key=f"photos/{name}", Body=path.read_bytes())

    for number, path in enumerate(sources[:5]):
        put(f"{number}.png", path)
    options = tiny | {"store.s3.endpoint_url": s3.endpoint_url, "store.s3.max_attempts": 3}
    options["reconstruct.category"] = "chair"
    stores = Stores(StoreSettings(s3=s3.settings))
    first = convert(s3.uri("photos"), s3.uri("0"), options, stores=stores)
    assert (first.ok, first.failed) == (5, 0)

    # Now a table of the same images in another order: one is changed, one gone, one left out, one new.
    put("1.png", sources[5])
    client.delete_object(Bucket=s3.bucket, Key="photos/2.png")
    put("5.png", sources[0])
    lines = ["id,uri", *(f"{name},photos/{name}" for name in ("5.png", "3.png", "2.png", "1.png", "0.png"))]
    client.put_object(Bucket=s3.bucket, Key="photos.csv", Body="\n".join(lines).encode())
    follow = options | {"reconstruct.previous": [s3.uri("0")]}
    said = estimate(s3.uri("photos.csv"), s3.uri("1"), load(None, {}, follow))
    metrics = DriverMetrics()
    second = reconstruct(s3.uri("photos.csv"), s3.uri("1"), load(None, {}, follow), metrics=metrics)
    agree(s3.uri("1"), second, metrics, stores)
    rows = rows_of(s3.uri("1"), stores)
    assert {item_id for item_id, row in rows.items() if row["carried_from"]} == {"0.png", "3.png"}
    assert (second.ok, second.failed, second.computed, second.vanished) == (4, 1, 3, 1)
    assert rows["2.png"]["error_code"] == "source_missing"
    assert (said.new, said.changed, said.carried, said.vanished) == (1, 2, 2, 1)
    assert (said.bytes, said.sizes_unknown) == (0, 3)
    # One HEAD for each image that was otherwise as before, and two for `_run.json`; the new image is not asked for.
    heads = re.findall(r'store_requests_total{operation="head",outcome="(\w+)"} (\S+)', metrics.render())
    assert {outcome: float(count) for outcome, count in heads}["ok"] == 3

    # The listing again, with Ray out of reach: what is there was converted by one of the two runs.
    client.delete_object(Bucket=s3.bucket, Key="photos/4.png")
    monkeypatch.setattr("jobs.reconstruct.session", None)
    third = convert(s3.uri("photos"), s3.uri("2"), options, s3.uri("1"), stores=stores)
    assert (third.images, third.carried, third.vanished) == (4, 4, 1)
    rows = rows_of(s3.uri("2"), stores)
    assert {item_id for item_id, row in rows.items() if row["carried_from"] == first.run_id} == {"0.png", "3.png"}
    for row in rows.values():
        data = stores.open(row["mesh_uri"]).get(row["mesh_uri"]).data
        assert hashlib.sha256(data).hexdigest() == row["mesh_sha256"]


def test_a_previous_output_that_cannot_be_used_is_said(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    options = [f"--set={key}={json.dumps(value)}" for key, value in small.items()]
    output = tmp_path / "out"

    def said(previous: Path, *more: object) -> str:
        for also in ([], ["--dry-run"]):
            command = "reconstruct", catalog, output, *options, "--previous", previous, *also, *more
            sentence = isofleet(*command).sentence(2)
        assert not output.exists()
        return sentence

    assert said(tmp_path / "none") == (
        f"--previous {tmp_path}/none cannot be used: {tmp_path}/none holds no run: there is no _run.json in it."
    )
    assert said(output).startswith(f"--previous {output} is OUTPUT itself")
    assert "exclude each other" in said(undisturbed.output, "--limit", 3)
    damaged = shutil.copytree(undisturbed.output, tmp_path / "damaged")
    part = damaged / "manifest" / "shard-00003.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    assert str(part) in said(damaged)
    (damaged / "_run.json").write_text("{}")
    assert "is not a run record of this version" in said(damaged)


# The classification, as a property.

NAMES = st.sampled_from(["a.png", "b/c.png", "b/d.png", "é.png", "x" * 90])
DIGEST, OTHER = "aa" * 32, "bb" * 32


@st.composite
def outputs(draw: st.DrawFn) -> list[dict[str, dict[str, Any]]]:
    """Rows of some outputs by item; `mesh` says what became of the mesh since."""
    row = st.fixed_dictionaries(
        {
            "status": st.sampled_from(["ok", "ok", "ok", "failed", "bad row"]),
            "etag": st.sampled_from(["1", "2", None]),
            "weights_digest": st.sampled_from([DIGEST, DIGEST, OTHER]),
            "resolution": st.sampled_from([16, 16, 32]),
            "format": st.sampled_from(["glb", "glb", "ply"]),
            "category": st.sampled_from(["chair", "chair", "lamp"]),
            "precision": st.sampled_from(["float32", "float32", "bfloat16"]),
            "moved": st.booleans() | st.just(False),
            "mesh": st.sampled_from(["there", "there", "there", "gone", "other size"]),
        }
    )
    return draw(st.lists(st.dictionaries(NAMES, row, min_size=1), min_size=1, max_size=3))


_ASKED = ("etag", "weights_digest", "resolution", "format", "category", "precision")


@settings(deadline=None, max_examples=60)
@given(
    earlier=outputs(),
    exact=st.lists(st.booleans(), min_size=3, max_size=3),
    precision=st.sampled_from(["auto", "float32"]),
    now=st.dictionaries(NAMES, st.tuples(st.sampled_from(["1", "2"]), st.booleans()), min_size=1),
)
def test_the_classification_is_what_the_rows_say(
    tmp_path_factory: pytest.TempPathFactory,
    earlier: list[dict[str, dict[str, Any]]],
    exact: list[bool],
    precision: Literal["auto", "float32"],
    now: dict[str, tuple[str, bool]],
) -> None:
    """`now` has each image's ETag, and whether its catalog row is wrong."""
    root = tmp_path_factory.mktemp("classify")
    expected: dict[str, tuple[Kind, str | None]] = {
        name: (Kind.UNUSABLE if wrong else Kind.NEW, None) for name, (_, wrong) in now.items()
    }
    used, gone = [], {}
    for number, rows in enumerate(earlier):
        output = root / str(number)
        used.append(
            PreviousUsed(
                uri=str(output), run_id=f"run-{number}", exact=exact[number], refine=0, mesh=MeshOptions(), shards="0"
            )
        )
        made = []
        for name, facts in rows.items():
            moved = "elsewhere" if facts["moved"] else "photos"
            columns = {"run_id": f"run-{number}", "item_id": name, "source_uri": f"/{moved}/{name}"}
            if facts["status"] != "ok":
                code = "empty_file" if facts["status"] == "failed" else "bad_catalog_row"
                made.append(replace(bad(name), error_code=code, category=facts["category"], **columns))
            else:
                mesh = output / "meshes" / facts["category"] / f"{name}.{facts['format']}"
                columns |= {key: facts[key] for key in _ASKED}
                made.append(replace(good(name), mesh_uri=str(mesh), mesh_bytes=4, **columns))
                if facts["mesh"] != "gone":
                    mesh.parent.mkdir(parents=True, exist_ok=True)
                    mesh.write_bytes(b"mesh" if facts["mesh"] == "there" else b"other")
            if facts["status"] == "bad row":
                continue
            gone[name] = f"run-{number}"
            if name not in now or now[name][1]:
                continue
            fits = (
                facts["status"] == "ok"
                and facts["mesh"] == "there"
                and not facts["moved"]
                and exact[number] is False
                and precision in ("auto", facts["precision"])
                and (facts["etag"], facts["weights_digest"]) == (now[name][0], DIGEST)
                and (facts["resolution"], facts["format"], facts["category"]) == (16, "glb", "chair")
            )
            if fits:
                expected[name] = Kind.CARRIED, str(output)
            elif expected[name][0] is Kind.NEW:
                expected[name] = Kind.CHANGED, None
        items = tuple(Item(row.item_id, row.source_uri, row.category) for row in made)
        manifest.write_part(STORES, str(output), Shard(0, items, Position(len(items), ""), True, None), made)
    request = Request(
        catalog="/photos", category=None, limit=None, shard_size=8, resolution=16, exact=False, format="glb",
        batch_size=1, chunk_points=None, mesh=MeshOptions(), precision=precision, refine=0, previous=tuple(used),
        weights={"*": WeightsUsed(uri="/w", digest=DIGEST)},
    )  # fmt: skip
    items = tuple(
        Item(name, f"/photos/{name}", "chair", etag, error_code="bad_catalog_row" if wrong else None)
        for name, (etag, wrong) in now.items()
    )
    shard = Shard(0, items, Position(len(items), ""), True, None)
    with closing(Previous(STORES, request)) as previous:
        previous.see(shard)
        found = previous.classify(shard)
        assert {
            name: (kind, request.previous[place.output].uri if place else None) for name, (kind, place) in found.items()
        } == expected
        carried = previous.carry(shard, "now")
        assert carried.keys() == {name for name, (kind, _) in expected.items() if kind is Kind.CARRIED}
        assert all(row.run_id == "now" and row.mesh_uri.startswith(expected[name][1]) for name, row in carried.items())
        assert {row["item_id"]: row["run_id"] for row in previous.vanished(vanished.SCHEMA.names)} == {
            name: run_id for name, run_id in gone.items() if name not in now
        }
        assert previous.count_vanished() == len(gone.keys() - now.keys())


def test_an_output_that_changes_meanwhile_fails_the_run(undisturbed: Run, catalog: Path, tmp_path: Path) -> None:
    first = shutil.copytree(undisturbed.output, tmp_path / "0")
    options = {"reconstruct.previous": [str(first)], "reconstruct.resolution": 16}
    record = run.read(STORES, str(first))
    used = run.request_for(str(catalog), str(tmp_path / "1"), load(None, {}, options), STORES).previous
    request = record.request.model_copy(update={"previous": used})
    row = next(row for row in rows_of(first).values() if row["status"] == "ok")
    item = Item(row["item_id"], row["source_uri"], row["category"], row["etag"])
    shard = Shard(0, (item,), Position(1, ""), True, None)
    with closing(Previous(STORES, request)) as previous:
        assert previous.classify(shard)[item.item_id][0] is Kind.CARRIED
        shutil.copyfile(
            first / "manifest" / "shard-00009.parquet", first / "manifest" / f"shard-{row['shard']:05d}.parquet"
        )
        with pytest.raises(RunError, match="has changed during this run"):
            previous.carry(shard, "now")
    (first / "manifest" / "shard-00000.parquet").unlink()
    with closing(Previous(STORES, request)) as previous, pytest.raises(RequestError, match="output cannot be read"):
        previous.fill()
