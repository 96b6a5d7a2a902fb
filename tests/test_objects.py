"""Tables in which several pictures show one object: what becomes of each row, in whatever order they stand."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_catalog import SAFE, STORES, catalog_of, items_of, shards_of

from jobs import objects
from jobs.catalog import Item, Position
from jobs.objects import Groups
from jobs.worklist import frozen
from workers.views import MAX_VIEWS, fingerprint

HEADER = ("object", "uri", "category", "id", "size_m")


def table_of(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *((*row, "")[: len(HEADER)] for row in rows)])
    return path


def test_rows_of_one_object_are_one_item_wherever_they_stand(tmp_path: Path) -> None:
    rows = [
        ("mug", "b.png", "cup", "not used", "0.125"),
        ("", "single.png", "cup", "one"),
        ("jug 7", "s3://bucket/2.png", "", ""),
        ("mug", "a.png", "", ""),
        ("jug 7", "s3://bucket/10.png", "", ""),
        ("", "chair/other.png", "", ""),
        ("mug", "/data/c.png", "cup", ""),
    ]
    mug, single, jug, other = items_of(table_of(tmp_path / "t.csv", rows))
    root = str(tmp_path)
    assert mug == Item(
        "mug", "/data/c.png", "cup", size_m=0.125, views=("/data/c.png", f"{root}/a.png", f"{root}/b.png")
    )
    assert jug.item_id.startswith("jug_7~")
    assert jug.views == ("s3://bucket/10.png", "s3://bucket/2.png")
    assert (jug.source_uri, jug.category) == ("s3://bucket/10.png", "object")
    assert single == Item("one", f"{root}/single.png", "cup")
    assert other == Item("chair/other.png", f"{root}/chair/other.png", "chair")
    for item in items_of(table_of(tmp_path / "t.csv", rows), category="all"):
        assert item.category == "all"
    numbers = pa.table({"uri": ["x.png", "y.png", "z.png"], "object": [7, 8, 7]})
    pq.write_table(numbers, tmp_path / "t.parquet")
    assert [(item.item_id, len(item.views)) for item in items_of(tmp_path / "t.parquet")] == [("7", 2), ("8", 1)]


def test_what_contradicts_itself_is_one_sentence_and_the_rest_goes_on(tmp_path: Path) -> None:
    rows = [
        ("two", "1.png", "cup", ""),
        ("two", "2.png", "jug", ""),
        ("lain", "cup/1.png", "", ""),
        ("lain", "jug/1.png", "", ""),
        ("said", "cup/2.png", "", ""),
        ("said", "jug/2.png", "jug", ""),
        ("large", "3.png", "", "", "0.5"),
        ("large", "4.png", "", "", "2"),
        ("twice", "3.png", "", ""),
        ("twice", "3.png", "", ""),
        ("twice", f"{tmp_path}/3.png", "", ""),
        ("twice", "", "", ""),
        ("twice", "bell\a.png", "", ""),
        ("taken", "4.png", "", ""),
        ("", "5.png", "", "taken"),
        ("\x01", "6.png", "", ""),
        ("x" * 5000, "7.png", "", ""),
        *(("many", f"{number}.jpg", "", "") for number in range(MAX_VIEWS + 1)),
        *(("most", f"{number}.gif", "", "") for number in range(MAX_VIEWS)),
        ("../../etc", "8.png", "", ""),
        ("formula", "9.png", "=cmd()", ""),
    ]
    random.Random(1).shuffle(rows)
    path = table_of(tmp_path / "t.csv", rows)
    items = items_of(path)
    good = {item.item_id: item for item in items if item.error_code is None}
    assert len({item.item_id for item in items}) == len(items)
    assert all(SAFE.fullmatch(item.item_id) and SAFE.fullmatch(item.category) for item in items)
    assert all((item.error_message or "x").isprintable() for item in items)
    assert all(not item.views for item in items if item.error_code)
    assert good["said"].category == "jug"
    assert good["twice"].views == (f"{tmp_path}/3.png",)
    assert len(good["most"].views) == MAX_VIEWS
    (escaping,) = (item for item_id, item in good.items() if item_id.startswith("etc~"))
    assert escaping.views == (f"{tmp_path}/8.png",)
    said = [item.error_message for item in items if item.error_code == "bad_catalog_row"]
    assert sum("names a picture that its object has" in message for message in said) == 2
    for sentence in (
        f"The object two of {path} has the categories 'cup' and 'jug': give all its rows one in a column 'category'.",
        f"The object lain of {path} has the categories 'cup' and 'jug': give all its rows one in a column 'category'.",
        f"The object large of {path} has the sizes 0.5 and 2 m: give all its rows one in the column 'size_m'.",
        f"The object many of {path} has more than {MAX_VIEWS} pictures, which are the most: leave some out.",
        "has no uri",
        "has control characters or bytes that are not UTF-8 in 'uri'",
        "has control characters or bytes that are not UTF-8 in 'object'",
        "has more than 4096 characters in 'object'",
    ):
        assert sum(sentence in message for message in said) == 1, sentence
    assert len(said) == 10
    assert [item.error_code for item in items].count("duplicate_id") == 1


NAMES = st.sampled_from(["", "", "a", "b", "c d", "ü", "x" * 5000])
ROWS = st.lists(
    st.tuples(NAMES, st.sampled_from("123456").map("{}.png".format), st.sampled_from(["", "", "k"]), st.just("")),
    min_size=1,
    max_size=25,
)


def of_objects(items: Sequence[Item]) -> set[Item]:
    """The items of objects: others are named after their rows."""
    return {item for item in items if item.views or (item.error_message or "").startswith("The object")}


@settings(max_examples=30, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
@example([("a", "1.png", "k", ""), ("b", "1.png", "", ""), ("a", "2.png", "", "")], random.Random(1))
def test_the_order_of_rows_changes_nothing_but_the_order_of_items(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str, str]], chance: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("order")
    shuffled = chance.sample(rows, len(rows))
    grouped = sorted(shuffled, key=lambda row: row[0])
    first, second, third = (items_of(table_of(folder / "t.csv", one)) for one in (rows, shuffled, grouped))
    assert of_objects(first) == of_objects(second) == of_objects(third)
    outcomes = [sorted((item.error_code or "", len(item.views)) for item in items) for items in (first, second, third)]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    # Sorting and streaming are the same, also from the middle on.
    path = table_of(folder / "t.csv", shuffled)
    items = list(catalog_of(path).items())
    for place, (position, _) in enumerate(items, start=1):
        assert position == Position(place, "")
        assert list(catalog_of(path).items(position)) == items[place:]


@given(st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=20))
def test_groups_are_the_same_streamed_and_sorted(names: list[str | None]) -> None:
    rows = [{"uri": str(place), "object": name} for place, name in enumerate(names)]
    expected: dict[object, list[int]] = {}
    for number, name in enumerate(names, start=1):
        expected.setdefault(name or number, []).append(number)
    in_order = sorted(expected.values())
    again = [rows[number - 1] for numbers in in_order for number in numbers]
    for given_rows, numbers in ((rows, in_order), (again, None)):
        groups = Groups(lambda given_rows=given_rows: iter(given_rows))
        found = [[(number, row["uri"]) for number, row in group] for group in groups]
        assert [[uri for _, uri in group] for group in found] == [[str(n - 1) for n in group] for group in in_order]
        assert numbers is None or [[number for number, _ in group] for group in found] == numbers
    if names:
        assert Groups(lambda: iter(again))._sorted is None  # and so nothing is written


def test_a_table_without_the_column_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_other_pass(rows: object) -> bool:
        raise AssertionError

    monkeypatch.setattr(objects, "_is_together", no_other_pass)
    path = tmp_path / "t.csv"
    path.write_text("uri\na.png\nb.png\n")
    assert len(items_of(path)) == 2


def test_views_are_frozen_and_a_work_list_of_before_is_read(tmp_path: Path) -> None:
    rows = [("a", "1.png", "", ""), ("", "2.png", "", ""), ("b", "3.png", "", ""), ("a", "4.png", "", "")]
    path = table_of(tmp_path / "t.csv", rows)
    shards = shards_of(catalog_of(path), tmp_path / "out", 2)
    assert [len(item.views) for shard in shards for item in shard.items] == [2, 0, 1]
    assert list(frozen(STORES, str(tmp_path / "out"))) == shards
    assert shards_of(catalog_of(path), tmp_path / "out", 3) == shards
    for part in (tmp_path / "out" / "catalog").glob("*.parquet"):
        pq.write_table(pq.read_table(part).drop_columns("views"), part)
    old = [item for shard in frozen(STORES, str(tmp_path / "out")) for item in shard.items]
    assert [item.source_uri for item in old] == [item.source_uri for shard in shards for item in shard.items]
    assert all(item.views == () for item in old)


PAIRS = st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.text(max_size=5)), min_size=1, max_size=5)


@given(PAIRS, PAIRS, st.randoms(use_true_random=False))
def test_a_fingerprint_tells_sets_apart(one: dict, other: dict, chance: random.Random) -> None:
    shuffled = chance.sample(list(one.items()), len(one))
    assert fingerprint(one.items()) == fingerprint(shuffled)
    assert (fingerprint(one.items()) == fingerprint(other.items())) == (one == other)
