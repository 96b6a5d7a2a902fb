"""A real S3 server for tests: a throwaway Ceph of one monitor, manager, OSD and RADOS Gateway on loopback.

Unlike moto it checks signatures, permissions and checksums. Needs Debian's radosgw, ceph-mon, ceph-mgr and ceph-osd.
"""

import json
import os
import signal
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from ports import free_ports
from servers import require

PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph", "ceph-authtool", "monmaptool")
WORKER = "worker"


@dataclass(frozen=True)
class Gateway:
    """A running server and one user's credentials."""

    endpoint_url: str
    access_key: str
    secret_key: str
    configuration: Path

    def sign_in(self, environment: pytest.MonkeyPatch, keys: tuple[str, str] | None = None) -> None:
        """Put credentials into the environment: the owner's, or another user's `keys`."""
        access, secret = keys or (self.access_key, self.secret_key)
        environment.setenv("AWS_ACCESS_KEY_ID", access)
        environment.setenv("AWS_SECRET_ACCESS_KEY", secret)
        environment.setenv("AWS_CONFIG_FILE", os.devnull)
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)

    def new_bucket(self) -> str:
        """An empty bucket of the owner's."""
        name = f"isofleet-{uuid.uuid4().hex}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> Any:
        """The owner's, who may do everything."""
        return boto3.session.Session().client(
            "s3", endpoint_url=self.endpoint_url, region_name="us-east-1",
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key,
        )  # fmt: skip

    def add_user(self, name: str) -> tuple[str, str]:
        """A user without any permission on what others own: its access and secret keys."""
        made = _run(
            "radosgw-admin", "-c", self.configuration, "user", "create", f"--uid={name}", f"--display-name={name}"
        )
        keys = json.loads(made)["keys"][0]
        return keys["access_key"], keys["secret_key"]

    def add_key(self, name: str, access: str, secret: str) -> tuple[str, str]:
        """One more pair of keys of a user. The old ones stay good."""
        _run(
            "radosgw-admin", "-c", self.configuration, "key", "create", f"--uid={name}", f"--access-key={access}",
            f"--secret-key={secret}",
        )  # fmt: skip
        return access, secret


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One server for the whole test session."""
    require(*PROGRAMS)
    with running(tmp_path_factory.mktemp("radosgw")) as gateway:
        # Whom the environment has the keys of, as the actors of a Ray that runs already do: may do nothing yet.
        gateway.add_user(WORKER)
        gateway.add_key(WORKER, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        yield gateway


@contextmanager
def running(folder: Path) -> Iterator[Gateway]:
    """Start everything in `folder`, and stop it at the end."""
    ports = free_ports(3)
    configuration = _write_configuration(folder, *ports)
    try:
        _start(folder, configuration, ports[0], ports[1])
        endpoint = f"http://127.0.0.1:{ports[2]}"
        _wait_for(endpoint)
        access, secret = "owner", "an-owners-secret"
        _run(
            "radosgw-admin", "-c", configuration, "user", "create", "--uid=owner", "--display-name=owner",
            f"--access-key={access}", f"--secret-key={secret}",
        )  # fmt: skip
        yield Gateway(endpoint, access, secret, configuration)
    finally:
        for pid_file in (folder / "run").glob("*.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)


def _write_configuration(folder: Path, monitor: int, monitor_v1: int, gateway: int) -> Path:
    for name in ("mon", "mgr", "osd", "rgw", "run", "log"):
        (folder / name).mkdir(parents=True)
    path = folder / "ceph.conf"
    path.write_text(f"""
[global]
fsid = {uuid.uuid4()}
mon host = [v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor_v1}]
public network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
mon max pg per osd = 1000
auth allow insecure global id reclaim = true
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
pid file = {folder}/run/$name.pid
log file = {folder}/log/$name.log
keyring = {folder}/keyring
[mon]
mon data = {folder}/mon/a
[mgr]
mgr data = {folder}/mgr/a
mgr initial modules =
[osd]
osd data = {folder}/osd/0
osd objectstore = memstore
memstore device bytes = 1073741824
[client.rgw.a]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{gateway}
""")
    return path


def _start(folder: Path, configuration: Path, monitor: int, monitor_v1: int) -> None:
    keyring, fsid = folder / "keyring", configuration.read_text().split("fsid = ")[1].split()[0]

    def ceph(*words: str) -> str:
        return _run("ceph", "-c", configuration, *words)

    _run("ceph-authtool", "-C", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    every = [word for daemon in ("mon", "osd", "mgr") for word in ("--cap", daemon, "allow *")]
    _run("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *every)
    addresses = f"[v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor_v1}]"
    _run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", addresses, folder / "monmap")
    _run("ceph-mon", "-c", configuration, "--mkfs", "-i", "a", "--monmap", folder / "monmap", "--keyring", keyring)
    _run("ceph-mon", "-c", configuration, "-i", "a")
    grants = {
        "mgr.a": ("mon", "allow profile mgr", "osd", "allow *"),
        "osd.0": ("mon", "allow profile osd", "mgr", "allow profile osd", "osd", "allow *"),
        "client.rgw.a": ("mon", "allow rw", "osd", "allow rwx", "mgr", "allow rw"),
    }
    with keyring.open("a") as file:
        for name, grant in grants.items():
            file.write(ceph("auth", "get-or-create", name, *grant))
    (folder / "mgr" / "a").mkdir()
    (folder / "osd" / "0").mkdir()
    _run("ceph-mgr", "-c", configuration, "-i", "a")
    osd = str(uuid.uuid4())
    ceph("osd", "new", osd, "0")
    _run("ceph-osd", "-c", configuration, "-i", "0", "--mkfs", "--osd-uuid", osd)
    _run("ceph-osd", "-c", configuration, "-i", "0")
    _run("radosgw", "-c", configuration, "-n", "client.rgw.a", "--keyring", keyring)


def _run(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words[0]} failed: {done.stderr[-800:]}"
    return done.stdout


def _wait_for(endpoint: str) -> None:
    for _ in range(120):
        with suppress(OSError):
            urllib.request.urlopen(endpoint, timeout=2).close()
            return
        time.sleep(0.5)
    pytest.fail(f"radosgw did not answer at {endpoint} within a minute")
