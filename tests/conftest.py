"""Fixtures that several test files share: a Ray, an S3 server and a fresh bucket on it, pictures and weights.

The server is moto's, in this process. Set ISOFLEET_TEST_S3 to the address of another one, and the AWS_
variables to its credentials, to run the same tests against that.
"""

import logging
import os
import shutil
import signal
import struct
import threading
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import numpy as np
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from PIL import Image
from radosgw import radosgw  # noqa: F401
from ray_fixtures import ray_session  # noqa: F401
from ray_head import checkout, head, photos  # noqa: F401

from cluster.config import S3Settings

if TYPE_CHECKING:
    from cluster.metrics import DriverMetrics
    from jobs.reconstruct import Result

# Below `broken` in the catalog, and what is wrong with each.
BROKEN = {
    "empty.png": "empty_file",
    "truncated.png": "corrupt_image",
    "text.png": "not_an_image",
    "transparent.png": "nothing_visible",
    "huge.png": "too_many_pixels",
}
# The last has 219 of the 255 bytes that a file name may have.
ODD = ("two words & more.png", "Stühle ☕ 椅子.png", f"{'n' * 215}.png")

# Files whose tests take a minute and more, the longest first: begun last, they would be waited for alone.
LONGEST = (
    "test_submit.py", "test_report_page.py", "test_chaos.py", "test_training.py", "test_docs.py",
    "test_submit_schedules.py", "test_poison.py", "test_discovery.py", "test_drain.py", "test_permissions.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take longest come first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@dataclass(frozen=True)
class S3:
    """A bucket of its own for one test."""

    endpoint_url: str
    bucket: str

    @property
    def settings(self) -> S3Settings:
        return S3Settings(endpoint_url=self.endpoint_url, max_attempts=3)

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"


@dataclass(frozen=True)
class Run:
    """A run that ended: its output folder, and what it said of itself."""

    output: Path
    result: "Result"
    metrics: "DriverMetrics"


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Credentials for the S3 server, a cache of our own and Ctrl-C, there before any process is started from here."""
    # A shell has what it puts in the background ignore SIGINT, and so would all that the tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        environment.setenv("AWS_CONFIG_FILE", os.devnull)
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        if not os.environ.get("ISOFLEET_TEST_S3"):
            environment.setenv("AWS_ACCESS_KEY_ID", "test")
            environment.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-nobody")
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The server's address; the environment has credentials for it, also for processes started from here."""
    if os.environ.get("ISOFLEET_TEST_S3"):
        yield os.environ["ISOFLEET_TEST_S3"]
        return
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    _make_conditional_puts_atomic(server)
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _make_conditional_puts_atomic(server: ThreadedMotoServer) -> None:
    # moto looks for the object and then writes it, without a lock: two threads could both find nothing.
    app, lock = server._server.app, threading.Lock()

    def one_at_a_time(environ, start_response):
        if "HTTP_IF_NONE_MATCH" not in environ:
            return app(environ, start_response)
        with lock:
            return app(environ, start_response)

    server._server.app = one_at_a_time


@pytest.fixture(scope="session")
def s3_client(s3_server: str):
    return boto3.client("s3", endpoint_url=s3_server)


@pytest.fixture
def s3(s3_server: str, s3_client) -> Iterator[S3]:
    bucket = f"isofleet-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=bucket)
    yield S3(s3_server, bucket)
    for page in s3_client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", ()):
            s3_client.delete_object(Bucket=bucket, Key=found["Key"])
    s3_client.delete_bucket(Bucket=bucket)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 small pictures of made-up objects, `<category>/<number>.png`: eight of each of four categories."""
    from jobs.training.collection import draw
    from jobs.training.procedural import sample
    from jobs.training.tracer import random_camera

    folder = tmp_path_factory.mktemp("pictures")
    for number in range(32):
        category = ("airplane", "car", "chair", "table")[number % 4]  # those that the embedded weights know
        chance = np.random.default_rng(number)
        picture = draw(sample(category, number), random_camera(chance), chance, size=64)
        path = folder / category / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture.rgba).save(path)
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the embedded weights as a folder."""
    return Path(shutil.copytree(files("workers.pretrained") / "embedded", tmp_path_factory.mktemp("weights") / "one"))


@pytest.fixture(scope="session")
def small(bundle: Path) -> dict[str, Any]:
    """Settings of runs that cost little: coarse meshes, small shards, one actor of each kind, no metrics port."""
    return {
        "reconstruct.weights": str(bundle),
        "reconstruct.resolution": 16,
        "reconstruct.chunk_points": 256,
        "reconstruct.batch_size": 4,
        "reconstruct.shard_size": 4,
        "reconstruct.max_failed_percent": 50.0,
        "actors.reconstructors": 1,
        "actors.meshers": 1,
        "metrics.enabled": False,
    }


@pytest.fixture(scope="session")
def catalog(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 files: the pictures, three with awkward names beside the chairs, and five below `broken` that are none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    folder = shutil.copytree(pictures, tmp_path_factory.mktemp("catalog") / "photos")
    chairs = sorted((folder / "chair").iterdir())
    for chair, name in zip(chairs, ODD, strict=False):
        shutil.copy(chair, chair.with_name(name))
    broken = folder / "broken"
    broken.mkdir()
    (broken / "empty.png").touch()
    whole = chairs[0].read_bytes()
    (broken / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (broken / "text.png").write_text("no picture at all\n" * 20)
    Image.new("RGBA", (64, 64)).save(broken / "transparent.png")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    (broken / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    return Path(folder)


@pytest.fixture(scope="session")
def undisturbed(
    catalog: Path,
    small: dict[str, Any],
    ray_session: None,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """The catalog converted with nothing in the way: what other runs are compared with. Only to be read."""
    from cluster.config import load
    from cluster.metrics import DriverMetrics
    from jobs.reconstruct import reconstruct

    output, metrics = tmp_path_factory.mktemp("undisturbed") / "meshes", DriverMetrics()
    return Run(output, reconstruct(str(catalog), str(output), load(None, {}, small), metrics=metrics), metrics)
