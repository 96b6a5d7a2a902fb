"""Both stores against one contract, on real folders and a real HTTP server, and what each alone must bear."""

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cluster.config import S3Settings, StoreSettings
from cluster.errors import RequestError
from cluster.store import (
    AccessDenied,
    AlreadyExists,
    LocalStore,
    NotFound,
    ObjectStore,
    S3Store,
    StoreError,
    Stores,
    TooLarge,
    Unavailable,
    canonical,
    join,
)

PARTS_FROM = 8 * 1024 * 1024  # bytes; just one more makes two parts


class Place:
    """A store and a root in it, with the requests it was seen to make."""

    def __init__(self, root: str, make: Callable[..., ObjectStore]) -> None:
        self.root = root
        self.requests: list[tuple[str, str, int, int, int]] = []
        self.store = make(on_request=lambda *request: self.requests.append(request))

    def put(self, *keys: str) -> None:
        for key in keys:
            self.store.put(join(self.root, key), key.encode())

    def keys(self, after: str | None = None) -> list[str]:
        return [info.key for info in self.store.list(self.root, after)]


@pytest.fixture(params=["folder", "s3", "radosgw"])
def place(request, tmp_path, monkeypatch) -> Place:
    if request.param == "folder":
        return Place(str(tmp_path / "root"), LocalStore)
    if request.param == "radosgw":
        gateway = request.getfixturevalue("radosgw")
        gateway.sign_in(monkeypatch)
        reach = S3Settings(endpoint_url=gateway.endpoint_url, region="us-east-1", multipart_threshold_bytes=PARTS_FROM)
        return Place(f"s3://{gateway.new_bucket()}/root", lambda on_request: S3Store(reach, on_request))
    s3 = request.getfixturevalue("s3")
    reach = s3.settings.model_copy(update={"multipart_threshold_bytes": PARTS_FROM})
    return Place(s3.uri("root"), lambda on_request: S3Store(reach, on_request))


# The contract.


def test_what_is_put_is_got(place):
    uri = join(place.root, "a/b c%20d+ü/😀.png")
    put = place.store.put(uri, b"one", content_type="image/png")
    got = place.store.get(uri)
    assert got.data == b"one"
    assert got.info == put == place.store.head(uri)
    assert (put.uri, put.size) == (uri, 3)
    again = place.store.put(uri, b"other")
    assert place.store.get(uri).data == b"other"
    assert again.etag != put.etag
    (listed,) = place.store.list(place.root)
    assert (listed.key, listed.uri, listed.etag) == ("a/b c%20d+ü/😀.png", uri, again.etag)
    assert place.store.get(listed.uri).data == b"other"


def test_an_empty_object_is_an_object(place):
    uri = join(place.root, "empty")
    place.store.put(uri, b"")
    assert place.store.get(uri, max_bytes=0).data == b""


def test_a_tail_is_read_alone(place):
    uri = join(place.root, "part")
    whole = place.store.put(uri, bytes(range(256)) * 40)
    place.requests.clear()
    tail = place.store.get_tail(uri, 100)
    assert tail.data == (bytes(range(256)) * 40)[-100:]
    assert tail.info == whole  # the whole object's size, not the tail's
    assert place.requests == [("get", "ok", 100, 0, 0)]
    assert place.store.get_tail(uri, 10_240) == place.store.get_tail(uri, 1_000_000) == place.store.get(uri)
    place.store.put(uri, b"")
    assert place.store.get_tail(uri, 8) == place.store.get(uri)
    with pytest.raises(NotFound):
        place.store.get_tail(join(place.root, "none"), 8)


def test_a_range_is_read_alone(place):
    uri, data = join(place.root, "part"), bytes(range(256)) * 40
    place.store.put(uri, data)
    place.requests.clear()
    assert place.store.get_range(uri, 300, 100) == data[300:400]
    assert place.requests == [("get", "ok", 100, 0, 0)]
    assert place.store.get_range(uri, len(data) - 5, 100) == data[-5:]
    with pytest.raises(StoreError, match="no such range"):
        place.store.get_range(uri, len(data), 1)
    with pytest.raises(NotFound):
        place.store.get_range(join(place.root, "none"), 0, 8)


def test_the_time_of_writing_is_known(place):
    before = time.time()
    place.put("a")
    after = time.time()
    (listed,) = place.store.list(place.root)
    told = listed, place.store.head(listed.uri), place.store.get(listed.uri).info
    for info in (*told, place.store.get_tail(listed.uri, 1).info):
        assert before - 1 < info.modified < after + 1  # S3 may give whole seconds


def test_what_is_absent_is_not_found(place):
    place.put("a/b")
    for key in ["none", "a", "a/b/c"]:
        with pytest.raises(NotFound, match="does not exist") as caught:
            place.store.get(join(place.root, key))
        assert caught.value.uri == join(place.root, key)
        with pytest.raises(NotFound):
            place.store.head(join(place.root, key))


def test_a_prefix_with_nothing_below_it_lists_nothing(place):
    place.put("a/b", "ab")
    for prefix in ["none", "a/b", "ab", "a/b/c"]:
        assert list(place.store.list(join(place.root, prefix))) == []
    assert [info.key for info in place.store.list(join(place.root, "a") + "/")] == ["b"]


def test_too_large_is_found_from_the_size(place):
    uri = join(place.root, "a")
    place.store.put(uri, b"12345")
    assert place.store.get(uri, max_bytes=5).data == b"12345"
    with pytest.raises(TooLarge, match="5 bytes, more than the 4"):
        place.store.get(uri, max_bytes=4)


def test_if_absent_keeps_the_first(place):
    uri = join(place.root, "part")
    place.store.put(uri, b"first", if_absent=True)
    with pytest.raises(AlreadyExists):
        place.store.put(uri, b"second", if_absent=True)
    with pytest.raises(AlreadyExists):  # the same bytes by another writer are no success either
        place.store.put(uri, b"first", if_absent=True)
    assert place.store.get(uri).data == b"first"
    assert place.keys() == ["part"]


def test_of_many_writers_exactly_one_wins(place):
    uri = join(place.root, "part")
    barrier = threading.Barrier(12)
    won: list[bytes] = []
    lost: list[AlreadyExists] = []

    def write(data: bytes) -> None:
        barrier.wait()
        try:
            place.store.put(uri, data, if_absent=True)
            won.append(data)
        except AlreadyExists as error:
            lost.append(error)

    writers = [threading.Thread(target=write, args=(b"%d" % i * 1000,)) for i in range(12)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (len(won), len(lost)) == (1, 11)
    assert place.store.get(uri).data == won[0]


def test_long_keys(place):
    deep = "/".join(["x" * 99] * 9)  # 899 characters
    place.put(deep)
    assert place.keys() == [deep]
    assert place.store.get(join(place.root, deep)).data == deep.encode()


def test_the_observer_sees_each_request(place):
    uri = join(place.root, "a")
    place.store.put(uri, b"123")
    place.store.get(uri)
    with pytest.raises(TooLarge):
        place.store.get(uri, max_bytes=1)
    with pytest.raises(NotFound):
        place.store.head(join(place.root, "b"))
    assert list(place.store.list(place.root))
    assert place.requests == [
        ("put", "ok", 0, 3, 0),
        ("get", "ok", 3, 0, 0),
        ("get", "too_large", 0, 0, 0),
        ("head", "not_found", 0, 0, 0),
        ("list", "ok", 0, 0, 0),
    ]


def test_listing_streams(place):
    place.put(*[f"{folder}/{i}" for folder in range(3) for i in range(3)])
    listing = place.store.list(place.root)
    assert next(listing).key == "0/0"
    assert len(place.requests) - 9 <= 2  # the root and the first folder, or the first page
    listing.close()


def test_a_large_object_in_parts_is_whole(place):
    uri, data = join(place.root, "large"), os.urandom(PARTS_FROM + 1)
    put = place.store.put(uri, data, content_type="model/gltf-binary")
    in_parts = isinstance(place.store, S3Store)
    assert put.etag.endswith("-2") == in_parts  # radosgw's answer to the last part has none: it is asked for
    assert place.store.get(uri).data == data
    assert place.store.head(uri) == put
    # Conditional, it is one request: radosgw ignores If-None-Match when parts are completed.
    assert place.store.put(join(place.root, "other"), data, if_absent=True).etag != put.etag
    with pytest.raises(AlreadyExists):
        place.store.put(uri, data, if_absent=True)


def test_every_answer_has_the_same_etag_without_quotes(place):
    uri = join(place.root, "a")
    put, got, head = place.store.put(uri, b"1"), place.store.get(uri), place.store.head(uri)
    (listed,) = place.store.list(place.root)
    assert {put.etag, got.info.etag, head.etag, listed.etag} == {put.etag}
    assert '"' not in put.etag


# Listing order: a tree and a flat name space differ around "/"; UTF-8 and UTF-16 differ about "～" and an emoji.

segments = st.text(st.sampled_from('ab.-+ %!~é～😀&"'), min_size=1, max_size=4).filter(
    lambda segment: segment not in (".", "..")
)
keys = st.lists(segments, min_size=1, max_size=3).map("/".join)


def _is_a_tree(names: set[str]) -> bool:
    return not any(other.startswith(name + "/") for name in names for other in names)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(keys, min_size=1, max_size=8).filter(_is_a_tree), after=keys, number=st.integers(0, 7))
def test_both_stores_list_alike(s3, tmp_path_factory, names, after, number):
    folder = tmp_path_factory.mktemp("order")
    local, remote = LocalStore(), S3Store(s3.settings)
    root = s3.uri(folder.name)
    for name in names:
        local.put(join(str(folder), name), b"")
        remote.put(join(root, name), b"")
    expected = sorted(names, key=str.encode)
    assert [info.key for info in local.list(str(folder))] == expected
    assert [info.key for info in remote.list(root)] == expected
    for start in (after, expected[number % len(expected)], ""):
        rest = [name for name in expected if name.encode() > start.encode()]
        assert [info.key for info in local.list(str(folder), start)] == rest
        assert [info.key for info in remote.list(root, start)] == rest


@given(st.text(min_size=1))
def test_no_key_leaves_a_folder(key):
    try:
        uri = join("/data/run", key)
    except StoreError:
        assume(False)
    assert os.path.realpath(canonical(uri)).startswith("/data/run/")
    assert canonical(join("file:///data/run", key)) == canonical(uri)


@pytest.mark.parametrize("key", ["..", "a/../../b", "/etc/passwd", "a//b", "", "./a", "a\0b", "a/"])
def test_keys_without_a_place_in_a_folder_are_refused(key):
    with pytest.raises(StoreError, match="no place"):
        join("/data", key)


def test_join_is_literal_on_s3():
    assert join("s3://b", "a/../b", "%20") == "s3://b/a/../b/%20"
    assert join("s3://b/p/", "/a") == "s3://b/p//a"


# Addresses.


def test_addresses_have_one_canonical_form(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert canonical("a/../b c/") == f"{tmp_path}/b c/"
    assert canonical("file:///a%20b/c") == canonical("FILE://localhost/a%20b/c") == "/a b/c"
    assert canonical("s3://b/a%20b/../c") == "s3://b/a%20b/../c"
    assert canonical("/") == "/"
    for wrong in ["", "http://host/x", "s3a://b/k", "s3://", "s3:///key", "file://host/x"]:
        with pytest.raises(RequestError):
            canonical(wrong)


def test_stores_open_by_scheme_and_travel_as_settings(s3, tmp_path):
    stores = Stores(StoreSettings(s3=s3.settings), on_request=lambda *request: None)
    for root in [s3.uri("x"), str(tmp_path), (tmp_path / "ü %").as_uri()]:
        stores.open(root).put(join(root, "a b"), b"1")
        twin = pickle.loads(pickle.dumps(stores))
        (info,) = twin.open(root).list(root)
        assert twin.open(root).get(info.uri).data == b"1"
        (tmp_path / "a b").unlink(missing_ok=True)
    assert stores.open("s3://b/x") is stores.open("s3://c/y")
    with pytest.raises(RequestError, match="gs://b/x"):
        stores.open("gs://b/x")


def test_errors_travel():
    error = pickle.loads(pickle.dumps(TooLarge("too large", "s3://b/k")))
    assert (type(error), str(error), error.uri) == (TooLarge, "too large", "s3://b/k")


# Folders.


def test_links_lead_to_files_and_never_to_folders(tmp_path):
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "x").write_bytes(b"12")
    (root / "link").symlink_to(outside / "x")
    (root / "folder").symlink_to(outside)
    (root / "nothing").symlink_to(outside / "none")
    (root / "circle").symlink_to(root / "circle")
    os.mkfifo(root / "fifo")
    store = LocalStore()
    assert [(info.key, info.size) for info in store.list(str(root))] == [("link", 2)]
    for name in ["fifo", "folder", "nothing", "circle"]:
        with pytest.raises(NotFound):
            store.get(str(root / name))
    os.symlink(root, tmp_path / "alias")
    assert [info.key for info in store.list(str(tmp_path / "alias"))] == ["link"]


def test_a_killed_writer_leaves_no_object(tmp_path):
    program = (
        "import os, sys; from cluster.store import LocalStore\n"
        "os.fsync = lambda file: os._exit(9)\n"  # dies with the data written, before it has its name
        "LocalStore().put(sys.argv[1], b'x' * 100000)"
    )
    checkout = Path(__file__).parents[1]
    died = subprocess.run([sys.executable, "-c", program, str(tmp_path / "part")], check=False, cwd=checkout)
    assert died.returncode == 9
    assert len(os.listdir(tmp_path)) == 1  # what it left is there, and is no object
    assert list(LocalStore().list(str(tmp_path))) == []


def test_readers_never_see_part_of_a_file(tmp_path):
    store, uri = LocalStore(), str(tmp_path / "a")
    contents = [bytes([i]) * 200_000 for i in range(2)]
    store.put(uri, contents[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for data in contents:
                store.put(uri, data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(50):
            assert store.get(uri).data in contents
            assert [(info.key, info.size) for info in store.list(str(tmp_path))] == [("a", 200_000)]
    finally:
        stop.set()
        writer.join()
    assert os.listdir(tmp_path) == ["a"]


def test_names_that_no_file_can_have(tmp_path):
    store = LocalStore()
    (tmp_path / "file").write_bytes(b"")
    for uri in [f"{tmp_path}/{'x' * 256}", f"{tmp_path}/a\0b", f"{tmp_path}/\ud800"]:
        for request in (store.get, store.head, lambda uri: store.put(uri, b"")):
            with pytest.raises(StoreError) as caught:
                request(uri)
            assert type(caught.value) is StoreError
    for uri in [f"{tmp_path}/file/x", f"{tmp_path}/new/"]:
        with pytest.raises(StoreError):
            store.put(uri, b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError):
        store.put(str(tmp_path / "folder"), b"")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_name_that_is_not_utf8_is_said(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"):
        pass
    with pytest.raises(StoreError, match=r"\\xff\.png.*rename"):
        list(LocalStore().list(str(tmp_path)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_denied(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(AccessDenied):
        list(LocalStore().list(str(tmp_path)))


def test_a_read_only_file_system_is_denied():
    with pytest.raises(StoreError, match="/proc"):
        LocalStore().put("/proc/isofleet", b"")


# S3.


ODD_KEYS = [
    "..", "../a", "a/../b", "a/./b", "a//b", "/a", "a b", " a ", "a+b", "100%", "%2e%2e", "%252F", "a?b#c",
    "ü/日本/😀", "\\a", "&<>\"'", "x" * 900, "*", "\x7f",
]  # fmt: skip


def test_keys_reach_s3_as_they_are(s3):
    store = S3Store(s3.settings)
    for key in ODD_KEYS:
        store.put(s3.uri(key), key.encode(), if_absent=True)
    for key in ODD_KEYS:
        assert store.get(s3.uri(key)).data == key.encode()
        assert store.head(s3.uri(key)).key == key
    listed = [(info.key, info.uri) for info in store.list(f"s3://{s3.bucket}")]
    assert listed == [(key, s3.uri(key)) for key in sorted(ODD_KEYS)]


def test_s3_pages_and_folder_markers(s3, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    requests = []
    store = S3Store(s3.settings, lambda *request: requests.append(request))
    names = [f"p/{i}" for i in range(7)]
    for name in ["p/", "p/q/", *names]:
        store.put(s3.uri(name), b"")
    del requests[:]
    assert [info.key for info in store.list(s3.uri("p"))] == [name[2:] for name in names]
    if "ISOFLEET_TEST_S3" not in os.environ:
        assert requests == [("list", "ok", 0, 0, 0)] * 3


def test_a_missing_or_impossible_bucket_is_said(s3):
    store = S3Store(s3.settings)
    for uri, sentence in [
        ("s3://no-such-bucket/k", "there is no bucket 'no-such-bucket' at http"),
        ("s3://No_Bucket!/k", "not a name that a bucket can have"),
    ]:
        for request in (store.get, lambda uri: store.put(uri, b""), lambda uri: list(store.list(uri))):
            with pytest.raises(Unavailable, match=sentence):
                request(uri)
    with pytest.raises(StoreError, match="name an object"):
        store.get(f"s3://{s3.bucket}/")


def test_an_unreachable_server_is_said_soon(s3_server):
    store = S3Store(S3Settings(endpoint_url="http://127.0.0.1:9", max_attempts=2, connect_timeout_seconds=1))
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 could not be reached for the bucket 'b'"):
        list(store.list("s3://b/x"))
    assert time.monotonic() - began < 5


def test_unusable_settings_are_said(s3_server):
    for settings_, sentence in [
        (S3Settings(profile="nobody"), r"store\.s3.*nobody"),
        (S3Settings(ca_bundle="/none.pem"), r"store\.s3\.ca_bundle.*/none\.pem"),
    ]:
        with pytest.raises(RequestError, match=sentence):
            S3Store(settings_)
