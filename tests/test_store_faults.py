"""The S3 store behind a proxy that fails: what it outlives, what it recognises as its own, and when it gives up."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from faults import KINDS, FaultyProxy, Plan, share

from cluster.config import S3Settings
from cluster.store import (
    AccessDenied,
    AlreadyExists,
    CredentialsError,
    S3Store,
    TooLarge,
    Unavailable,
)


@dataclass(frozen=True)
class Server:
    """A real server and a bucket on it; the environment has the credentials."""

    endpoint_url: str
    bucket: str

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def client(self) -> Any:
        session = boto3.session.Session()  # boto3's own keeps the credentials of the test before
        return session.client("s3", endpoint_url=self.endpoint_url, region_name="us-east-1")

    def store(self, endpoint_url: str = "", **settings: object) -> S3Store:
        return S3Store(
            S3Settings(endpoint_url=endpoint_url or self.endpoint_url, region="us-east-1", **settings),  # type: ignore[arg-type]
        )


@pytest.fixture(params=["moto", "radosgw"])
def server(request, monkeypatch) -> Server:
    if request.param == "radosgw":
        gateway = request.getfixturevalue("radosgw")
        gateway.sign_in(monkeypatch)
        return Server(gateway.endpoint_url, gateway.new_bucket())
    s3 = request.getfixturevalue("s3")
    return Server(s3.endpoint_url, s3.bucket)


@contextmanager
def behind(server: Server, plan: Plan, **settings: object) -> Iterator[tuple[S3Store, FaultyProxy]]:
    """A store that reaches the server through the proxy, and the proxy."""
    with FaultyProxy(server.endpoint_url, plan).running() as proxy:
        yield server.store(proxy.endpoint_url, **{"max_attempts": 3, "read_timeout_seconds": 1.0} | settings), proxy


def script(*faults: str | None) -> Plan:
    """These to the first requests in their order, and the last of them to all others."""
    return lambda method, target, before: faults[min(before, len(faults) - 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_outlived_by_every_operation(server: Server, kind: str) -> None:
    """Each operation's first attempt meets the fault."""
    met: set[str] = set()

    def once(method: str, target: str, before: int) -> str | None:
        name = f"{method} {target.partition('?')[0]}"
        return None if name in met else met.add(name) or kind

    retries: dict[str, int] = {}

    def observe(operation: str, outcome: str, received: int, sent: int, again: int) -> None:
        assert outcome == "ok"
        retries[operation] = retries.get(operation, 0) + again

    data = os.urandom(50_000)
    with FaultyProxy(server.endpoint_url, once).running() as proxy:
        silence = 0.5 if kind == "stall" else 10.0
        settings = S3Settings(
            endpoint_url=proxy.endpoint_url, region="us-east-1", max_attempts=3, read_timeout_seconds=silence
        )
        store = S3Store(settings, observe)
        store.put(server.uri("plain/a"), data)
        store.put(server.uri("plain/b"), data, if_absent=True)
        assert store.get(server.uri("plain/a")).data == data
        assert store.head(server.uri("plain/b")).size == len(data)
        assert [info.key for info in store.list(server.uri("plain"))] == ["a", "b"]
    assert proxy.counts == {kind: len(met)}
    clean = server.store()
    assert [clean.get(server.uri(f"plain/{key}")).data for key in "ab"] == [data, data]
    expected = {"put": 2, "get": 1, "head": 1, "list": 1}
    if kind in ("latency", "slow_drip"):
        expected = dict.fromkeys(expected, 0)
    elif kind == "truncated":  # answers to PUT and HEAD have no body
        expected |= {"put": 0, "head": 0}
    elif kind == "reset_during":
        expected["head"] = 0
    elif kind in ("reset_after", "stall"):  # the conditional PUT looks at what stands there, which fails once too
        expected["get"] = 2
    assert retries == expected


def test_every_kind_at_random_loses_nothing(server: Server) -> None:
    """Eight threads, three requests in ten failing: every object is there, whole, and every winner knows it."""
    won: list[str] = []
    with behind(server, share(30, seed=1), max_attempts=12, read_timeout_seconds=1.0) as (store, proxy):

        def work(number: int) -> None:
            for key in range(number, 48, 8):
                data = b"%d" % key * 1000
                store.put(server.uri(f"commit/{key}"), data, if_absent=True)
                won.append(str(key))
                assert store.get(server.uri(f"commit/{key}")).data == data

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(won, key=int) == [str(key) for key in range(48)]
    assert set(proxy.counts) == set(KINDS)
    assert sum(1 for _ in server.store().list(server.uri("commit"))) == 48


def test_faults_are_the_same_for_the_same_seed() -> None:
    requests = [("GET", f"/some-bucket/{key}") for key in range(200)] * 2
    plans = share(10, 7), share(10, 7), share(10, 8)
    first, again, other = ([plan(*request, 0) for request in requests] for plan in plans)
    assert first == again != other
    elsewhere = share(10, 7)
    assert [elsewhere(method, target.replace("some", "other"), 0) for method, target in requests] == first
    assert 20 <= sum(fault is not None for fault in first) <= 60


# A conditional PUT whose answer was lost.


def test_a_lost_answer_is_our_own_commit(server: Server) -> None:
    with behind(server, script("reset_after", None)) as (store, proxy):
        info = store.put(server.uri("part"), b"ours", if_absent=True)
    assert info.etag == server.store().head(server.uri("part")).etag
    assert proxy.seen == ["PUT reset_after", "PUT passed", "GET passed"]


@pytest.mark.parametrize(
    "faults",
    [
        ("reset_after", "conflict", None),  # the first was still under way when it was repeated
        ("conflict", "reset_after", None),
        ("reset_after", "slow_down", None),
        ("reset_after", "expired_token", None),
        ("stall", "reset_before", None),
        ("reset_after", None, "reset_after", "truncated", None),  # our look at what stands there fails as well
    ],
    ids=lambda faults: " then ".join(fault or "passed" for fault in faults),
)
def test_a_lost_answer_followed_by_other_trouble_is_our_own_commit(
    server: Server, faults: tuple[str | None, ...]
) -> None:
    with behind(server, script(*faults), read_timeout_seconds=0.5) as (store, proxy):
        store.put(server.uri("part"), b"ours", if_absent=True)
    assert proxy.seen[-1] == "GET passed"
    assert server.store().get(server.uri("part")).data == b"ours"


def test_a_lost_answer_to_a_put_that_another_won_is_no_success(server: Server) -> None:
    server.store().put(server.uri("part"), b"theirs")
    for faults in (("reset_after", None), ("reset_after", "conflict", None), ("reset_before", None)):
        with behind(server, script(*faults)) as (store, _), pytest.raises(AlreadyExists):
            store.put(server.uri("part"), b"ours", if_absent=True)
    assert server.store().get(server.uri("part")).data == b"theirs"


def test_the_same_bytes_by_another_writer_are_no_success(server: Server) -> None:
    """A refusal that says what it is leaves no doubt: nothing of ours was written."""
    server.store().put(server.uri("part"), b"same")
    for faults in ((None,), ("conflict", None), ("expired_token", None)):
        with behind(server, script(*faults)) as (store, _), pytest.raises(AlreadyExists):
            store.put(server.uri("part"), b"same", if_absent=True)


def test_an_object_in_parts_outlives_faults_in_each_of_its_requests(server: Server) -> None:
    data = os.urandom(5 * 1024 * 1024 * 3 + 1)
    settings = {"multipart_threshold_bytes": 5 * 1024 * 1024, "read_timeout_seconds": 5.0}
    faults = ("error_500", None, "reset_during", "slow_down", None, "reset_after", None, "reset_after", None)
    with behind(server, script(*faults), **settings) as (store, proxy):
        info = store.put(server.uri("large"), data, content_type="model/gltf-binary")
    assert proxy.counts == {"error_500": 1, "slow_down": 1, "reset_during": 1, "reset_after": 2}
    assert proxy.seen[-2:] == ["POST passed", "HEAD passed"]
    found = server.store().get(server.uri("large"))
    assert (found.data, found.info.etag) == (data, info.etag)
    client = server.client()
    assert client.head_object(Bucket=server.bucket, Key="large")["ContentType"] == "model/gltf-binary"


def test_an_object_in_parts_that_fails_leaves_none_behind(server: Server) -> None:
    def no_second_part(method: str, target: str, before: int) -> str | None:
        return "error_500" if "partNumber=2" in target else None

    settings = {"multipart_threshold_bytes": 5 * 1024 * 1024, "read_timeout_seconds": 5.0}
    with behind(server, no_second_part, **settings) as (store, proxy), pytest.raises(Unavailable, match="500"):
        store.put(server.uri("large"), bytes(9 * 1024 * 1024))
    assert proxy.seen[-1] == "DELETE passed"
    client = server.client()
    assert not client.list_multipart_uploads(Bucket=server.bucket).get("Uploads")


def test_bytes_that_change_on_their_way_are_refused_and_sent_again(radosgw, monkeypatch) -> None:
    """moto does not look."""
    radosgw.sign_in(monkeypatch)
    server = Server(radosgw.endpoint_url, radosgw.new_bucket())
    with behind(server, script("corrupted", None)) as (store, proxy):
        store.put(server.uri("a"), b"whole and well")
    assert proxy.seen == ["PUT corrupted", "PUT passed"]
    assert server.store().get(server.uri("a")).data == b"whole and well"


# The bounds.


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("error_500", r"failed at s3://.*/a however often it was tried \(500 InternalError\)"),
        ("slow_down", r"\(503 SlowDown\)"),
        ("reset_before", r"could not be reached .* however often it was tried"),
        ("truncated", "however often"),
    ],
)
def test_a_fault_that_stays_is_said_after_the_last_attempt(s3, kind: str, sentence: str) -> None:
    server = Server(s3.endpoint_url, s3.bucket)
    server.store().put(server.uri("a"), b"whole")
    with behind(server, script(kind)) as (store, proxy):
        with pytest.raises(Unavailable, match=sentence):
            store.get(server.uri("a"))
        assert len(proxy.seen) == 3


def test_a_conflict_that_stays_is_said(s3) -> None:
    server = Server(s3.endpoint_url, s3.bucket)
    with behind(server, script("conflict")) as (store, proxy):
        with pytest.raises(Unavailable, match="being written by others"):
            store.put(server.uri("part"), b"ours", if_absent=True)
        assert len(proxy.seen) == 3


def test_no_attempt_begins_after_the_bound_in_time(s3) -> None:
    server = Server(s3.endpoint_url, s3.bucket)
    with behind(server, script("error_500"), max_attempts=20, retry_seconds=0.5) as (store, proxy):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            store.get(server.uri("a"))
        assert time.monotonic() - began < 5  # 20 attempts would take a minute
        assert 1 <= len(proxy.seen) < 20


def test_a_refusal_is_said_at_once_and_without_secrets(s3) -> None:
    server = Server(s3.endpoint_url, s3.bucket)
    with behind(server, script("denied")) as (store, proxy):
        for request in (store.get, store.head, lambda uri: store.put(uri, b"", if_absent=True)):
            with pytest.raises(AccessDenied, match="check the credentials") as caught:
                request(server.uri("a"))
            assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
        assert proxy.seen == ["GET denied", "HEAD denied", "GET denied", "PUT denied"]


def test_an_enormous_object_is_refused_before_its_body(s3) -> None:
    server = Server(s3.endpoint_url, s3.bucket)
    with behind(server, script("enormous")) as (store, proxy):
        with pytest.raises(TooLarge, match="1000000000000 bytes"):
            store.get(server.uri("a"), max_bytes=1000)
        assert proxy.seen == ["GET enormous"]


# Credentials that expire.


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes a profile's file, where boto3 finds nothing else."""
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write(access: str, secret: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")

    return write


@pytest.mark.parametrize("status", [400, 403])
def test_a_profile_that_is_refreshed_is_read_again(radosgw, credentials, status: int) -> None:
    server = Server(radosgw.endpoint_url, radosgw.new_bucket())
    old, new = (radosgw.access_key, radosgw.secret_key), radosgw.add_key("owner", f"new-{status}", "a-new-secret")
    credentials(*old)
    with behind(server, script(None)) as (store, proxy):
        store.put(server.uri("a"), b"1", if_absent=True)
        proxy.expired[old[0]] = status
        with pytest.raises(CredentialsError, match=r"have expired.*renew them"):
            store.put(server.uri("b"), b"2", if_absent=True)
        assert proxy.counts["expired_key"] == 3
        credentials(*new)
        del proxy.seen[:]
        store.put(server.uri("b"), b"2", if_absent=True)
        assert proxy.seen == ["PUT expired_key", "PUT passed"]
        assert [info.key for info in store.list(server.uri(""))] == ["a", "b"]

        proxy.expired[new[0]] = status
        credentials(*old)
        del proxy.expired[old[0]]
        del proxy.seen[:]
        assert store.head(server.uri("a")).size == 1  # which alone cannot tell why it is refused
        assert proxy.seen[0] == "HEAD expired_key"
        assert proxy.seen[-2:] == ["GET expired_key", "HEAD passed"]


def test_missing_credentials_are_said_at_once(s3, monkeypatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match="no credentials"):
        S3Store(s3.settings).get(s3.uri("a"))
