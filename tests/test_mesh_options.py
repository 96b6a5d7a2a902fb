"""Mesh options as users meet them: on the command line, in tables, in the manifest and in the files."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trimesh

from cluster.config import StoreSettings, load
from cluster.errors import RequestError
from cluster.store import Stores
from jobs import manifest, run, verify
from jobs.catalog import open_catalog
from jobs.reconstruct import reconstruct

STORES = Stores(StoreSettings())


def rows_of(output: Path) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in manifest.read(STORES, str(output)).to_pylist()}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mesh.up_axis": "z"}, "mesh.up_axis is z, but glTF is +Y up"),
        ({"mesh.normals": True, "reconstruct.format": "stl"}, "mesh.normals: an STL has normals of faces alone"),
        ({"mesh.metadata": True, "reconstruct.format": "obj"}, "mesh.metadata: only a GLB can hold it, not obj"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError) as refused:
        run.request_for(str(tmp_path), str(tmp_path / "out"), load(None, {}, options), STORES)
    assert str(refused.value).startswith(sentence)


@pytest.mark.usefixtures("ray_session")
def test_sizes_and_metadata_reach_the_files(pictures: Path, small: dict[str, Any], tmp_path: Path) -> None:
    table, first = tmp_path / "photos.csv", tmp_path / "first"
    chairs = [str(path) for path in sorted((pictures / "chair").glob("*.png"))[:3]]
    rows = zip("abc", chairs, ("0.8", "", "five"), strict=True)
    table.write_text("id,uri,category,size_m\n" + "".join(f"{id},{uri},chair,{size}\n" for id, uri, size in rows))
    options = small | {"mesh.metadata": True}
    assert reconstruct(str(table), str(first), load(None, {}, options)).ok == 2
    made = rows_of(first)
    assert made["a"]["size_m"] == 0.8
    assert made["b"]["size_m"] is None
    (wrong,) = (row for row in made.values() if row["status"] == "failed")
    assert wrong["error_code"] == "bad_catalog_row"
    assert "has a size_m that is no number of metres from 1e-06 to 1e+06" in wrong["error_message"]
    for id, row in (("a", made["a"]), ("b", made["b"])):
        data = Path(row["mesh_uri"]).read_bytes()
        extras = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])["asset"]["extras"]
        assert extras["item"] == id
        assert (extras["source"], extras["run"]) == (row["source_uri"], row["run_id"])
        assert (extras["weights"], extras["resolution"]) == (row["weights_digest"], row["resolution"])
        mesh = trimesh.load(io.BytesIO(data), file_type="glb", force="mesh")
        assert mesh.bounds.ravel().tolist() == pytest.approx(row["bounds"])
        assert mesh.volume == pytest.approx(row["volume"])
    low, high = made["a"]["bounds"][:3], made["a"]["bounds"][3:]
    assert max(end - start for start, end in zip(low, high, strict=True)) == pytest.approx(0.8)
    assert verify.verify(STORES, str(first), print).good

    # Another size, or other options, make another mesh; the same ones do not.
    table.write_text(table.read_text().replace(",0.8\n", ",0.9\n").replace("five", "0.5"))
    for name, changed, carried in (("second", {}, {"b"}), ("third", {"mesh.normals": False}, set())):
        follow = options | changed | {"reconstruct.previous": [str(first)]}
        reconstruct(str(table), str(tmp_path / name), load(None, {}, follow))
        assert {id for id, row in rows_of(tmp_path / name).items() if row["carried_from"]} == carried
    with pytest.raises(RequestError, match=r"with mesh metadata=True, and this one asks for no options"):
        reconstruct(str(table), str(first), load(None, {}, small))


@pytest.mark.parametrize(
    "kind", [pa.float32(), pa.float64(), pa.int32(), pa.string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_sizes_in_parquet(kind: pa.DataType, tmp_path: Path) -> None:
    sizes = pa.array(["2", None, "3"]).cast(kind)
    pq.write_table(pa.table({"uri": ["a.png", "b.png", "c.png"], "size_m": sizes}), tmp_path / "t.parquet")
    catalog = open_catalog(str(tmp_path / "t.parquet"), STORES, category=None, limit=None)
    assert [item.size_m for _, item in catalog.items()] == [2.0, None, 3.0]


@pytest.mark.parametrize("cell", ["nan", "inf", "-1", "0", "1e7", "2m", "0x1", "1,5"])
def test_a_size_that_is_none_fails_its_row(cell: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f'uri,size_m\na.png,"{cell}"\nb.png, 1.5 \n')
    catalog = open_catalog(str(tmp_path / "t.csv"), STORES, category=None, limit=None)
    wrong, right = (item for _, item in catalog.items())
    assert wrong.error_code == "bad_catalog_row"
    assert right.size_m == 1.5
