"""Jobs through the Jobs API of a real Ray head, which runs apart from these tests, with a token."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from cluster.config import StoreSettings
from cluster.store import Stores
from jobs import manifest, run

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Head:
    """A Ray cluster of one node: its Jobs API, and the environment in which it is trusted."""

    dashboard: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head started as an operator does: `ray start`, from the shell of this virtual environment."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("RAY_", "PYTHON"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
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
        yield Head(f"http://127.0.0.1:{dashboard}", environment)
    finally:
        ray.send_signal(signal.SIGTERM)  # it ends what it started
        ray.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


@pytest.fixture(scope="module")
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


def submit(head: Head, checkout: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", "submit", "--dashboard", head.dashboard, *map(str, arguments)],
        cwd=checkout,
        env=head.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_submitted_job_runs_this_code_on_the_cluster(
    head: Head, checkout: Path, pictures: Path, tmp_path: Path
) -> None:
    photos = checkout / "photos"
    for category in ("chair", "table"):
        (photos / category).mkdir(parents=True)
        for picture in sorted((pictures / category).iterdir())[:3]:
            shutil.copy(picture, photos / category)
    end = submit(head, checkout, "photos", tmp_path / "meshes", "--wait", "--", "--limit", 5, "--format", "stl")
    assert end.returncode == 0, end.stderr
    submission_id = end.stdout.strip()
    assert end.stderr.endswith(f"job {submission_id}: SUCCEEDED\n")
    assert "5 meshes and 0 failures from 5 images" in end.stderr
    rows = manifest.read(Stores(StoreSettings()), str(tmp_path / "meshes")).to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * 5
    assert {row["shard"] for row in rows} == {0, 1}
    assert {(row["resolution"], row["format"]) for row in rows} == {(16, "stl")}
    assert {row["source_uri"] for row in rows} < {str(path) for path in photos.rglob("*.png")}
    assert all(Path(row["mesh_uri"]).stat().st_size == row["mesh_bytes"] for row in rows)
    (version,) = {row["code_version"] for row in rows}
    assert version != run.code_version()
    # Without the token, nobody runs anything there.
    assert requests.get(f"{head.dashboard}/api/jobs/", timeout=10).status_code == 401


def test_a_job_that_fails_is_said_to_have_failed(head: Head, checkout: Path, tmp_path: Path) -> None:
    end = submit(head, checkout, "photos", tmp_path, "--wait", "--", "--weights", "/nowhere/weights")
    assert end.returncode == 1
    assert "isofleet: weights /nowhere/weights: cannot be read as a bundle" in end.stderr
    assert end.stderr.endswith(f"job {end.stdout.strip()}: FAILED\n")


def test_a_cluster_that_does_not_take_the_job_is_named(head: Head, checkout: Path) -> None:
    stranger = Head(head.dashboard, head.environment | {"RAY_AUTH_TOKEN": "f" * 64})
    nobody = Head(f"http://127.0.0.1:{free_ports(1)[0]}", head.environment)
    for where, reason in (
        (stranger, "the cluster does not know this token; set RAY_AUTH_MODE to token and RAY_AUTH_TOKEN, "),
        (nobody, "the job was not accepted (Failed to connect to Ray "),
    ):
        end = submit(where, checkout, "photos", "meshes")
        assert (end.returncode, end.stdout) == (2, "")
        assert end.stderr.startswith(f"isofleet: --dashboard {where.dashboard}: {reason}")
        assert end.stderr.count("\n") == 1, end.stderr


def test_code_without_an_installed_package_still_has_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a cluster that has the libraries, and the code from the job alone."""
    digest = run.code_version().partition("+")[2]
    monkeypatch.setattr(sys, "path", [])
    run.code_version.cache_clear()
    try:
        assert run.code_version() == f"0+{digest}"
    finally:
        run.code_version.cache_clear()
