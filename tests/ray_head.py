"""A real Ray head that test files share, started as an operator starts one, with a token; and what is asked of it."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ports import free_ports

from cluster.config import StoreSettings
from cluster.store import Stores
from jobs import manifest

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Head:
    """A Ray cluster of one node: where drivers join it, its Jobs API, and the environment in which it is trusted."""

    address: str
    dashboard: str
    environment: dict[str, str]


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A head that test files share."""
    with started({}) as head:
        yield head


@contextmanager
def started(variables: Mapping[str, str]) -> Iterator[Head]:
    """A head started as an operator does: `ray start`, from the shell of this virtual environment. Its jobs see
    `variables` too."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("RAY_", "PYTHON"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), **variables}
    port, dashboard, *others = free_ports(5)
    options = {
        "port": port,
        "dashboard-host": "127.0.0.1",
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": others[0],
        "metrics-export-port": others[1],
        "ray-client-server-port": others[2],
        "include-dashboard": "true",
        "node-ip-address": "127.0.0.1",
        "num-cpus": 2,
        "object-store-memory": 200 * 2**20,
    }
    # Not pytest's folder: Ray puts sockets there, whose paths may have 107 bytes.
    folder = tempfile.mkdtemp(prefix="isofleet-")
    arguments = [f"--{name}={value}" for name, value in options.items()]
    ray = subprocess.Popen(
        [Path(sys.executable).with_name("ray"), "start", "--head", "--block", f"--temp-dir={folder}", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert ray.stdout is not None
        said = []
        for line in ray.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                break
        assert ray.poll() is None, "".join(said)
        yield Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", environment)
    finally:
        ray.send_signal(signal.SIGTERM)  # it ends what it started
        ray.communicate()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory, small: dict[str, Any]) -> Path:
    """The packages, with a module more than those that the cluster could import by itself, and a configuration."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in ("cluster", "workers", "jobs"):
        shutil.copytree(CHECKOUT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "jobs" / "mark.py").write_text('"""Makes this another version of the code."""\n')
    tree: dict[str, dict[str, Any]] = {}
    for key, value in small.items():
        section, name = key.split(".")
        tree.setdefault(section, {})[name] = value
    del tree["reconstruct"]["weights"]  # those that come with the code
    (folder / "ray_config.yaml").write_text(yaml.safe_dump(tree))
    return folder


@pytest.fixture(scope="session")
def photos(checkout: Path, pictures: Path) -> Path:
    """Twelve chairs and tables below the checkout."""
    for category in ("chair", "table"):
        (checkout / "photos" / category).mkdir(parents=True)
        for picture in sorted((pictures / category).iterdir())[:6]:
            shutil.copy(picture, checkout / "photos" / category)
    return checkout / "photos"


def isofleet(head: Head, checkout: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", *map(str, arguments)],
        cwd=checkout,
        env=head.environment | {"RAY_API_SERVER_ADDRESS": head.dashboard},
        capture_output=True,
        text=True,
        timeout=300,
    )


def known(head: Head) -> dict[str, dict[str, Any]]:
    """All jobs of the cluster by their ids, as it tells whoever has the token."""
    headers = {"Authorization": f"Bearer {head.environment['RAY_AUTH_TOKEN']}"}
    answer = requests.get(f"{head.dashboard}/api/jobs/", headers=headers, timeout=10)
    return {job["submission_id"]: job for job in answer.json() if job["submission_id"]}


def rows_of(output: Path) -> list[dict[str, Any]]:
    return manifest.read(Stores(StoreSettings()), str(output)).to_pylist()
