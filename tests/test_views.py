"""Several pictures of one object, from a table to meshes: a real Ray, real files and objects, hostile views."""

import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import torch
from conftest import S3, Run
from hypothesis import given
from hypothesis import strategies as st
from test_cli import isofleet
from test_objects import table_of
from test_reconstruct import content, convert, rows_of

from cluster.config import StoreSettings, load
from cluster.store import Stores
from jobs.estimate import estimate
from workers.encoder import fuse

STORES = Stores(StoreSettings())
VIEWS = {"chairs": 3, "tables": 5, "cars": 1}


@pytest.fixture(scope="module")
def shop(catalog: Path, small: dict[str, Any], ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A shuffled table of objects and pictures by themselves, converted; `photos` and `table.csv` beside its output."""
    folder = tmp_path_factory.mktemp("shop")
    photos = Path(shutil.copytree(catalog, folder / "photos"))
    rows = [("", f"photos/{path.parent.name}/{path.name}", "", "") for path in sorted(photos.glob("chair/?.png"))[:2]]
    for name, count in VIEWS.items():
        category = name.removesuffix("s")
        paths = sorted(photos.glob(f"{category}/*[0-9].png"))[:count]
        rows += [(name, f"photos/{category}/{path.name}", category, "") for path in paths]
    rows += [("tables", f"photos/broken/{name}.png", "table", "") for name in ("empty", "text")]
    rows += [("tables", "photos/table/gone.png", "table", "")]
    rows += [("hopeless", f"photos/broken/{name}.png", "chair", "") for name in ("truncated", "transparent")]
    random.Random(3).shuffle(rows)
    settings = small | {"reconstruct.shard_size": 2}
    return Run(folder / "out", convert(table_of(folder / "table.csv", rows), folder / "out", settings), None)  # type: ignore[arg-type]


def test_an_object_is_made_of_the_views_that_can_be_used(shop: Run, undisturbed: Run) -> None:
    rows, alone = rows_of(shop.output), rows_of(undisturbed.output)
    photos = shop.output.parent / "photos"
    assert (shop.result.images, shop.result.ok, shop.result.failed) == (6, 5, 1)
    for name, count in VIEWS.items():
        row = rows[name]
        assert (row["status"], row["views_used"]) == ("ok", count)
        assert row["view_uris"] == sorted(row["view_uris"])
        assert row["source_uri"] == row["view_uris"][0]
        failed = {view["uri"] for view in row["views_failed"]}
        used = [Path(uri).relative_to(photos).as_posix() for uri in row["view_uris"] if uri not in failed]
        assert len(used) == count
        latents = [torch.tensor(alone[item_id]["latent"])[None] for item_id in used]
        assert row["latent"] == fuse(torch.cat(latents), [count])[0].tolist()
        assert row["source_bytes"] == sum(Path(uri).stat().st_size for uri in row["view_uris"] if Path(uri).exists())
        assert row["mesh_uri"] == f"{shop.output}/meshes/{name.removesuffix('s')}/{name}.glb"
        assert hashlib.sha256(Path(row["mesh_uri"]).read_bytes()).hexdigest() == row["mesh_sha256"]
    said = {Path(view["uri"]).name: view["error_code"] for view in rows["tables"]["views_failed"]}
    assert said == {"empty.png": "empty_file", "text.png": "not_an_image", "gone.png": "source_missing"}
    assert all(view["error_message"].endswith(".") for view in rows["tables"]["views_failed"])
    # An object of which there is one picture is that picture; and one by itself has no views.
    (only,) = (alone[Path(uri).relative_to(photos).as_posix()] for uri in rows["cars"]["view_uris"])
    assert rows["cars"]["mesh_sha256"] == only["mesh_sha256"]
    (single, _) = (row for row in rows.values() if row["view_uris"] is None)
    assert (single["views_used"], single["views_failed"]) == (None, None)

    hopeless = rows["hopeless"]
    assert (hopeless["status"], hopeless["views_used"], hopeless["error_code"]) == ("failed", 0, "nothing_visible")
    assert hopeless["error_message"].startswith("None of the object's 2 pictures can be used. The first: ")
    assert [view["error_code"] for view in hopeless["views_failed"]] == ["nothing_visible", "corrupt_image"]
    verified = isofleet("verify", shop.output)
    assert verified.status == 0, verified


def test_an_object_alone_and_on_another_store_is_the_same(shop: Run, small: dict[str, Any], s3: S3) -> None:
    folder = shop.output.parent
    client = boto3.client("s3", endpoint_url=s3.endpoint_url)
    for path in (folder / "photos").rglob("*.png"):
        key = path.relative_to(folder).as_posix()
        client.put_object(Bucket=s3.bucket, Key=key, Body=path.read_bytes())
    lines = (folder / "table.csv").read_text().splitlines()
    alone = [lines[0], *reversed([line for line in lines if line.startswith("tables,")])]
    client.put_object(Bucket=s3.bucket, Key="alone.csv", Body="\r\n".join(alone).encode())
    reach = {"store.s3.endpoint_url": s3.endpoint_url, "store.s3.max_attempts": 3}
    convert(s3.uri("alone.csv"), s3.uri("out"), small | reach)
    (there,) = rows_of(s3.uri("out"), Stores(StoreSettings(s3=s3.settings))).values()
    here = rows_of(shop.output)["tables"]
    apart = {"shard", "etag", "source_uri", "view_uris", "views_failed"}
    assert content(there, *apart) == content(here, *apart)
    assert there["view_uris"] == [s3.uri(Path(uri).relative_to(folder).as_posix()) for uri in here["view_uris"]]


def actors(settings: dict[str, Any]) -> list[str]:
    """Options that say how to run; what decides the meshes stands in OUTPUT."""
    return [f"--set={key}={json.dumps(value)}" for key, value in settings.items() if not key.startswith("reconstruct.")]


def kinds(table: Path, previous: Path, settings: dict[str, Any]) -> tuple[int, int, int, int]:
    follow = load(None, {}, settings | {"reconstruct.previous": [str(previous)]})
    said = estimate(str(table), str(previous) + "-not-written", follow)
    return said.new, said.changed, said.carried, said.vanished


@pytest.fixture(scope="module")
def changing(shop: Run, small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same shop, converted into `out`, whose table and pictures a test may change."""
    folder = tmp_path_factory.mktemp("changing")
    shutil.copytree(shop.output.parent / "photos", folder / "photos")
    table = shutil.copy(shop.output.parent / "table.csv", folder)
    convert(table, folder / "out", small)
    return folder


def test_an_object_is_unchanged_while_all_its_pictures_are(changing: Path, small: dict[str, Any]) -> None:
    """The table is the same; or in another order; or a picture changes, comes, goes, or can be read at last."""
    folder, table = changing, changing / "table.csv"
    header, *lines = table.read_text().splitlines()

    def write(rows: list[str]) -> None:
        table.write_text("\n".join([header, *rows]))

    chair = next(line for line in lines if line.startswith("chairs,"))
    another = next((folder / "photos" / "table").iterdir())

    # "tables" lacks a picture that cannot be read, and "hopeless" has none: both are tried again.
    assert kinds(table, folder / "out", small) == (0, 2, 4, 0)
    write(random.Random(4).sample(lines, len(lines)))
    assert kinds(table, folder / "out", small) == (0, 2, 4, 0)
    write([*lines, chair.replace(chair.split(",")[1], "photos/car/1.png")])
    assert kinds(table, folder / "out", small) == (0, 3, 3, 0)
    write([line for line in lines if line != chair])
    assert kinds(table, folder / "out", small) == (0, 3, 3, 0)
    write([line for line in lines if not line.startswith(("chairs", "cars"))])
    assert kinds(table, folder / "out", small) == (0, 2, 2, 2)
    write([line for line in lines if "gone" not in line])  # it does without what it did without
    assert kinds(table, folder / "out", small) == (0, 2, 4, 0)
    write(lines)
    changed = folder / chair.split(",")[1]
    shutil.copy(another, changed)
    assert kinds(table, folder / "out", small) == (0, 3, 3, 0)

    # The next run makes what has changed, and from then on all but the hopeless one stay.
    shutil.copy(another, folder / "photos" / "table" / "gone.png")
    follow = {"reconstruct.previous": [str(folder / "out")]}
    result = convert(table, folder / "second", small | follow)
    assert (result.computed, result.carried, result.ok) == (3, 3, 5)
    before, rows = rows_of(folder / "out"), rows_of(folder / "second")
    assert rows["cars"] == before["cars"] | {
        "run_id": result.run_id, "carried_from": before["cars"]["run_id"], "shard": rows["cars"]["shard"],
    }  # fmt: skip
    assert (rows["tables"]["views_used"], len(rows["tables"]["views_failed"])) == (VIEWS["tables"] + 1, 2)
    assert kinds(table, folder / "second", small) == (0, 1, 5, 0)


def test_an_object_that_was_mended_is_tried_again(changing: Path, small: dict[str, Any]) -> None:
    folder = changing
    mended = folder / "photos" / "broken" / "truncated.png"
    shutil.copy(next((folder / "photos" / "chair").iterdir()), mended)
    end = isofleet("retry-failed", folder / "out", "--json", *actors(small))
    assert end.status == 0, end.stderr
    row = rows_of(folder / "out" / "retries" / "00001")["hopeless"]
    assert (row["status"], row["views_used"]) == ("ok", 1)
    assert [Path(view["uri"]).name for view in row["views_failed"]] == ["transparent.png"]


def test_an_object_is_meshed_anew_from_its_one_latent(shop: Run, small: dict[str, Any], tmp_path: Path) -> None:
    end = isofleet("remesh", shop.output, tmp_path, "--json", *actors(small))
    assert end.status == 0, end.stderr
    before, rows = rows_of(shop.output), rows_of(tmp_path)
    assert rows.keys() == before.keys()
    for item_id, row in rows.items():
        if row["status"] == "ok":
            assert content(row) == content(before[item_id])
        else:
            assert row["error_code"] == "no_latent"
            assert all(row[name] == before[item_id][name] for name in ("view_uris", "views_used", "views_failed"))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_fused_latents_know_no_neighbours(counts: list[int], seed: int) -> None:
    latents = torch.rand(sum(counts), 16, generator=torch.Generator().manual_seed(seed))
    fused = fuse(latents, counts)
    assert (fused.dtype, fused.shape) == (torch.float32, (len(counts), 16))
    for place, views in enumerate(latents.split(counts)):
        assert torch.equal(fused[place : place + 1], fuse(views.clone(), [len(views)]))
        assert len(views) > 1 or torch.equal(fused[place], views[0])
        np.testing.assert_allclose(fused[place], views.mean(dim=0), atol=1e-6)
