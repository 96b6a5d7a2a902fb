"""The report's files: which rows are shown, what lies beside the page, and what it says of what is gone."""

import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import trimesh
from conftest import BROKEN, S3, Run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_world import change, moved

from cluster.config import Config, StoreSettings
from cluster.errors import RequestError
from cluster.store import Stores, join
from jobs import cli, manifest
from jobs.manifest import Counts
from jobs.report import compact, page
from jobs.report.report import report
from jobs.report.sample import COLUMNS, Sample, quotas
from jobs.report.sheets import AZIMUTHS, ROWS, TILE

CONFIG = Config()
STORES = Stores(StoreSettings())


@pytest.fixture
def output(undisturbed: Run, catalog: Path, tmp_path: Path) -> Path:
    """A finished run of 40 images, five of them failed, with pictures of its own."""
    return moved(undisturbed, catalog, tmp_path)


def called(path: Path) -> list[Any]:
    """What a data file calls its function with."""
    function, _, rest = path.read_text("ascii").partition("(")
    assert function in ("isofleet.run", "isofleet.sheet", "isofleet.mesh")
    assert "<" not in rest
    return json.loads(f"[{rest.removesuffix(');' + chr(10))}]")


def shown(output: Path) -> list[dict[str, Any]]:
    """The items of a report, in its order."""
    items = []
    for path in sorted((output / "report" / "data").glob("0*.js")):
        columns = called(path)[1]["items"]
        items += [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return items


@given(st.integers(0, 300), st.lists(st.integers(1, 200), max_size=8), st.integers(1, 200))
@settings(max_examples=200)
def test_the_places_of_a_sample_are_all_used_and_no_code_is_forgotten(ok: int, failed: list[int], limit: int) -> None:
    errors = {f"code_{place}": count for place, count in enumerate(failed)}
    chosen = quotas(Counts(images=ok + sum(failed), ok=ok, failed=sum(failed), errors=errors), limit)
    assert sum(chosen.values()) == min(limit, ok + sum(failed))
    assert 0 <= chosen["ok"] <= ok
    assert all(0 <= chosen[code] <= count for code, count in errors.items())
    if limit >= 2 * len(errors):
        assert all(chosen[code] for code in errors)
    if ok >= limit:
        assert sum(chosen[code] for code in errors) <= limit / 2


def test_a_sample_has_every_category_is_even_and_always_the_same() -> None:
    rows = [
        dict.fromkeys(COLUMNS)
        | {"shard": n // 500, "item_id": f"item-{n}", "category": f"c{n % 7}" if n != 3210 else "rare"}
        | ({"status": "failed", "error_code": "empty_file"} if n % 10 == 0 else {"status": "ok"})
        for n in range(10_000)
    ]
    schema = pa.schema([manifest.SCHEMA.field(name).with_nullable(True) for name in COLUMNS])

    def sampled(part_rows: int) -> list[dict[str, Any]]:
        sample = Sample({"ok": 200, "empty_file": 100})
        for start in range(0, len(rows), part_rows):
            sample.add(pa.Table.from_pylist(rows[start : start + part_rows], schema=schema))
        return sample.rows()

    chosen = sampled(500)
    assert chosen == sampled(500)
    numbers = [int(row["item_id"].removeprefix("item-")) for row in chosen]
    assert numbers == sorted(numbers)
    assert [row["status"] for row in chosen].count("failed") == 100
    assert len(chosen) == 300
    rows[3210]["status"], rows[3210]["error_code"] = "ok", None
    assert {row["category"] for row in sampled(500)} == {*(f"c{n}" for n in range(7)), "rare"}
    quarters = np.histogram(numbers, bins=4, range=(0, 10_000))[0]
    assert quarters.min() > 300 / 4 * 0.6


def decoded(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """What `compact.encode` says in its docstring, read backwards."""
    raw = zlib.decompress(data)
    vertices, faces = np.frombuffer(raw, "<u4", 2)
    low, step = np.frombuffer(raw, "<f4", 3, 8), np.frombuffer(raw, "<f4", 1, 20)
    planes = np.frombuffer(raw, np.uint8, offset=24).astype(np.int64)
    moves = planes[: 3 * vertices] | planes[3 * vertices : 6 * vertices] << 8
    positions = np.cumsum(np.where(moves & 1, -(moves + 1) // 2, moves // 2).reshape(3, vertices), axis=1).T
    a, b, c = planes[6 * vertices :].reshape(3, 3 * faces)
    corners, unnamed = [], 0
    for lacks in a | b << 8 | c << 16:
        corners.append(unnamed - lacks)
        unnamed += lacks == 0
    return low + positions * step, np.array(corners).reshape(-1, 3)


def test_a_compact_mesh_is_the_mesh_to_within_a_step() -> None:
    mesh = trimesh.creation.torus(0.4, 0.1, major_sections=30, minor_sections=12)
    spare = np.concatenate([[[9.0, 9.0, 9.0]], mesh.vertices])  # a vertex that no face names is left out
    vertices, faces = decoded(compact.encode(spare, mesh.faces + 1))
    assert len(vertices) == len(mesh.vertices)
    assert np.abs(vertices[faces] - mesh.triangles).max() < np.ptp(mesh.vertices, axis=0).max() / 4095


def test_a_large_mesh_is_simplified_to_its_budget_and_keeps_its_shape() -> None:
    ball = trimesh.creation.icosphere(subdivisions=6, radius=0.5)
    assert len(ball.faces) > compact.MOST_FACES
    vertices, faces = compact.simplify(ball.vertices, ball.faces)
    assert compact.MOST_FACES / 2 < len(faces) <= compact.MOST_FACES
    assert np.abs(np.linalg.norm(vertices[np.unique(faces)], axis=1) - 0.5).max() < 0.01
    assert abs(trimesh.Trimesh(vertices, faces).volume / ball.volume - 1) < 0.01
    same = compact.simplify(ball.vertices[:3], ball.faces[:1])
    assert len(same[1]) == 1


def test_every_image_is_shown_with_what_its_row_says(output: Path) -> None:
    written = report(str(output), CONFIG)
    items = shown(output)
    assert written.index == str(output / "report" / "index.html")
    assert (written.images, written.items, written.sheets, written.sheets_kept) == (40, 40, 2, 0)
    rows = manifest.read(STORES, str(output)).to_pylist()
    assert [item["item_id"] for item in items] == [row["item_id"] for row in rows]
    for item, row in zip(items, rows, strict=True):
        assert (item["vertices"], item["error_message"]) == (row["vertices"], row["error_message"])
        if row["status"] == "ok":
            assert output / item["link"] == Path(row["mesh_uri"])
            assert item["picture"] is item["views"] is None
            mesh = trimesh.load_mesh(row["mesh_uri"])
            assert item["components"] == mesh.body_count
            assert item["shown_faces"] == len(mesh.faces)
    # No picture of four of the five broken files; the one that is transparent is a picture all the same.
    assert written.missing == {"not readable": len(BROKEN) - 1}
    with Image.open(output / "report" / "sheets" / "00000.webp") as sheet:
        assert sheet.size == (TILE * (1 + len(AZIMUTHS)), TILE * ROWS)
        tiles = np.asarray(sheet.convert("RGBA")).reshape(ROWS, TILE, 3, TILE, 4).swapaxes(1, 2)
    for place, item in enumerate(items[:ROWS]):
        covered = (tiles[place, ..., 3] > 128).mean(axis=(1, 2))
        assert ((covered > 0.01) == (item["status"] == "ok")).all(), item["item_id"]
    facts = called(output / "report" / "data" / "run.js")[0]
    assert facts["status"]["ok"] == 35
    assert sum(facts["statistics"]["distributions"]["vertices"]["counts"]) == 35
    assert sorted(map(tuple, facts["statistics"]["categories"])) == [
        ("airplane", 8, 0), ("broken", 0, 5), ("car", 8, 0), ("chair", 11, 0), ("table", 8, 0)
    ]  # fmt: skip


def test_what_is_gone_or_changed_is_said_and_the_rest_stays(output: Path) -> None:
    rows = [row for row in manifest.read(STORES, str(output)).to_pylist() if row["status"] == "ok"]
    gone, changed, lost, forged = rows[:4]
    Path(gone["source_uri"]).unlink()
    Path(changed["source_uri"]).write_bytes(Path(rows[9]["source_uri"]).read_bytes())
    Path(lost["mesh_uri"]).unlink()
    Path(forged["mesh_uri"]).write_bytes(b"solid no mesh of ours")
    before = report(str(output), CONFIG)
    assert before.missing == {"not readable": 4, "no longer there": 2, "changed since": 2}
    by_id = {item["item_id"]: (item["picture"], item["views"]) for item in shown(output)}
    assert by_id[gone["item_id"]] == ("no longer there", None)
    assert by_id[changed["item_id"]] == ("changed since", None)
    assert by_id[lost["item_id"]] == (None, "no longer there")
    assert by_id[forged["item_id"]] == (None, "changed since")

    again = report(str(output), CONFIG)
    assert (again.sheets_kept, again.missing) == (2, before.missing)
    change(output, lambda row: row.update(attempts=2) if row["item_id"] == rows[-1]["item_id"] else None)
    assert report(str(output), CONFIG).sheets_kept == 1
    fewer = report(str(output), CONFIG, limit=10)
    assert fewer.items == 10
    assert called(output / "report" / "data" / "run.js")[0]["sheets"] == 1


def test_a_report_in_a_bucket_says_what_its_files_are(
    output: Path, s3: S3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], s3_client
) -> None:
    stores, root = Stores(StoreSettings(s3=s3.settings)), s3.uri("meshes")
    for path in (path for path in output.rglob("*") if path.is_file()):
        uri = join(root, path.relative_to(output).as_posix())
        stores.open(uri).put(uri, path.read_bytes())
    monkeypatch.setenv("ISOFLEET_STORE__S3__ENDPOINT_URL", s3.endpoint_url)
    monkeypatch.setattr(sys, "argv", ["isofleet", "report", root, "--limit", "12", "--json"])
    cli_ended(capsys)
    said = json.loads(capsys.readouterr().out)
    assert (said["index"], said["items"], said["images"]) == (f"{root}/report/index.html", 12, 40)
    kinds = {}
    for info in stores.open(root).list(f"{root}/report"):
        kinds[Path(info.key).suffix] = s3_client.head_object(Bucket=s3.bucket, Key=f"meshes/report/{info.key}")[
            "ContentType"
        ]
    assert kinds == {
        ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".webp": "image/webp",
        ".js": "text/javascript; charset=utf-8", ".txt": "text/plain; charset=utf-8",
        ".svg": "image/svg+xml",
    }  # fmt: skip


def cli_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code


def test_a_folder_without_a_run_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no run"):
        report(str(tmp_path), CONFIG)


def test_the_bundled_three_js_is_whole_and_carries_its_licence() -> None:
    script = page.three()
    assert "SPDX-License-Identifier: MIT" in script[:200]
    assert "THREE.GLTFLoader=GLTFLoader" in script[-60:]
    assert "$B64GLTF" not in script
