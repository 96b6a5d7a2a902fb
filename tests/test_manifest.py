"""Manifest parts in real folders: what is committed, what it holds, and what the manual says of it."""

import math
import random
import threading
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from cluster.config import StoreSettings
from cluster.errors import RunError
from cluster.store import NotFound, Stores
from jobs import manifest
from jobs.catalog import Item, Position
from jobs.manifest import SCHEMA, Row
from jobs.worklist import Shard
from workers.failure import ErrorCode

STORES = Stores(StoreSettings())

# The columns that docs and users rely on, in this order.
COLUMNS = [
    "run_id",
    "shard",
    "item_id",
    "source_uri",
    "etag",
    "source_bytes",
    "width",
    "height",
    "view_uris",
    "views_used",
    "views_failed",
    "category",
    "status",
    "error_code",
    "error_message",
    "attempts",
    "carried_from",
    "mesh_uri",
    "mesh_bytes",
    "mesh_sha256",
    "format",
    "vertices",
    "faces",
    "watertight",
    "volume",
    "bounds",
    "euler_number",
    "face_budget",
    "volume_change",
    "lods",
    "up_axis",
    "size_m",
    "resolution",
    "points_evaluated",
    "precision",
    "latent",
    "weights_digest",
    "code_version",
    "fetch_ms",
    "encode_ms",
    "decode_ms",
    "mesh_ms",
    "upload_ms",
]


def good(item_id: str, shard: int = 0) -> Row:
    return Row(
        run_id="run-1",
        shard=shard,
        item_id=item_id,
        source_uri=f"s3://bucket/{item_id}.png",
        etag="0a1b",
        source_bytes=1234,
        width=137,
        height=137,
        category="chair",
        status="ok",
        attempts=1,
        mesh_uri=f"s3://bucket/out/meshes/chair/{item_id}.glb",
        mesh_bytes=10_000,
        mesh_sha256="ab" * 32,
        format="glb",
        vertices=1000,
        faces=1996,
        watertight=True,
        volume=0.0625,
        bounds=(-0.5, -0.25, -0.125, 0.5, 0.25, 0.125),
        euler_number=2,
        resolution=256,
        points_evaluated=400_000,
        latent=[i / 128 for i in range(128)],
        weights_digest="cd" * 32,
        code_version="0.1.0",
        fetch_ms=1.5,
        encode_ms=2.5,
        decode_ms=300.0,
        mesh_ms=40.0,
        upload_ms=5.0,
    )


def bad(item_id: str, shard: int = 0, message: str = "The file is empty (0 bytes).") -> Row:
    return Row(
        run_id="run-1",
        shard=shard,
        item_id=item_id,
        source_uri="s3://bucket/bad.png",
        category="chair",
        status="failed",
        error_code=ErrorCode.EMPTY_FILE,
        error_message=message,
        attempts=1,
        code_version="0.1.0",
    )


def shard_of(*item_ids: str, index: int = 0) -> Shard:
    items = tuple(Item(item_id, f"s3://bucket/{item_id}.png", "chair") for item_id in item_ids)
    return Shard(index, items, Position(len(items), item_ids[-1]), True, None)


def test_columns_are_the_documented_ones() -> None:
    assert SCHEMA.names == COLUMNS == [column.name for column in fields(Row)]
    assert all(column.metadata[b"description"] for column in SCHEMA)
    assert SCHEMA.field("bounds").type.list_size == 6
    assert SCHEMA.field("fetch_ms").metadata[b"unit"] == b"ms"


def test_rows_come_back_in_the_shards_order(tmp_path: Path) -> None:
    output, shard = str(tmp_path), shard_of("b", "a", "c")
    rows = [good("a"), bad("c"), good("b")]
    assert manifest.write_part(STORES, output, shard, rows)
    table = manifest.read_part(STORES, output, 0)
    assert table.schema.equals(SCHEMA)
    found = {row["item_id"]: row for row in table.to_pylist()}
    assert list(found) == ["b", "a", "c"]
    for row in rows:
        for name in COLUMNS:
            expected, value = getattr(row, name), found[row.item_id][name]
            assert value == (list(expected) if name in ("bounds", "latent") and expected else expected), name

    plain = pa.dataset.dataset(str(tmp_path / "manifest"), format="parquet").to_table()
    assert plain.num_rows == 3
    file = pq.ParquetFile(tmp_path / "manifest" / "shard-00000.parquet")
    assert file.schema_arrow.field("volume").metadata[b"unit"].decode() == "diagonal³ or, with size_m, m³"


def test_the_first_part_stands_and_its_bytes_depend_on_the_rows_alone(tmp_path: Path) -> None:
    shard = shard_of("a", "b")
    for output, rows in (("x", [good("a"), bad("b")]), ("y", [bad("b"), good("a")])):
        assert manifest.write_part(STORES, str(tmp_path / output), shard, rows)
    first, second = ((tmp_path / o / "manifest" / "shard-00000.parquet").read_bytes() for o in "xy")
    assert first == second
    assert not manifest.write_part(STORES, str(tmp_path / "x"), shard, [good("a"), good("b")])
    assert (tmp_path / "x" / "manifest" / "shard-00000.parquet").read_bytes() == first


def test_of_many_drivers_one_commits(tmp_path: Path) -> None:
    wins, start = [], threading.Barrier(8)

    def commit(driver: int) -> None:
        row = replace(good("a"), run_id=f"driver-{driver}")
        start.wait()
        if manifest.write_part(STORES, str(tmp_path), shard_of("a"), [row]):
            wins.append(row.run_id)

    threads = [threading.Thread(target=commit, args=(driver,)) for driver in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert manifest.read_part(STORES, str(tmp_path), 0)["run_id"].to_pylist() == wins
    assert len(wins) == 1


def test_a_shard_is_committed_whole_or_not_at_all(tmp_path: Path) -> None:
    shard = shard_of("a", "b")
    for rows in (
        [good("a")],
        [good("a"), good("a")],
        [good("a"), good("c")],
        [good("a"), good("b"), good("b")],
    ):
        with pytest.raises(ValueError, match="shard 0 has 2 items"):
            manifest.write_part(STORES, str(tmp_path), shard, rows)
    assert manifest.committed(STORES, str(tmp_path)) == set()
    for wrong in (
        {"status": "ok", "error_code": "empty_file"},
        {"status": "ok", "mesh_uri": None},
        {"status": "failed"},
        {"status": "failed", "error_code": "empty_file", "mesh_uri": None, "carried_from": "run-0"},
        {"status": "failed", "error_code": "no_such_code", "mesh_uri": None},
    ):
        with pytest.raises(ValueError, match="row a is"):
            replace(good("a"), **wrong)


def test_messages_are_short_and_printable(tmp_path: Path) -> None:
    hostile = "bad\x1b[31m\nline\0" + "x" * 1000
    view = {"uri": "/a/1.png", "error_code": "corrupt_image", "error_message": hostile}
    row = replace(bad("a", message=hostile), view_uris=["/a/1.png"], views_used=0, views_failed=[view])
    manifest.write_part(STORES, str(tmp_path), shard_of("a"), [row])
    (read,) = manifest.read_part(STORES, str(tmp_path), 0).to_pylist()
    assert (read["view_uris"], read["views_used"]) == (["/a/1.png"], 0)
    for message in (read["error_message"], read["views_failed"][0]["error_message"]):
        assert message.startswith("bad [31m line x")
        assert len(message) == 500
        assert message.isprintable()


def test_summary_and_reading_of_several_parts(tmp_path: Path) -> None:
    output = str(tmp_path)
    assert manifest.read(STORES, output).num_rows == 0
    assert manifest.summary(STORES, output) == manifest.Summary()
    for index in (10, 2):
        shard = shard_of("a", "b", "c", index=index)
        rows = [good("a", index), bad("b", index), replace(good("c", index), carried_from="run-0")]
        manifest.write_part(STORES, output, shard, rows)
    (tmp_path / "manifest" / "notes.txt").write_text("not a part")
    assert manifest.committed(STORES, output) == {2, 10}
    assert manifest.read(STORES, output)["shard"].to_pylist() == [2] * 3 + [10] * 3
    assert manifest.summary(STORES, output) == manifest.Summary(
        shards=2, images=6, ok=4, failed=2, carried=2, errors={"empty_file": 2}, mesh_bytes=20_000,
        points_evaluated=800_000,
    )  # fmt: skip


def test_a_summary_reads_no_rows_and_agrees_with_them(tmp_path: Path) -> None:
    output, chance, numbers = str(tmp_path), random.Random(7), np.random.default_rng(7)
    for index in range(70):  # more than are asked for at once
        ids = [f"{index}-{number}" for number in range(chance.randint(1, 6))]
        rows = [(good if chance.random() < 0.6 else bad)(item_id, index) for item_id in ids]
        rows = [replace(row, latent=numbers.random(8192).tolist()) for row in rows]
        manifest.write_part(STORES, output, shard_of(*ids, index=index), rows)
    requests: list[tuple[str, str, int, int, int]] = []
    counts = manifest.summary(Stores(StoreSettings(), lambda *request: requests.append(request)), output)
    rows = manifest.read(STORES, output).to_pylist()
    failed = [row["error_code"] for row in rows if row["status"] == "failed"]
    assert counts == manifest.Summary(
        shards=70, images=len(rows), ok=len(rows) - len(failed), failed=len(failed), errors=dict(Counter(failed)),
        mesh_bytes=sum(row["mesh_bytes"] or 0 for row in rows),
        points_evaluated=sum(row["points_evaluated"] or 0 for row in rows),
    )  # fmt: skip
    asked = [request for request in requests if request[0] == "get"]
    assert len(asked) == 70
    size = sum(path.stat().st_size for path in (tmp_path / "manifest").iterdir())
    assert sum(request[2] for request in asked) < size / 3
    infos = [info for info, _ in manifest.counted(STORES, output)]
    assert [info.key[-13:] for info in infos] == [f"{index:05d}.parquet" for index in range(70)]


def test_a_footer_longer_than_the_tail_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest.write_part(STORES, str(tmp_path), shard_of("a"), [good("a")])
    for tail in (8, 9, 1000):
        monkeypatch.setattr("jobs.parquet._TAIL", tail)
        assert manifest.summary(STORES, str(tmp_path)).images == 1


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    output, path = str(tmp_path), tmp_path / "manifest" / "shard-00000.parquet"
    with pytest.raises(NotFound):
        manifest.read_part(STORES, output, 0)
    manifest.write_part(STORES, output, shard_of("a"), [good("a")])
    whole = path.read_bytes()
    for data in (b"", b"PAR1", whole[: len(whole) // 2], b"x" * 5000):
        path.write_bytes(data)
        with pytest.raises(RunError, match="shard-00000"):
            manifest.read_part(STORES, output, 0)
        with pytest.raises(RunError, match=r"shard-00000.* is not a readable Parquet file"):
            manifest.summary(STORES, output)
    pq.write_table(pa.table({"item_id": ["a"]}), path)
    with pytest.raises(RunError, match="other columns"):
        manifest.read_part(STORES, output, 0)
    with pytest.raises(RunError, match="does not say what it counts"):
        manifest.summary(STORES, output)


def test_a_part_of_an_earlier_version_has_nothing_carried(tmp_path: Path) -> None:
    output, path = str(tmp_path), tmp_path / "manifest" / "shard-00000.parquet"
    manifest.write_part(STORES, output, shard_of("a", "b"), [good("a"), bad("b")])
    now = manifest.read_part(STORES, output, 0)
    pq.write_table(pq.read_table(path).drop_columns("carried_from"), path)
    assert manifest.read_part(STORES, output, 0).equals(now)
    assert manifest.summary(STORES, output).carried == 0
    pq.write_table(pq.read_table(path).drop_columns("etag"), path)
    with pytest.raises(RunError, match="other columns"):
        manifest.read_part(STORES, output, 0)


def test_numbers_survive(tmp_path: Path) -> None:
    row = replace(good("a"), volume=1 / 3, mesh_bytes=2**40, latent=[1e-30, 1 - 2**-24], bounds=[math.pi] * 6)
    manifest.write_part(STORES, str(tmp_path), shard_of("a"), [row])
    found = manifest.read_part(STORES, str(tmp_path), 0).to_pylist()[0]
    assert (found["volume"], found["mesh_bytes"]) == (1 / 3, 2**40)
    assert found["latent"] == pytest.approx(row.latent, rel=1e-7)
    assert found["bounds"] == pytest.approx(row.bounds, rel=1e-7)
