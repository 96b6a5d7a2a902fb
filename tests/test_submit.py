"""Jobs through the Jobs API of a real Ray head, which runs apart from these tests, with a token."""

import json
import os
import re
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


@pytest.fixture(scope="module")
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


def test_a_submitted_job_runs_this_code_on_the_cluster_once(
    head: Head, checkout: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "environment.yaml").write_text("env_vars: {MARK: from-the-file}\n")
    request = [
        "submit", "photos", tmp_path / "meshes", "--entrypoint-cpus", 0.25, "--metadata", "team=shapes",
        "--runtime-env", tmp_path / "environment.yaml", "--wait",
    ]  # fmt: skip
    options = ["--", "--limit", 5, "--format", "stl"]
    end = isofleet(head, checkout, *request, *options)
    assert end.returncode == 0, end.stderr
    submission_id = end.stdout.strip()
    assert re.fullmatch("isofleet-[0-9a-f]{16}", submission_id)
    assert end.stderr.endswith(f"job {submission_id}: SUCCEEDED\n")
    assert "5 meshes and 0 failures from 5 images" in end.stderr
    rows = rows_of(tmp_path / "meshes")
    assert [row["status"] for row in rows] == ["ok"] * 5
    assert {row["shard"] for row in rows} == {0, 1}
    assert {(row["resolution"], row["format"]) for row in rows} == {(16, "stl")}
    assert {row["source_uri"] for row in rows} < {str(path) for path in photos.rglob("*.png")}
    assert all(Path(row["mesh_uri"]).stat().st_size == row["mesh_bytes"] for row in rows)
    (version,) = {row["code_version"] for row in rows}
    assert version != run.code_version()

    job = known(head)[submission_id]
    assert job["metadata"] == {
        "team": "shapes",
        "catalog": str(photos),
        "output": str(tmp_path / "meshes"),
        "code_version": version,
    }
    assert job["runtime_env"]["env_vars"] == {"MARK": "from-the-file", "RAY_JOB_STOP_WAIT_TIME_S": "20"}
    status = json.loads(isofleet(head, checkout, "status", submission_id, "--json").stdout)
    assert (status["state"], status["exit_status"]) == ("SUCCEEDED", 0)
    assert (status["run"]["state"], status["run"]["images"], status["run"]["run_id"]) == (
        "finished", 5, rows[0]["run_id"],
    )  # fmt: skip
    log = isofleet(head, checkout, "logs", submission_id)
    assert (log.returncode, log.stderr) == (0, "")
    assert "5 meshes and 0 failures from 5 images" in log.stdout

    before = set(known(head))
    again = isofleet(head, checkout, *request, *options)
    assert (again.returncode, again.stdout.strip()) == (0, submission_id)
    said = f"isofleet: the cluster has this job already: {submission_id} is SUCCEEDED."
    assert again.stderr.splitlines()[0] == said
    assert again.stderr.endswith(f"job {submission_id}: SUCCEEDED\n")
    assert set(known(head)) == before
    # Without the token, nobody runs anything there; and nobody can read it there.
    assert requests.get(f"{head.dashboard}/api/jobs/", timeout=10).status_code == 401
    told = json.dumps(known(head)) + log.stdout + "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert head.environment["RAY_AUTH_TOKEN"] not in told


def test_a_job_that_fails_is_said_to_have_failed_and_tried_again(head: Head, checkout: Path, tmp_path: Path) -> None:
    request = ["submit", "photos", tmp_path, "--wait", "--", "--weights", "/nowhere/weights"]
    first = isofleet(head, checkout, *request)
    assert first.returncode == 1
    assert "isofleet: weights /nowhere/weights: cannot be read as a bundle" in first.stderr
    assert first.stderr.endswith(f"job {first.stdout.strip()}: FAILED\n")
    second = isofleet(head, checkout, *request)
    assert (second.returncode, second.stdout) == (1, f"{first.stdout.strip()}.2\n")
    assert isofleet(head, checkout, "logs", second.stdout.strip(), "--follow").returncode == 1


# Waits for the first commit with all that is imported, and is then the command `isofleet cancel`.
CANCEL_AT_THE_FIRST_COMMIT = """
import pathlib, sys, time
from jobs import cli, ray_jobs
while not list(pathlib.Path(sys.argv.pop()).glob("manifest/*.parquet")):
    time.sleep(0.02)
cli.main(["cancel"])
"""


def test_of_two_at_once_there_is_one_job_which_cancel_stops_and_submit_resumes(
    head: Head, checkout: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "meshes"
    command = [sys.executable, "-m", "jobs.cli", "submit", "photos", str(output), "--wait"]
    environment = head.environment | {"RAY_API_SERVER_ADDRESS": head.dashboard}
    command += ["--", "--set", "reconstruct.shard_size=1", "--set", "reconstruct.batch_size=1", "--resolution", "48"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    waiting = [subprocess.Popen(command, cwd=checkout, env=environment, **pipes) for _ in range(2)]
    submission_id, other = [process.stdout.readline().strip() for process in waiting]
    assert submission_id == other
    canceller = subprocess.Popen(
        [sys.executable, "-c", CANCEL_AT_THE_FIRST_COMMIT, submission_id, str(output)],
        cwd=checkout, env=environment, **pipes,
    )  # fmt: skip
    waiting[0].send_signal(signal.SIGINT)
    _, said = waiting[0].communicate(timeout=60)
    assert waiting[0].returncode == 1
    assert said.splitlines()[-1] == (
        f"isofleet: the job goes on without this command: isofleet logs {submission_id} --follow takes it up again, "
        f"isofleet cancel {submission_id} ends it."
    )
    assert known(head)[submission_id]["status"] in ("PENDING", "RUNNING")
    cancelled, trouble = canceller.communicate(timeout=120)
    assert (canceller.returncode, cancelled) == (0, f"job {submission_id}: STOPPED\n"), trouble
    _, log = waiting[1].communicate(timeout=60)
    assert waiting[1].returncode == 1
    assert "isofleet: stopped by SIGTERM; what was committed stays, and the same command resumes it." in log
    assert log.endswith(f"job {submission_id}: STOPPED\n")

    before = {row["item_id"]: row for row in rows_of(output)}
    assert 1 < len(before) < 12  # more than the commit that was waited for: what was in flight is there
    told = isofleet(head, checkout, "status", f"{output}/")
    assert "running, or interrupted" in told.stdout
    assert f"images: {len(before)} of " in told.stdout

    resumed = subprocess.run(command, cwd=checkout, env=environment, timeout=300, check=False, **pipes)
    assert (resumed.returncode, resumed.stdout) == (0, f"{submission_id}.2\n"), resumed.stderr
    rows = {row["item_id"]: row for row in rows_of(output)}
    assert len(rows) == 12
    assert before.items() <= rows.items()
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert isofleet(head, checkout, "cancel", submission_id).stdout == f"job {submission_id}: STOPPED\n"


def test_a_cluster_that_does_not_take_the_job_is_named(head: Head, checkout: Path) -> None:
    token = {"RAY_AUTH_TOKEN": "f" * 64}
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    for where, environment, reason in (
        (head.dashboard, token, "the cluster does not know this token; set RAY_AUTH_MODE to token and RAY_AUTH_TOKEN"),
        (nobody, {}, "Failed to connect to Ray at address"),
    ):
        stranger = Head(head.dashboard, head.environment | environment)
        # The option wins over the address in the environment, which is good.
        end = isofleet(stranger, checkout, "submit", "photos", "meshes", "--address", where)
        assert (end.returncode, end.stdout) == (2, "")
        assert end.stderr.startswith(f"isofleet: {where}: {reason}")
        assert end.stderr.count("\n") == 1, end.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "raysubmit_none"], "knows no job raysubmit_none; an OUTPUT is written with a /, such as ./raysub"),
        (["cancel", "raysubmit_none"], "knows no job raysubmit_none"),
        (["logs", "a?b"], "'a?b' is not a job's id"),
        (["status", "./nowhere"], "./nowhere holds no run: there is no _run.json in it."),
        (["submit", "a", "b", "--metadata", "team"], "--metadata team: write KEY=VALUE."),
        (["submit", "a", "b", "--metadata", "output=x"], "submit.metadata: output is set by isofleet submit"),
        (["submit", "a", "b", "--entrypoint-resources", "spot=x"], "spot=x: 'x' is not a number."),
        (["submit", "a", "b", "--runtime-env", "nowhere.yaml"], "nowhere.yaml: the configuration file cannot be read"),
        (["submit", "a", "b", "--runtime-env", "environment.yaml"], "working_dir is the code that isofleet sends"),
        (["submit", "a", "b", "--ca-bundle", "none.pem"], "submit.ca_bundle: there is no file none.pem"),
        (["submit", "a", "b", "--address", "HEAD:8265"], "HEAD:8265 is not the http:// or https:// address"),
    ],
)
def test_a_wrong_request_is_said_in_a_sentence(
    head: Head, checkout: Path, arguments: list[str], said: str, tmp_path: Path
) -> None:
    (checkout / "environment.yaml").write_text("working_dir: .\n")
    end = isofleet(head, checkout, *arguments)
    assert (end.returncode, end.stdout) == (2, "")
    assert said in end.stderr
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
