"""Progress read from an output alone, in folders and buckets; no cluster is there to be asked."""

import dataclasses
import json
import os
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import S3, Run

from cluster.config import StoreSettings
from cluster.errors import RequestError, RunError
from cluster.store import Stores, join
from jobs import cli, run
from jobs.status import Status, status

STORES = Stores(StoreSettings())
START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.fixture
def output(undisturbed: Run, tmp_path: Path) -> Path:
    """A finished run of 40 images in ten shards of four, whose parts were committed every 2 s from START on."""
    output = Path(shutil.copytree(undisturbed.output, tmp_path / "meshes"))
    for index, part in enumerate(sorted(output.glob("manifest/*.parquet"))):
        date(part, 2 * index)
    return output


def date(part: Path, seconds: float) -> None:
    os.utime(part, times=((START + timedelta(seconds=seconds)).timestamp(),) * 2)


def part(output: Path, index: int) -> Path:
    return output / "manifest" / f"shard-{index:05d}.parquet"


def look(output: Path | str, seconds: float = 30) -> Status:
    return status(STORES, str(output), START + timedelta(seconds=seconds))


def test_a_finished_run_is_what_its_result_says(undisturbed: Run, output: Path) -> None:
    now, result = look(output), undisturbed.result
    assert (now.state, now.run_id, now.planned) == ("finished", result.run_id, True)
    for name in ("images", "ok", "failed", "errors", "shards", "mesh_bytes", "points_evaluated"):
        assert getattr(now, name) == getattr(result, name), name
    assert (now.shards_planned, now.images_planned, now.seconds_left) == (10, 40, None)


def test_an_unfinished_run_says_how_far_it_is_and_when_it_may_end(output: Path) -> None:
    (output / "_SUCCESS.json").unlink()
    assert look(output).state == "committed"
    for index in (1, 8, 9):
        part(output, index).unlink()
    now = look(output, 15)
    assert (now.state, now.shards, now.shards_planned, now.images, now.images_planned) == ("unfinished", 7, 10, 28, 40)
    assert now.ok + now.failed == 28
    assert sum(now.errors.values()) == now.failed
    # Parts 0, 2, 3 … 7 at 0, 4, 6 … 14 s: 24 images in 14 s, and 12 are left.
    assert now.images_per_second == round(24 / 14, 3)
    assert now.seconds_left == round(12 * 14 / 24, 1) == 7.0
    assert (now.last_commit_at, now.seconds_since_last_commit) == ("2026-11-24T03:00:14+00:00", 1.0)
    assert now.estimated_end == "2026-11-24T03:00:21+00:00"
    later = look(output, 3600)
    assert (later.estimated_end, later.seconds_left, later.seconds_since_last_commit) == (None, 7.0, 3586.0)


def test_an_interruption_is_no_work(output: Path) -> None:
    (output / "_SUCCESS.json").unlink()
    part(output, 9).unlink()
    for index in range(5, 9):  # resumed the next day, four times as fast
        date(part(output, index), 86400 + index / 2)
    assert look(output, 86400).images_per_second == 4 / 0.5
    date(part(output, 8), 0)  # by another driver, whose clock is wrong or whose time is as coarse as a second
    for index in range(8):
        date(part(output, index), 0)
    now = look(output, 10)
    assert (now.images_per_second, now.seconds_left, now.estimated_end) == (None, None, None)


def test_while_the_catalog_is_listed_the_totals_are_those_so_far(output: Path) -> None:
    (output / "_SUCCESS.json").unlink()
    (output / "catalog" / "_index.json").unlink()
    for index in (7, 8, 9):
        part(output, index).unlink()
        (output / "catalog" / f"shard-{index:05d}.parquet").unlink()
    now = look(output)
    assert (now.state, now.planned, now.shards_planned, now.images_planned) == ("unfinished", False, 7, 28)
    assert (now.images, now.seconds_left) == (28, None)
    shutil.rmtree(output / "manifest")
    now = look(output)
    assert (now.state, now.images, now.last_commit_at, now.images_per_second) == ("planning", 0, None, None)
    shutil.rmtree(output / "catalog")
    assert (look(output).state, look(output).images_planned) == ("planning", 0)


def test_what_is_damaged_or_not_there_is_named(output: Path) -> None:
    with pytest.raises(RequestError, match="holds no run"):
        look(output / "elsewhere")
    whole = part(output, 3).read_bytes()
    part(output, 3).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"shard-00003.* is not a readable Parquet file"):
        look(output)
    part(output, 3).write_bytes(whole)
    (output / "catalog" / "_index.json").write_text("{}")
    with pytest.raises(RunError, match=r"_index.json cannot be read"):
        look(output)


def test_a_bucket_is_read_as_a_folder_is_and_no_row_of_it(
    output: Path, s3: S3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requests: list[tuple[str, str, int, int]] = []
    stores = Stores(StoreSettings(s3=s3.settings), lambda *request: requests.append(request))
    root = s3.uri("meshes")
    for name in ("_run.json", "catalog", "manifest"):
        for path in sorted(output.glob(f"{name}/*")) or [output / name]:
            uri = join(root, path.relative_to(output).as_posix())
            stores.open(uri).put(uri, path.read_bytes())
    requests.clear()
    now = status(stores, root, datetime.now(UTC))
    assert [operation for operation, *_ in requests].count("get") == 10 + 2  # tails, the record and the totals
    apart = ("output", "state", "last_commit_at", "seconds_since_last_commit", "images_per_second")
    here = dataclasses.asdict(look(output))
    assert {name: value for name, value in dataclasses.asdict(now).items() if name not in apart} == {
        name: value for name, value in here.items() if name not in apart
    }
    assert now.state == "committed"
    assert now.seconds_since_last_commit is not None
    assert now.seconds_since_last_commit < 600

    monkeypatch.setenv("ISOFLEET_STORE__S3__ENDPOINT_URL", s3.endpoint_url)
    monkeypatch.setattr(sys, "argv", ["isofleet", "status", root, "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    said = json.loads(capsys.readouterr().out)
    assert (said["run_id"], said["images"]) == (run.read(stores, root).run_id, 40)
    monkeypatch.setattr(sys, "argv", ["isofleet", "status", f"{output}/"])
    with pytest.raises(SystemExit):
        cli.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"run {said['run_id']}: finished"
    assert "  images: 40 of 40: 35 ok, 0 of them carried, 5 failed" in lines
    assert lines.count("       1 empty_file") == 1
