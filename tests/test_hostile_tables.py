"""Catalogs, configuration and records from people who mean harm: one row or one sentence each, and bounded memory."""

import contextlib
import csv
import io
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil  # Ray brings it, and puts it on the path when `conftest` imports it
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_catalog import STORES, catalog_of, items_of, write

from cluster.config import load
from cluster.errors import RequestError, RunError
from jobs import manifest, run, table
from jobs.catalog import Item


def refusal(path: Path) -> str:
    with pytest.raises(RequestError) as caught:
        items_of(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


def parquet(path: Path, column: pa.Array, **options: object) -> Path:
    pq.write_table(pa.table({"uri": column}), path, **options)
    return path


def readers() -> list[psutil.Process]:
    """The processes that read Parquet for this one."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # one that has just ended
            found += [child] * ("jobs.table" in child.cmdline())
    return found


def resident(processes: list[psutil.Process]) -> list[int]:
    sizes = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            sizes.append(process.memory_info().rss)
    return sizes


def test_cells_of_megabytes_are_rows_and_a_page_of_gigabytes_is_a_sentence(tmp_path: Path) -> None:
    good, long = "a.png", "x" * 1_000_000
    items = items_of(parquet(tmp_path / "t.parquet", pa.array([good, long, "b.png"])))
    assert [item.error_code for item in items] == [None, "bad_catalog_row", None]
    assert "more than 4096 characters" in items[1].error_message
    assert len(items[1].source_uri) <= 4096

    def peak(path: Path) -> int:
        """The largest resident memory of the process that reads it, so far as it is seen."""
        most = 0
        for item in catalog_of(path).items():
            most = max([most, *resident(readers())])
            assert item[1].error_code == "bad_catalog_row"
        return most

    # One long cell to which every row points: spread out, 10 GB.
    pointing = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array(["x" * 10_000_000]))
    assert peak(parquet(tmp_path / "p.parquet", pointing)) < 1 << 30
    cells = pa.array(["x" * 10_000_000] * 125)  # in one page of some kilobytes
    bomb = parquet(tmp_path / "b.parquet", cells, use_dictionary=False, compression="zstd", data_page_size=1 << 31)
    assert bomb.stat().st_size < 1_000_000
    assert "GiB of memory to read; write it in smaller row groups" in refusal(bomb)


def test_columns_that_are_no_text(tmp_path: Path) -> None:
    nested = pa.string()
    for _ in range(200):
        nested = pa.struct([("a", nested)])
    for kind, sentence in (
        (pa.struct([("a", pa.string())]), "holds struct"),
        (pa.list_(pa.string()), "holds list"),
        (pa.map_(pa.string(), pa.string()), "holds map"),
        (pa.null(), "holds null"),
        (pa.dictionary(pa.int8(), pa.binary()), "make it text"),
        (nested, "nested"),
    ):
        assert sentence in refusal(parquet(tmp_path / "t.parquet", pa.array([None, None], kind)))
    wide = {f"c{number}": [0] for number in range(3000)} | {"uri": ["a.png"]}
    pq.write_table(pa.table(wide), tmp_path / "wide.parquet")
    assert [item.source_uri for item in items_of(tmp_path / "wide.parquet")] == [str(tmp_path / "a.png")]


def test_a_parquet_file_that_is_encrypted_truncated_or_damaged(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", pa.array([f"{number}.png" for number in range(2000)]))
    whole = path.read_bytes()
    assert "Parquet" in refusal(write(path, whole[:-4] + b"PARE"))  # the mark of an encrypted footer
    assert "Parquet" in refusal(write(path, whole[: len(whole) // 2]))
    assert "Parquet" in refusal(write(path, whole[:-8] + b"\xff\xff\xff\x7f" + whole[-4:]))  # a footer of 2 GiB

    chance, answers = random.Random(1), Counter[str]()
    for _ in range(400):  # as the reading process would say it, without the process
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 2, 5))):
            at = (
                chance.randrange(len(whole) - 700, len(whole))
                if chance.random() < 0.7
                else chance.randrange(len(whole))
            )
            damaged[at] = chance.randrange(256)
        path.write_bytes(damaged)
        *_, last = table._read_here(str(path), str(path))
        answers["error" if "error" in last else "end"] += 1
        assert "\n" not in last.get("error", "")
    assert answers["error"] > 50


MORE_THAN_A_PIPE_HOLDS = pa.array([f"{number}.png" for number in range(100_000)])


def test_a_reader_that_dies_or_is_silent_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "t.parquet", MORE_THAN_A_PIPE_HOLDS)
    rows = catalog_of(path).items()
    next(rows)
    (reader,) = readers()
    reader.suspend()
    monkeypatch.setattr(table, "_READER_SECONDS", 0.5)
    with pytest.raises(RequestError, match="ends or blocks the process"):
        list(rows)
    assert not reader.is_running()


def test_a_dropped_catalog_leaves_no_process(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", MORE_THAN_A_PIPE_HOLDS)
    rows = catalog_of(path).items()
    next(rows)
    rows.close()
    assert readers() == []


def test_a_table_has_no_more_rows_than_one_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_MAX_ROWS", 3)
    for path in (
        write(tmp_path / "t.csv", "uri\na.png\nb.png\nc.png\nd.png\n"),
        parquet(tmp_path / "t.parquet", pa.array([f"{number}.png" for number in range(4)])),
    ):
        assert "more than 3 rows; split it" in refusal(path)
    assert len(items_of(write(tmp_path / "t.csv", "uri\na.png\nb.png\nc.png\n"))) == 3


FORMULAS = ("=cmd()", '=HYPERLINK("http://x")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "=1\r=2")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_spreadsheet_formula_stays_data(kind: str, tmp_path: Path) -> None:
    """No id, category or path begins as a formula does; the address is kept as it was given."""
    cells = [(formula, formula, formula) for formula in FORMULAS]
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([("uri", "id", "category"), *cells])
        write(path, text.getvalue())
    else:
        pq.write_table(
            pa.Table.from_pylist([dict(zip(("uri", "id", "category"), row, strict=True)) for row in cells]), path
        )
    items: list[Item] = items_of(path)
    assert len(items) == len(FORMULAS)
    for item, formula in zip(items, FORMULAS, strict=True):
        for written in (item.item_id, item.category, item.error_message or "Row"):
            assert written[0].isalnum() or written[0] == "_"
        if item.error_code is None:
            assert item.source_uri == f"{tmp_path}/{formula}"
        else:
            assert item.error_code == "bad_catalog_row"
            assert item.source_uri.isprintable()


LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{chr(98 + depth)}: &{chr(98 + depth)} [{', '.join([f'*{chr(97 + depth)}'] * 10)}]\n" for depth in range(12)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        LAUGHS + "reconstruct: *l\n",
        LAUGHS + "reconstruct: {category: *l}\n",
        LAUGHS + "reconstruct: {weights: {chair: *l}}\n",
        "reconstruct: &r {weights: *r}",
        "a: &a {b: *a}\nreconstruct: {<<: *a}",
        "reconstruct: {resolution: " + "9" * 5000 + "}",
        "reconstruct: {resolution: 1e999999999}",
        "reconstruct: {item_timeout_seconds: 1" + "0" * 400 + "}",
        "reconstruct: {resolution: 1" + ":59" * 50_000 + "}",
        "reconstruct: {resolution: 0x" + "f" * 200_000 + "}",
        "reconstruct: {category: !!binary " + "/w==" * 10 + "}",
        "reconstruct: {category: !!python/object/apply:os.system [true]}",
        "reconstruct: {category: !!python/name:os.system }",
        "reconstruct: {category: !!set {a, b}}",
        "a: &a {x: 1}\n" + "b: {<<: [" + "*a, " * 60_000 + "*a]}",
        "{" * 5000,
        "[" * 100_000,
        "a: " * 50_000,
        "- " * 100_000,
        "? " * 100_000,
        "reconstruct: {category: \"\\ud800\"}",
        "reconstruct: {category: \"a\\0b\"}",
        "--- {}\n--- {}\n",
        "%YAML 9.9\n---\nreconstruct: {}\n" * 2,
        "\0",
        "!" * 200_000,
        "a" * 200_000 + ": 1",
        "resolution\u202e: 1",
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_yaml_from_strangers_is_one_short_sentence(text: str, tmp_path: Path) -> None:
    assert len(text) < 256 * 1024
    path = write(tmp_path / "c.yaml", text)
    before, started = psutil.Process().memory_info().rss, time.process_time()
    with pytest.raises(RequestError) as caught:
        load(path, {}, {})
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert sentence.isprintable()
    assert len(sentence) < 1000
    assert psutil.Process().memory_info().rss - before < 300 << 20
    assert time.process_time() - started < 30  # no measure of speed: a bomb would take for ever


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 500_000, b"\xff\xfe", b"null", b"{}", b"9" * 900_000, b" " * (2 << 20), b"{\"run_id\": \"x\"}"],
    ids=lambda content: repr(content[:10]),
)  # fmt: skip
def test_a_record_from_strangers_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "_run.json", content)
    with pytest.raises(RequestError) as caught:
        run.read(STORES, str(tmp_path))
    assert "_run.json" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_manifest_part_from_strangers_is_one_sentence(tmp_path: Path) -> None:
    part = tmp_path / "manifest" / "shard-00000.parquet"
    part.parent.mkdir()
    pq.write_table(manifest.SCHEMA.empty_table(), part)
    whole = part.read_bytes()
    pq.write_table(pa.table({"item_id": ["a"]}), part)
    other = part.read_bytes()
    for content in (
        b"",
        b"PAR1",
        whole[: len(whole) // 2],
        whole[:-8] + b"\xff\xff\xff\x7fPAR1",
        other,
        bytes(100_000),
    ):
        part.write_bytes(content)
        for read in (manifest.read, manifest.summary):
            with pytest.raises(RunError) as caught:
                read(STORES, str(tmp_path))
            assert "shard-00000.parquet" in str(caught.value)
            assert str(caught.value).isprintable()
