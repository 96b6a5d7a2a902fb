"""`isofleet verify` on a real output that something has happened to."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import S3, Run
from test_cli import isofleet

from cluster.config import StoreSettings
from cluster.store import Stores
from jobs import manifest

pytestmark = pytest.mark.usefixtures("ray_session")


def a_mesh(output: Path) -> Path:
    return next(path for path in sorted((output / "meshes").rglob("*.glb")) if path.is_file())


@pytest.fixture
def output(undisturbed: Run, tmp_path: Path) -> Path:
    """A copy that may be damaged; the rows keep naming the meshes of the original, so they are rewritten."""
    copy = Path(shutil.copytree(undisturbed.output, tmp_path / "meshes"))
    for part in sorted((copy / "manifest").glob("*.parquet")):
        table = pq.read_table(part)
        moved = [uri and uri.replace(str(undisturbed.output), str(copy)) for uri in table["mesh_uri"].to_pylist()]
        field = table.schema.field("mesh_uri")
        pq.write_table(
            table.set_column(table.schema.get_field_index("mesh_uri"), field, pa.array(moved, field.type)), part
        )
    return copy


def findings(output: Path, *options: str) -> dict[str, int]:
    end = isofleet("verify", output, "--json", *options)
    found = json.loads(end.stdout)
    assert end.status == (1 if found["findings"] else 0)
    assert found["good"] is (not found["findings"])
    assert sum(found["findings"].values()) == end.stderr.count("\n") - 1
    return found["findings"]


def test_an_output_that_is_whole(undisturbed: Run) -> None:
    end = isofleet("verify", undisturbed.output)
    size = sum(path.stat().st_size for path in undisturbed.output.rglob("*.glb") if path.is_file())
    assert (end.status, end.stderr) == (0, "")
    assert end.stdout == (
        f"40 rows in 10 shards, 35 meshes compared by content, {size} bytes, 0 that no row names: nothing is wrong\n"
    )
    assert findings(undisturbed.output, "--quick") == {}


def test_a_mesh_that_changed_without_changing_its_size(output: Path) -> None:
    mesh = a_mesh(output)
    data = bytearray(mesh.read_bytes())
    data[-1] ^= 1
    mesh.write_bytes(data)
    assert findings(output) == {"mesh_differs": 1}
    assert findings(output, "--quick") == {}  # as its help says


@pytest.mark.parametrize("options", [(), ("--quick",)])
def test_meshes_that_are_gone_or_short(output: Path, options: tuple[str, ...]) -> None:
    first, second, *_ = sorted(path for path in output.rglob("*.glb") if path.is_file())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    assert findings(output, *options) == {"mesh_missing": 1, "mesh_differs": 1}


def test_a_mesh_that_no_row_names_is_told_but_harmless(output: Path) -> None:
    mesh = a_mesh(output)
    shutil.copy(mesh, mesh.with_name("left-over.glb"))
    end = isofleet("verify", output, "--quick")
    assert end.status == 0
    assert "1 that no row names" in end.stdout


def test_parts_that_are_missing_damaged_or_too_many(output: Path) -> None:
    parts = sorted((output / "manifest").glob("*.parquet"))
    parts[0].unlink()
    parts[1].write_bytes(b"PAR1 it was")
    shutil.copy(parts[2], parts[2].with_name("shard-00077.parquet"))
    said = findings(output)
    assert said.pop("totals_differ") >= 2  # _SUCCESS.json still counts them
    assert said == {"not_committed": 1, "damaged_part": 1, "unknown_part": 1}


def test_rows_that_belong_elsewhere(output: Path) -> None:
    parts = sorted((output / "manifest").glob("*.parquet"))
    shutil.copy(parts[6], parts[7])  # the rows of shard 6 in the place of shard 7
    said = findings(output)
    assert said["rows_differ"] == 1
    assert said["foreign_row"] == 4
    assert said["named_twice"] == 4


def test_a_run_that_is_not_over(output: Path) -> None:
    (output / "_SUCCESS.json").unlink()
    (output / "catalog" / "_index.json").unlink()
    (output / "catalog" / "shard-00009.parquet").unlink()
    (output / "manifest" / "shard-00009.parquet").unlink()
    assert findings(output, "--quick") == {"not_planned": 1}


def test_no_run_is_one_sentence(tmp_path: Path) -> None:
    assert "there is no _run.json in it" in isofleet("verify", tmp_path).sentence(2)


def test_on_s3(output: Path, s3: S3, s3_client) -> None:
    """The same objects in a bucket, where every row names a mesh in the folder: each is asked for by itself."""
    for path in output.rglob("*"):
        if path.is_file():
            s3_client.upload_file(str(path), s3.bucket, f"out/{path.relative_to(output)}")
    options = [f"--set=store.s3.endpoint_url={s3.endpoint_url}"]
    end = isofleet("verify", s3.uri("out"), *options)
    assert (end.status, end.stderr) == (0, "")
    assert "35 meshes compared by content" in end.stdout
    assert "35 that no row names" in end.stdout
    assert manifest.committed(Stores(StoreSettings(s3=s3.settings)), s3.uri("out")) == set(range(10))
