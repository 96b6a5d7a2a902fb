"""`isofleet retry-failed`: pictures that were mended get meshes, and nothing else changes."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import BROKEN
from test_cli import isofleet
from test_reconstruct import content, convert, rows_of

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture
def photos(catalog: Path, tmp_path: Path) -> Path:
    """Four chairs and the five files that are no pictures, which a test may mend."""
    folder = tmp_path / "photos"
    shutil.copytree(catalog / "broken", folder / "broken")
    (folder / "chair").mkdir()
    for picture in sorted((catalog / "chair").iterdir())[:4]:
        shutil.copy(picture, folder / "chair")
    return folder


@pytest.fixture
def options(small: dict[str, Any]) -> list[str]:
    chosen = {key: value for key, value in small.items() if not key.startswith("reconstruct.")}
    return [f"--set={key}={json.dumps(value)}" for key, value in chosen.items()] + [
        "--set=reconstruct.max_failed_percent=60"
    ]


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file's digest and time of its last change."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and "retries" not in path.parts
    }


def test_what_was_mended_gets_its_mesh(
    photos: Path, small: dict[str, Any], options: list[str], pictures: Path, tmp_path: Path
) -> None:
    output = tmp_path / "meshes"
    convert(photos, output, small | {"reconstruct.max_failed_percent": 60.0})
    first, before = rows_of(output), snapshot(output)
    good = sorted((pictures / "table").iterdir())
    shutil.copy(good[0], photos / "broken" / "empty.png")
    shutil.copy(good[1], photos / "broken" / "truncated.png")

    end = isofleet("retry-failed", output, "--code", "empty_file", "--json", *options)
    assert end.status == 0, end.stderr
    said = json.loads(end.stdout)
    assert (said["images"], said["ok"], said["failed"], said["carried"]) == (9, 5, 4, 4)
    generation = output / "retries" / "00001"
    rows = rows_of(generation)
    assert snapshot(output) == before  # the good ones, and the record of the bad ones, stand
    assert rows.keys() == first.keys()
    for item_id, row in rows.items():
        if item_id == "broken/empty.png":
            assert (row["status"], row["carried_from"], row["attempts"]) == ("ok", None, 1)
            assert hashlib.sha256(Path(row["mesh_uri"]).read_bytes()).hexdigest() == row["mesh_sha256"]
            assert Path(row["mesh_uri"]).is_relative_to(generation)
            assert row["source_bytes"] == good[0].stat().st_size
        else:  # the same row in a new generation; the mended, but not chosen one, too
            assert content(row, "carried_from") == content(first[item_id], "carried_from")
            assert row["mesh_uri"] == first[item_id]["mesh_uri"]
            assert row["carried_from"] == (first[item_id]["run_id"] if row["status"] == "ok" else None)
    assert isofleet("verify", generation).status == 0
    record = json.loads((generation / "_run.json").read_text())
    assert record["request"]["again"] == {
        "uri": str(output),
        "run_id": first["broken/empty.png"]["run_id"],
        "codes": ["empty_file"],
    }

    # The next one begins where this one ended.
    end = isofleet("retry-failed", output, "--json", *options)
    said = json.loads(end.stdout)
    assert (end.status, said["ok"], said["failed"], said["carried"]) == (0, 6, 3, 5)
    rows = rows_of(output / "retries" / "00002")
    assert {row["error_code"] for row in rows.values()} == {None, *BROKEN.values()} - {"empty_file", "corrupt_image"}
    carried = {row["carried_from"] for row in rows.values() if row["carried_from"]}
    assert carried == {first["broken/empty.png"]["run_id"], record["run_id"]}
    assert snapshot(output) == before

    # With a code that nothing failed with there is nothing to do, and nothing is written.
    end = isofleet("retry-failed", output, "--code", "killed_worker", *options)
    assert (end.status, end.stderr) == (0, "")
    assert "no image failed with a code that can be tried again" in end.stdout
    assert not (output / "retries" / "00003").exists()


def test_a_generation_that_was_interrupted_is_resumed(
    photos: Path, small: dict[str, Any], options: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "meshes"
    convert(photos, output, small | {"reconstruct.max_failed_percent": 60.0})
    assert isofleet("retry-failed", output, *options).status == 0
    generation = output / "retries" / "00001"
    whole = rows_of(generation)
    (generation / "_SUCCESS.json").unlink()
    (generation / "catalog" / "_index.json").unlink()
    (generation / "catalog" / "shard-00002.parquet").unlink()
    for number in (0, 2):
        (generation / "manifest" / f"shard-{number:05d}.parquet").unlink()
    other = isofleet("retry-failed", output, "--code", "empty_file", *options).sentence(2)
    assert "holds a run with codes to try again: " in other
    assert isofleet("retry-failed", output, *options).status == 0
    assert {item: content(row) for item, row in rows_of(generation).items()} == {
        item: content(row) for item, row in whole.items()
    }
    assert not (output / "retries" / "00002").exists()


def test_what_cannot_be_retried_is_one_sentence(
    photos: Path, small: dict[str, Any], options: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "meshes"
    assert "there is no _run.json in it" in isofleet("retry-failed", output, *options).sentence(2)
    convert(photos, output, small | {"reconstruct.max_failed_percent": 60.0})
    for code, reason in (("no_such", "there is no such error code"), ("duplicate_id", "cannot change it")):
        assert reason in isofleet("retry-failed", output, "--code", code, *options).sentence(2)
    inner = output / "retries" / "00001"
    assert f"is itself a generation of {output}" in isofleet("retry-failed", inner, *options).sentence(2)
    (output / "manifest" / "shard-00001.parquet").unlink()
    assert "is not finished" in isofleet("retry-failed", output, *options).sentence(2)
    assert not (output / "retries").exists()
