"""Mesh options as users meet them: on the command line, in tables, in the manifest and in the files."""

import hashlib
import io
import json
import shutil
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
from jobs.catalog import item_id_for, open_catalog
from jobs.reconstruct import reconstruct
from jobs.remesh import remesh

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


@pytest.mark.usefixtures("ray_session")
def test_levels_of_detail_lie_beside_the_mesh(pictures: Path, small: dict[str, Any], tmp_path: Path) -> None:
    catalog, first = tmp_path / "photos" / "chair", tmp_path / "first"
    catalog.mkdir(parents=True)
    for number in (0, 2):
        shutil.copy(sorted((pictures / "chair").glob("*.png"))[number], catalog / f"{number}.png")
    options = small | {"mesh.faces": 300, "mesh.lod": [120, 40], "mesh.smooth": 3, "reconstruct.format": "ply"}
    options |= {"mesh.up_axis": "z"}
    result = reconstruct(str(catalog.parent), str(first), load(None, {}, options))
    assert result.ok == 2
    for row in rows_of(first).values():
        assert row["faces"] <= row["face_budget"] == 300
        assert -0.3 < row["volume_change"] < 0.3
        assert row["up_axis"] == "z"
        assert [level["face_budget"] for level in row["lods"]] == [120, 40]
        for number, level in enumerate(row["lods"], 1):
            assert level["uri"] == row["mesh_uri"].removesuffix("ply") + f"lod{number}.ply"
            data = Path(level["uri"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (level["bytes"], level["sha256"])
            mesh = trimesh.load(io.BytesIO(data), file_type="ply", force="mesh")
            assert mesh.is_watertight
            assert (len(mesh.faces), len(mesh.vertices)) == (level["faces"], level["vertices"])
    looked = verify.verify(STORES, str(first), print)
    assert (looked.good, looked.meshes, looked.unreferenced) == (True, 6, 0)

    # A level that is gone is found, and made again with its mesh; the other image is carried.
    gone, other = (row["lods"][0]["uri"] for row in rows_of(first).values())
    Path(gone).unlink()
    assert verify.verify(STORES, str(first), lambda finding: None).findings == {"mesh_missing": 1}
    follow = load(None, {}, options | {"reconstruct.previous": [str(first)]})
    result = reconstruct(str(catalog.parent), str(tmp_path / "second"), follow)
    assert (result.carried, result.computed) == (1, 1)
    uris = {level["uri"] for row in rows_of(tmp_path / "second").values() for level in row["lods"]}
    assert other in uris
    assert gone not in uris

    # The latents take other options: here the levels alone, as they were, in a GLB.
    asked = {"mesh.up_axis": "y", "mesh.faces": None, "mesh.smooth": 0, "reconstruct.format": "glb"}
    remesh(str(first), str(tmp_path / "third"), load(None, {}, small | asked), asked)
    for row in rows_of(tmp_path / "third").values():
        assert (row["face_budget"], row["volume_change"], row["format"]) == (None, None, "glb")
        assert [level["face_budget"] for level in row["lods"]] == [120, 40]


def test_levels_must_become_coarser() -> None:
    for lod, faces in (([10, 20], None), ([10, 10], None), ([300], 300)):
        with pytest.raises(RequestError, match=r"mesh\.lod must have fewer triangles from level to level"):
            load(None, {}, {"mesh.lod": lod, "mesh.faces": faces})
    with pytest.raises(RequestError, match=r"mesh\.lod must be a list of whole numbers, not \['many'\]"):
        load(None, {}, {"mesh.lod": ["many"]})


def test_no_item_takes_the_place_of_a_level() -> None:
    assert item_id_for("chair") == "chair"
    assert item_id_for("chair.lod1") != "chair.lod1"
    assert item_id_for("a/chair.LOD12") != "a/chair.LOD12"
