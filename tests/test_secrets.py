"""No way in, nothing out: a run with marked credentials, then a search through everything that it wrote and said."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from conftest import S3

from cluster.config import StoreSettings
from cluster.store import Stores
from jobs import manifest

CHECKOUT = Path(__file__).resolve().parents[1]
# Letters and digits alone, which no encoding of text changes.
MARKS = {
    "AWS_ACCESS_KEY_ID": "AKIAMARKEDACCESSKEYID",
    "AWS_SECRET_ACCESS_KEY": "MarkedSecretAccessKey7Q2Z",
    "AWS_SESSION_TOKEN": "MarkedSessionToken5X9K",
    "RAY_AUTH_TOKEN": "markedraytoken0123456789abcdef0123456789abcdef",
    "RAY_JOB_HEADERS": json.dumps({"Authorization": "Bearer MarkedHeaderValue3F8"}),
}
SECRETS = [re.findall(r"[A-Za-z0-9]{20,}", text)[-1] for text in MARKS.values()]


@dataclass
class Seen:
    """What could be seen of a run while it lasted."""

    commands: set[str] = field(default_factory=set)
    listeners: set[tuple[str, str]] = field(default_factory=set)
    actors: set[str] = field(default_factory=set)
    signed: bool = False
    page: str = ""


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[Path]:
    # Not pytest's folder: Ray puts sockets there, whose paths may have 107 bytes.
    folder = tempfile.mkdtemp(prefix="isofleet-")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


def hits(data: bytes, where: str) -> list[str]:
    """Where a secret stands in `data`: as it is, or in base64, at whichever of three places in a group it begins."""
    forms = [secret.encode() for secret in SECRETS]
    forms += [base64.b64encode(b"\0" * shift + form)[4:-4] for form in forms for shift in range(3)]
    return [f"{where}: {form!r}" for form in forms if form.lower() in data.lower()]


def watch(run: "subprocess.Popen[bytes]", stderr: Path) -> Seen:
    """Look at the processes below `run`, their sockets and the metrics page, until it ends."""
    seen, deadline = Seen(), time.monotonic() + 240
    while run.poll() is None:
        assert time.monotonic() < deadline
        with suppress(psutil.Error):
            top = psutil.Process(run.pid)
            for process in [top, *top.children(recursive=True)]:
                with suppress(psutil.Error):
                    command = " ".join(process.cmdline())
                    seen.commands.add(command)
                    for socket in process.net_connections("inet"):
                        if socket.status == psutil.CONN_LISTEN:
                            seen.listeners.add((socket.laddr.ip, command[:40]))
                    if actor := re.match(r"ray::(Reconstructor|Mesher)", command):
                        seen.actors.add(actor[1])
                        seen.signed |= process.environ().get("AWS_SESSION_TOKEN") == MARKS["AWS_SESSION_TOKEN"]
        if address := re.search(r"http://\S+/metrics", stderr.read_text()):
            with suppress(OSError):
                seen.page = urllib.request.urlopen(address[0], timeout=5).read().decode() or seen.page
        time.sleep(0.2)
    return seen


def test_nothing_written_or_said_holds_a_secret_and_nothing_listens_beyond_loopback(
    catalog: Path, s3: S3, small: dict[str, Any], ray_folder: Path, tmp_path: Path
) -> None:
    stores = Stores(StoreSettings(s3=s3.settings))
    for path in [*sorted((catalog / "chair").glob("?.png")), *sorted((catalog / "broken").iterdir())]:
        key = s3.uri(f"photos/{path.relative_to(catalog).as_posix()}")
        stores.open(key).put(key, path.read_bytes())
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
    environment |= MARKS | {
        "RAY_TMPDIR": str(ray_folder), "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip
    settings = small | {
        "metrics.enabled": True,
        "ray.num_cpus": 3,
        "store.s3.endpoint_url": s3.endpoint_url,
        "store.s3.region": "us-east-1",
    }
    command = ["reconstruct", s3.uri("photos"), s3.uri("out"), "--json", "--max-failed-percent", "90"]
    command += [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    out, err = tmp_path / "stdout", tmp_path / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        run = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *command], cwd=CHECKOUT, env=environment, stdout=stdout, stderr=stderr
        )
        try:
            seen = watch(run, err)
        finally:
            run.kill()
            run.wait()
    assert run.returncode == 0, err.read_text()
    assert json.loads(out.read_text().splitlines()[-1])["failed"] == 5
    assert seen.actors == {"Reconstructor", "Mesher"}
    assert seen.signed
    assert "isofleet_images_total" in seen.page

    found = hits(out.read_bytes(), "stdout") + hits(err.read_bytes(), "stderr") + hits(seen.page.encode(), "metrics")
    for one in seen.commands:
        found += hits(one.encode(), "process arguments")
    logs = [path for path in ray_folder.rglob("*") if path.is_file()]
    assert any(path.name == "raylet.out" for path in logs)
    for path in logs:
        found += hits(path.read_bytes(), str(path.relative_to(ray_folder)))
    client = boto3.client("s3", endpoint_url=s3.endpoint_url)
    written = [entry["Key"] for entry in client.list_objects_v2(Bucket=s3.bucket, Prefix="out/")["Contents"]]
    assert {"out/_run.json", "out/_SUCCESS.json", "out/manifest/shard-00000.parquet"} <= set(written)
    for key in written:
        found += hits(client.get_object(Bucket=s3.bucket, Key=key)["Body"].read(), key)
    rows = manifest.read(Stores(StoreSettings(s3=s3.settings)), s3.uri("out")).to_pylist()  # Parquet is compressed
    assert len(rows) == 7
    found += hits(repr(rows).encode(), "manifest")
    assert found == []

    beyond = {(ip, who) for ip, who in seen.listeners if ip not in ("127.0.0.1", "::ffff:127.0.0.1", "::1")}
    assert seen.listeners
    assert beyond == set()


def test_the_search_finds_what_it_looks_for() -> None:
    for secret in SECRETS:
        assert hits(b"a line with " + secret.lower().encode() + b" in it", "here")
        for before in (b"", b"u:", b"user:", b"a user:"):
            assert hits(base64.b64encode(before + secret.encode() + b" and more"), "here")
