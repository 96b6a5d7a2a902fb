"""The command line as its users meet it: what it prints, and its exit status.

Commands run in this process, through the program's own `main`; one runs as a program, because it is interrupted.
"""

import io
import json
import re
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import BROKEN, S3, Run
from ports import free_port

from jobs import cli

pytestmark = pytest.mark.usefixtures("ray_session")

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class End:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    def sentence(self, status: int) -> str:
        """The one line that it said, having ended with `status`."""
        assert (self.status, self.stdout) == (status, ""), self
        assert self.stderr.startswith("isofleet: "), self
        assert self.stderr.count("\n") == 1, self
        return self.stderr.removeprefix("isofleet: ").strip()


def isofleet(*arguments: object) -> End:
    """Run the program with arguments, on the Ray that these tests share."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", ["isofleet", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
    status = end.value.code
    assert isinstance(status, int)
    return End(status, stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="session")
def options(small: dict[str, Any]) -> list[str]:
    return [f"--set={key}={json.dumps(value)}" for key, value in small.items()]


def test_a_run_says_what_it_made(catalog: Path, undisturbed: Run, options: list[str]) -> None:
    end = isofleet("reconstruct", catalog, undisturbed.output, *options)
    assert (end.status, end.stderr) == (0, "")
    first, *errors, where, look = end.stdout.splitlines()
    assert re.fullmatch(
        r"35 meshes and 5 failures from 40 images in \d+\.\d s \(\d+\.\d images/s\), "
        "10 shards, 10 of them from an earlier start",
        first,
    )
    assert [error.split() for error in errors] == [["1", code] for code in sorted(BROKEN.values())]
    assert where == f"manifest: {undisturbed.output}/manifest/"
    assert look == f"to look at it: isofleet report {undisturbed.output}"

    as_json = isofleet("reconstruct", catalog, undisturbed.output, *options, "--json")
    assert (as_json.status, as_json.stderr.splitlines()[-2:]) == (0, [where, look])
    said, was = json.loads(as_json.stdout), asdict(undisturbed.result)
    assert said.pop("seconds") < was.pop("seconds")
    assert said == was | {"shards_resumed": 10}


def test_the_error_budget_decides_the_exit_status(catalog: Path, undisturbed: Run, options: list[str]) -> None:
    for budget, status in (("--max-failed-percent=12.5", 0), ("--max-failed-percent=12.4", 1)):
        assert isofleet("reconstruct", catalog, undisturbed.output, *options, budget).status == status
    end = isofleet("reconstruct", catalog, undisturbed.output, *options, "--set=reconstruct.max_failed=0")
    assert end.status == 1
    assert "The error budget is exceeded" in end.stdout


def test_another_request_for_the_same_output_is_refused(catalog: Path, undisturbed: Run, options: list[str]) -> None:
    end = isofleet("reconstruct", catalog, undisturbed.output, *options, "--resolution", 24)
    assert end.sentence(2) == (
        f"{undisturbed.output} holds a run with resolution 16, and this one asks for 24; "
        "ask the same to resume it, or choose another OUTPUT."
    )


def test_a_damaged_output_fails_the_run(catalog: Path, undisturbed: Run, options: list[str], tmp_path: Path) -> None:
    damaged = shutil.copytree(undisturbed.output, tmp_path / "damaged")
    part = damaged / "manifest" / "shard-00001.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    sentence = isofleet("reconstruct", catalog, damaged, *options).sentence(1)
    assert str(part) in sentence
    assert "delete it and run again" in sentence


def test_a_dry_run_counts_and_writes_nothing(catalog: Path, options: list[str], tmp_path: Path) -> None:
    end = isofleet("reconstruct", catalog, tmp_path / "out", *options, "--dry-run", "--json")
    size = sum(path.stat().st_size for path in catalog.rglob("*.png"))
    said = json.loads(end.stdout)
    assert {name: value for name, value in said.items() if value} == {
        "images": 40, "new": 40, "compute": 40, "shards": 10, "bytes": size, "resolution": 16,
        "why_not": "there is no measured rate: give --previous an output that was made at resolution 16",
    }  # fmt: skip
    assert (said["device_hours"], said["carried"], said["unusable"]) == (None, 0, 0)
    assert (end.status, end.stderr) == (0, "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--weights", "/nowhere/weights"], ["/nowhere/weights", "does not exist"]),
        (["--weights", "chair=/a", "--weights", "/b"], ["--weights /b", "CATEGORY=BUNDLE"]),
        (["--set", "actors.mesherz=2"], ["actors.mesherz", "actors.meshers"]),
        (["--set", "actors.meshers"], ["--set actors.meshers", "KEY=VALUE"]),
        (["--set", "actors.meshers=[2"], ["--set actors.meshers", "YAML"]),
        (["--resolution", "7"], ["reconstruct.resolution", "between 8 and 1024", "7"]),
        (["--format", "fbx"], ["reconstruct.format", "glb, obj, ply, stl", "fbx"]),
        (["--config", "/nowhere/ray_config.yaml"], ["/nowhere/ray_config.yaml", "cannot be read"]),
    ],
)
def test_a_bad_option_is_named_in_one_sentence(
    catalog: Path, options: list[str], tmp_path: Path, arguments: list[str], said: list[str]
) -> None:
    sentence = isofleet("reconstruct", catalog, tmp_path / "out", *options, *arguments).sentence(2)
    assert all(part in sentence for part in said), sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("actors.gpus_per_reconstructor=100", ["GPUs", "actors.gpus_per_reconstructor"]),
        ("actors.reconstructors=1000", ["1000 reconstructors", "has 4 CPUs", "actors.reconstructors"]),
    ],
)
def test_more_than_the_cluster_has_is_refused_at_once(
    catalog: Path, options: list[str], tmp_path: Path, setting: str, said: list[str]
) -> None:
    sentence = isofleet("reconstruct", catalog, tmp_path / "out", *options, "--set", setting).sentence(2)
    assert all(part in sentence for part in said), sentence


@pytest.mark.parametrize("kind", ["empty", "missing", "text only"])
def test_a_catalog_without_images_is_refused(options: list[str], tmp_path: Path, kind: str) -> None:
    if kind != "missing":
        (tmp_path / kind).mkdir()
    if kind == "text only":
        (tmp_path / kind / "read.me").touch()
    for more in ([], ["--dry-run"]):
        sentence = isofleet("reconstruct", tmp_path / kind, tmp_path / "out", *options, *more).sentence(2)
        assert str(tmp_path / kind) in sentence
        assert ".png" in sentence
    assert not (tmp_path / "out").exists()


def test_a_store_that_cannot_be_used_is_named(
    catalog: Path, s3: S3, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, out, there = str(catalog), str(tmp_path / "out"), "s3://isofleet-no-such-bucket/x"
    from_there, dry = (there, out), (there, out, "--dry-run")
    others = (f"{there}/catalog.csv", out), (here, there), (here, out, "--weights", there)
    monkeypatch.setenv("ISOFLEET_STORE__S3__MAX_ATTEMPTS", "1")
    monkeypatch.setenv("ISOFLEET_STORE__S3__CONNECT_TIMEOUT_SECONDS", "2")
    monkeypatch.setenv("ISOFLEET_STORE__S3__ENDPOINT_URL", s3.endpoint_url)
    for arguments in (from_there, dry, *others):
        sentence = isofleet("reconstruct", *arguments, *options).sentence(2)
        assert "there is no bucket 'isofleet-no-such-bucket'" in sentence
    closed = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("ISOFLEET_STORE__S3__ENDPOINT_URL", closed)
    for arguments in (from_there, dry):
        sentence = isofleet("reconstruct", *arguments, *options).sentence(2)
        assert f"{closed} could not be reached" in sentence
        assert "store.s3.endpoint_url" in sentence
    assert not (tmp_path / "out").exists()


def test_usage_errors_are_the_requests_fault() -> None:
    for arguments in (["reconstruct", "photos"], ["reconstruct", "a", "b", "--resolution", "high"], ["rebuild"]):
        end = isofleet(*arguments)
        assert end.status == 2
        assert "Traceback" not in end.stderr


def test_an_interrupted_program_says_what_stays(catalog: Path, tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "reconstruct", catalog, tmp_path / "out", "--set=metrics.enabled=true"],
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stderr is not None
        assert program.stderr.readline().startswith("metrics: http://127.0.0.1:")  # the run begins
        program.send_signal(signal.SIGINT)
        said = program.stderr.read()
        assert program.wait(timeout=60) == 1
    finally:
        program.kill()
        program.wait()
    assert said == "isofleet: stopped; what was committed stays, and the same command resumes it.\n"
