"""Catalogs of every kind and their frozen shards, in real folders and in an S3 server."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from cluster.config import S3Settings, StoreSettings
from cluster.errors import RequestError, RunError
from cluster.store import Stores
from jobs.catalog import Catalog, Item, Position, item_id_for, open_catalog
from jobs.worklist import Shard, plan

STORES = Stores(StoreSettings())


def catalog_of(uri: Path | str, category: str | None = None, limit: int | None = None) -> Catalog:
    return open_catalog(str(uri), STORES, category=category, limit=limit)


def items_of(uri: Path | str, category: str | None = None, limit: int | None = None) -> list[Item]:
    return [item for _, item in catalog_of(uri, category, limit).items()]


def folder_of(root: Path, *keys: str) -> Path:
    for key in keys:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"bytes that nobody reads here")
    return root


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*(~[0-9a-f]{16})?")
KEYS = st.one_of(
    st.text(max_size=60),
    st.text("ab./-_~ é\\", max_size=30),
    st.lists(st.sampled_from(["a", "b.png", "..", ".", "", "x.glb", "-rf", "c" * 130]), max_size=5).map("/".join),
)


@given(st.sets(KEYS, max_size=30))
@example({"../../etc/x.png", "a b.png", "é/ü.png", "x" * 900, "a\0b", "\x1b[31m", "", ".", "a//b", "/a", "a/"})
@example({"a.glb/b", "a.glb/c", "A.GLB/b", "CON", "\ud800", "~", "a~0123456789abcdef"})
def test_ids_are_safe_and_never_meet(keys: set[str]) -> None:
    ids = {key: item_id_for(key) for key in keys}
    assert len(set(ids.values())) == len(keys)
    for key, item_id in ids.items():
        assert item_id == item_id_for(key)
        assert SAFE.fullmatch(item_id)
        assert len(item_id) <= 400
        *folders, name = item_id.split("/")
        assert all(len(part) <= 137 for part in (*folders, name))
        assert not any(folder.lower().endswith((".glb", ".obj", ".ply", ".stl")) for folder in folders)
        assert item_id == key or re.search("~[0-9a-f]{16}$", item_id)


def test_a_safe_key_is_its_own_id_and_others_stay_readable() -> None:
    for key in ("chair/01.png", "a.glb", "x/" * 20 + "y", "_hidden/x"):
        assert item_id_for(key) == key
    assert item_id_for("my chair (1).png").startswith("my_chair_1_.png~")
    assert item_id_for("../../etc/x.png").startswith("etc_x.png~")
    assert item_id_for("椅子").startswith("item~")


def test_a_folder_gives_its_images_and_nothing_else(tmp_path: Path) -> None:
    folder_of(
        tmp_path,
        *(
            "chair/1.png",
            "chair/deep/2.JPG",
            "top.webp",
            "table/a b.TIFF",
            "x.gif",
            "x.bmp",
            "y.jpeg",
            "z.tif",
        ),
        *(
            "README.txt",
            ".DS_Store",
            "chair/Thumbs.db",
            "chair/._1.png",
            ".cache/3.png",
            "png",
            "chair/1.png.part",
        ),
    )
    items = {item.item_id: item for item in items_of(tmp_path)}
    plain = {"chair/1.png", "chair/deep/2.JPG", "top.webp", "x.gif", "x.bmp", "y.jpeg", "z.tif"}
    assert {item_id for item_id in items if "~" not in item_id} == plain
    assert len(items) == len(plain) + 1
    assert items["chair/1.png"].category == items["chair/deep/2.JPG"].category == "chair"
    assert items["top.webp"].category == "object"
    assert items["chair/1.png"].source_uri == str(tmp_path / "chair" / "1.png")
    assert items["chair/1.png"].size == 28
    assert items["chair/1.png"].etag
    assert {item.category for item in items_of(tmp_path, category="bench")} == {"bench"}
    assert len(items_of(tmp_path, limit=3)) == 3


def test_positions_resume_a_listing_and_a_table(tmp_path: Path) -> None:
    names = ["a.png", "a/b.png", "a/c.png", "b.png", "d/e.png"]
    folder_of(tmp_path / "images", *names)
    table = write(tmp_path / "t.csv", "uri\n" + "\n".join(names) + "\n")
    for uri in (tmp_path / "images", table):
        for limit in (None, 4):
            catalog = catalog_of(uri, limit=limit)
            everything = list(catalog.items())
            assert [item.item_id for _, item in everything] == names[:limit]
            for place, (position, _) in enumerate(everything, start=1):
                assert position.count == place
                assert list(catalog.items(position)) == everything[place:]


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    folder_of(tmp_path, "README.txt")
    for uri in (tmp_path, tmp_path / "absent", tmp_path / "absent.csv", tmp_path / "absent.parquet"):
        with pytest.raises(RequestError, match=re.escape(str(uri))):
            next(catalog_of(uri).items())
    with pytest.raises(RequestError, match="no rows"):
        next(catalog_of(write(tmp_path / "empty.csv", "uri,id\n")).items())
    with pytest.raises(RequestError, match="scheme"):
        catalog_of("ftp://host/images")
    with pytest.raises(RequestError, match="no images"):
        next(plan(catalog_of(tmp_path), str(tmp_path / "out"), STORES, 4))
    assert not (tmp_path / "out").exists()


def test_a_table_gives_addresses_ids_and_categories(tmp_path: Path) -> None:
    rows = [
        {"note": "x", "uri": "chair/1.png", "id": None, "category": None},
        {"note": "x", "uri": "/data/2.png", "id": "two", "category": "table"},
        {"note": "x", "uri": "s3://bucket/a//3.png", "id": None, "category": None},
        {"note": "x", "uri": "4.png", "id": "v/4", "category": "arm/chair"},
        {"note": "x", "uri": "file:///data/a%20b.png", "id": "five", "category": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet", row_group_size=2)
    lines = [",".join(cell or "" for cell in row.values()) for row in rows]
    write(tmp_path / "t.csv", "\ufeffnote,uri,id,category\r\n" + "\r\n\r\n".join(lines))
    for name in ("t.parquet", "t.csv"):
        one, two, three, four, five = items_of(tmp_path / name)
        assert one == Item("chair/1.png", str(tmp_path / "chair/1.png"), "chair")
        assert two == Item("two", "/data/2.png", "table")
        assert three.source_uri == "s3://bucket/a//3.png"
        assert three.item_id.startswith("s3_bucket_a_3.png~")
        assert three.category == "object"
        assert four.item_id == "v/4"
        assert re.fullmatch("arm_chair~[0-9a-f]{16}", four.category)
        assert five.source_uri == "/data/a b.png"
        assert {item.category for item in items_of(tmp_path / name, category="sofa")} == {"sofa"}


def test_parquet_columns_of_other_types(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    uris = pa.array(["a.png", "b.png", "a.png"]).dictionary_encode()
    columns = {
        "uri": uris,
        "id": pa.array([7, 8, 9]),
        "category": pa.array(["x", "y", None], pa.large_string()),
    }
    pq.write_table(pa.table(columns), path)
    assert [(item.item_id, item.category) for item in items_of(path)] == [
        ("7", "x"),
        ("8", "y"),
        ("9", "object"),
    ]
    for columns, name in (
        ({"uri": [1, 2]}, "'uri'"),
        ({"uri": ["a"], "category": [1.5]}, "'category'"),
        ({"uri": ["a"], "id": [b"x"]}, "'id'"),
        ({"uri": [["a"]]}, "'uri'"),
        ({"url": ["a"]}, "no column 'uri'.*'url'"),
    ):
        pq.write_table(pa.table(columns), path)
        with pytest.raises(RequestError, match=name) as caught:
            items_of(path)
        assert str(path) in str(caught.value)


def test_wrong_rows_become_failed_items(tmp_path: Path) -> None:
    bad: list[bytes] = [
        b"",
        b"bad\x00nul.png",
        b"bell\x07.png",
        b"latin-\xe9.png",
        b"../up.png",
        b"gopher://x/y.png",
        b"x" * 5000 + b".png",
        b"s3://",
    ]
    uris = [b"good.png", *bad, b"late.png"]
    quoted = [b'"' + uri + b'",c' for uri in uris]
    csv = write(tmp_path / "t.csv", b"uri,category\n" + b"\n".join(quoted) + b"\n")
    binary = pa.array(uris, pa.binary())
    forged = pa.StringArray.from_buffers(len(uris), *binary.buffers()[1:])  # text that is not UTF-8
    pq.write_table(pa.table({"uri": forged, "category": ["c"] * len(uris)}), tmp_path / "t.parquet")
    for path in (csv, tmp_path / "t.parquet"):
        first, *wrong, last = items_of(path)
        assert (first.item_id, last.item_id) == ("good.png", "late.png")
        assert first.error_code is last.error_code is None
        assert len(wrong) == len(bad)
        assert len({item.item_id for item in wrong}) == len(bad)
        for number, item in enumerate(wrong, start=2):
            assert item.error_code == "bad_catalog_row"
            assert item.error_message.startswith(f"Row {number} of {path} has ")
            assert item.error_message.isprintable()
            assert item.source_uri.isprintable()
            assert SAFE.fullmatch(item.item_id)


def test_csv_that_is_broken_in_places(tmp_path: Path) -> None:
    cell = "y" * 200_000
    text = f'uri,id\na.png,1\nb.png\nc.png,3,extra\n"{cell}",4\ne.png,5\n"f.png,6\ng.png,7\n'
    items = items_of(write(tmp_path / "t.csv", text))
    assert [item.error_code for item in items] == [None, *["bad_catalog_row"] * 3, None, "bad_catalog_row"]
    assert "1 cells where the header has 2" in items[1].error_message
    for text, reason in (
        ("uri,uri\na,b\n", "several columns"),
        ("", "columns: none"),
        ("uri;id\na;b\n", "'uri;id'"),
        ("uri\n" + "z" * 2_000_000, "a line of more than"),
        ("uri\na\n".encode("utf-16"), "save it as UTF-8"),
        ("uri\na\n".encode("utf-32"), "save it as UTF-8"),
        ("uri\na\n".encode("utf-16-le"), "no column 'uri'"),
        (",".join(f"c{i}" for i in range(1_000_000)) + ",uri\n", "a line of more than"),
    ):
        with pytest.raises(RequestError, match=reason):
            items_of(write(tmp_path / "t.csv", text))
    for data in (b"", b"PAR1", b"\0" * 5000, b"PAR1" + b"\xff" * 100 + b"PAR1"):
        with pytest.raises(RequestError, match="Parquet"):
            items_of(write(tmp_path / "t.parquet", data))


def test_duplicate_ids_fail_under_ids_of_their_own(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "uri,id\na.png,x\nb.png,y\nc.png,x\nd.png,x\na.png,\na.png,\n")
    items = items_of(table)
    assert [item.error_code for item in items] == [
        None,
        None,
        "duplicate_id",
        "duplicate_id",
        None,
        "duplicate_id",
    ]
    assert len({item.item_id for item in items}) == 6
    assert items[2].item_id.startswith("x~")
    # A duplicate is still known as one when the rows before it are skipped.
    resumed = [item for _, item in catalog_of(table).items(Position(3, ""))]
    assert resumed == items[3:]


def shards_of(catalog: Catalog, output: Path, size: int = 3) -> list[Shard]:
    return list(plan(catalog, str(output), STORES, size))


@pytest.mark.parametrize("count", [1, 3, 4, 6, 7])
def test_shards_tile_the_catalog(tmp_path: Path, count: int) -> None:
    folder_of(tmp_path / "in", *(f"{i:03d}.png" for i in range(count)))
    catalog, output = catalog_of(tmp_path / "in"), tmp_path / "out"
    shards = shards_of(catalog, output)
    assert [item for shard in shards for item in shard.items] == items_of(tmp_path / "in")
    assert [len(shard.items) for shard in shards[:-1]] == [3] * (len(shards) - 1)
    assert [shard.index for shard in shards] == list(range(len(shards)))
    index = json.loads((output / "catalog" / "_index.json").read_text())
    assert index == {"shards": len(shards), "items": count}

    folder_of(tmp_path / "in", "0000.png", "zzz.png")  # the work list is frozen
    assert shards_of(catalog, output, size=5) == shards
    assert shards_of(catalog_of(tmp_path / "gone"), output) == shards


class Counting(Catalog):
    """A real listing that says how far it has been read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), STORES, None, None)
        self._real, self.read = catalog_of(folder), 0

    def _nothing(self) -> str:
        return self._real._nothing()

    def _rows(self, after: Position | None) -> Iterator[tuple[str, Item]]:
        for position, item in self._real.items(after):
            self.read += 1
            yield position.key, item


def test_work_starts_before_the_listing_ends(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", *(f"{i:03d}.png" for i in range(20)))
    catalog = Counting(tmp_path / "in")
    first = next(plan(catalog, str(tmp_path / "out"), STORES, 4))
    assert len(first.items) == 4
    assert catalog.read == 5  # one ahead
    assert (tmp_path / "out" / "catalog" / "shard-00000.parquet").exists()


@pytest.mark.parametrize("kind", ["listing", "table"])
@pytest.mark.parametrize("done", [1, 2, 3, 4])
def test_an_interrupted_plan_goes_on_where_it_stopped(tmp_path: Path, done: int, kind: str) -> None:
    names = [f"{i:03d}.png" for i in range(10)]
    source = folder_of(tmp_path / "in", *names)
    if kind == "table":
        source = write(source / "t.csv", "uri\n" + "\n".join(names) + "\n")
    output = tmp_path / "out"
    shards = plan(catalog_of(source), str(output), STORES, 3)
    begun = [next(shards) for _ in range(done)]
    shards.close()
    assert not (output / "catalog" / "_index.json").exists()
    finished = shards_of(catalog_of(source), output, size=2)  # not even the shard size need be the same
    assert finished[:done] == begun
    assert [item.item_id for shard in finished for item in shard.items] == names


def test_a_catalog_that_shrank_still_ends(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", *(f"{i}.png" for i in range(5)))
    first = next(plan(catalog_of(tmp_path / "in"), str(tmp_path / "out"), STORES, 3))
    for i in range(5):
        (tmp_path / "in" / f"{i}.png").unlink()
    shards = shards_of(catalog_of(tmp_path / "in"), tmp_path / "out")
    assert shards[0] == first
    assert [len(shard.items) for shard in shards] == [3, 0]


def test_a_table_that_changed_meanwhile_is_noticed(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "uri\n" + "\n".join(f"{i}.png" for i in range(9)))
    next(plan(catalog_of(table), str(tmp_path / "out"), STORES, 2))
    write(table, "uri\n" + "\n".join(f"{i}.jpeg" for i in range(9)))
    with pytest.raises(RequestError, match=r"t\.csv has changed"):
        shards_of(catalog_of(table), tmp_path / "out")


@pytest.mark.parametrize("sizes", [(3, 3, 3), (1, 2, 5)])
def test_drivers_that_race_agree_on_every_shard(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    folder_of(tmp_path / "in", *(f"{i:03d}.png" for i in range(40)))
    table = write(tmp_path / "in" / "t.csv", "uri\n" + "\n".join(f"{i:03d}.png" for i in range(40)))
    for source in (tmp_path / "in", table):
        output = tmp_path / f"out-{source.name}"
        seen: dict[int, list[Shard]] = {}
        start = threading.Barrier(len(sizes))

        def drive(driver: int, size: int, source: Path = source, output: Path = output) -> None:
            catalog = catalog_of(source)
            start.wait()  # noqa: B023
            seen[driver] = shards_of(catalog, output, size)  # noqa: B023

        threads = [threading.Thread(target=drive, args=pair) for pair in enumerate(sizes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen[0] == seen[1] == seen[2]
        assert [item.item_id for shard in seen[0] for item in shard.items] == [f"{i:03d}.png" for i in range(40)]


def test_a_damaged_work_list_is_named(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", *(f"{i}.png" for i in range(5)))
    catalog, output = catalog_of(tmp_path / "in"), tmp_path / "out"
    shards_of(catalog, output)
    path = output / "catalog" / "shard-00001.parquet"
    whole = path.read_bytes()
    table = pq.read_table(path)
    stripped = table.replace_schema_metadata(None)
    escaping = table.set_column(0, table.schema.field(0), pa.array(["../../x", "b"]))
    lying = table.replace_schema_metadata({"isofleet.shard": '{"end": [1], "final": true, "version": null}'})
    columns = pa.table({"item_id": ["a"]})
    for hostile in (b"", whole[:100], b"x" * 3000, stripped, escaping, lying, columns):
        if isinstance(hostile, bytes):
            path.write_bytes(hostile)
        else:
            pq.write_table(hostile, path)
        with pytest.raises(RunError, match="shard-00001"):
            shards_of(catalog, output)
    path.unlink()
    with pytest.raises(RunError, match="missing"):
        shards_of(catalog, output)


def test_s3_prefixes_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        names = ["chair/1.png", "chair/a b.png", "chair/é.png", "chair//2.png", "table/3.jpg", "x.txt"]
        for name in names:
            client.put_object(Bucket="bucket", Key=f"in/{name}", Body=b"1234")
        client.put_object(Bucket="bucket", Key="in/t.csv", Body=("uri\n" + "\n".join(names[:5])).encode())
        stores = Stores(StoreSettings(s3=S3Settings(endpoint_url=endpoint, region="us-east-1")))

        catalog = open_catalog("s3://bucket/in", stores, category=None, limit=None)
        shards = list(plan(catalog, "s3://bucket/out", stores, 2))
        items = [item for shard in shards for item in shard.items]
        assert sorted(item.source_uri for item in items) == sorted(f"s3://bucket/in/{name}" for name in names[:5])
        assert {item.category for item in items} == {"chair", "table"}
        assert all(item.size == 4 and item.etag for item in items)
        assert list(plan(catalog, "s3://bucket/out", stores, 2)) == shards

        table = open_catalog("s3://bucket/in/t.csv", stores, category=None, limit=None)
        assert [item.source_uri for _, item in table.items()] == [f"s3://bucket/in/{name}" for name in names[:5]]
        assert [item.item_id for _, item in table.items()] == [item_id_for(name) for name in names[:5]]
        assert table.version == client.head_object(Bucket="bucket", Key="in/t.csv")["ETag"].strip('"')
    finally:
        server.stop()
