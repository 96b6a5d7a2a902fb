"""What `isofleet doctor` finds: on this machine as it is, and where one thing after the other is wrong."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import boto3
import psutil
import pytest
from conftest import S3
from faults import FaultyProxy
from ports import free_port
from test_cli import End, isofleet

from cluster.config import Config, S3Settings, StoreSettings
from jobs.doctor import apart, machine, stores
from jobs.doctor.examine import Check, examine
from jobs.doctor.finding import Finding, ok

CHECKOUT = Path(__file__).resolve().parents[1]


def findings(end: End) -> dict[str, Finding]:
    found = [Finding(**one) for one in json.loads(end.stdout)["findings"]]
    assert all("\n" not in one.message and not one.message.endswith(".") for one in found), found
    return {one.check: one for one in found}


def of(endpoint_url: str) -> Config:
    return Config(store=StoreSettings(s3=S3Settings(endpoint_url=endpoint_url)))


def left(s3: S3) -> list[object]:
    """What lies in a bucket, uploads that were begun included."""
    client = boto3.client("s3", endpoint_url=s3.endpoint_url)
    objects = client.list_objects_v2(Bucket=s3.bucket).get("Contents", [])
    return objects + client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", [])


def test_a_healthy_machine(pictures: Path, tmp_path: Path) -> None:
    end = isofleet("doctor", pictures, tmp_path / "a" / "meshes", "--json")
    found = findings(end)
    assert (end.status, json.loads(end.stdout)["good"]) == (0, True), end
    assert [name for name in found if name not in ("memory", "gpu")] == [
        "configuration", "versions", "processor", "temporary files", "metrics port", "catalog", "output",
        "cache", "weights", "ray", "actors",
    ]  # fmt: skip
    assert {one.state for one in found.values()} <= {"ok", "warning"}  # this machine may be short of something
    for check, part in {
        "catalog": "airplane/0.png has 64×64 pixels",
        "output": "refuses a second conditional write",
        "weights": "embedded loads (digest ",
        "ray": "starts here with ",
        "versions": f"Python {sys.version.split()[0]} and ",
    }.items():
        assert found[check].state == "ok"
        assert part in found[check].message
    assert not list(tmp_path.iterdir())
    lines = end.stderr.splitlines()
    assert lines[0].startswith("ok       configuration: ")
    assert lines[-1].endswith(" 0 failures")


def test_what_is_wrong_is_named(s3: S3, tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        keys = {
            "store.s3.endpoint_url": dead,
            "metrics.port": port,
            "metrics.port_tries": 1,
            "metrics.pushgateway": dead,
        }
        settings = [f"--set={key}={value}" for key, value in keys.items()]
        where = (s3.uri("photos"), s3.uri("meshes"), "--address", dead.removeprefix("http://"))
        end = isofleet("doctor", *where, "--weights", tmp_path / "none", *settings, "--json")
    assert end.status == 1
    found = findings(end)
    assert found["pushgateway"].state == "warning"  # no run fails for it
    for check, *parts in (
        ("metrics port", f"127.0.0.1:{port}", "metrics.port_tries"),
        ("pushgateway", dead, "metrics.pushgateway"),
        ("catalog", dead, "store.s3.endpoint_url"),
        ("output", dead, "store.s3.endpoint_url"),
        ("ray", "nothing answers at", "check the address"),
        ("weights", str(tmp_path / "none"), "does not exist"),
    ):
        assert all(part in found[check].message for part in parts), found[check]
        assert found[check].state != "ok"


def test_a_configuration_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "ray_config.yaml"
    file.write_text("reconstruct: {resolutoin: 64}\n")
    end = isofleet("doctor", "--config", file)
    assert end.status == 1
    first, *others = end.stdout.splitlines()
    assert first.startswith(f"failure  configuration: {file}: reconstruct.resolutoin is not a known key; did you mean")
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in others[:-1]] == [
        "versions", "processor", "memory", "temporary files",
    ]  # fmt: skip
    assert "actors.mesherz" in isofleet("doctor", "--set", "actors.mesherz=1").sentence(2)
    assert "/nowhere" in isofleet("doctor", "--config", "/nowhere").sentence(2)


def test_versions_out_of_their_ranges(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\nrequires-python = ">=3.99"\ndependencies = ["pillow>=99", "no-such-thing", "numpy"]\n'
    )
    found = machine.versions(project)
    assert found.state == "failure"
    assert found.message.endswith("no-such-thing missing (needed: any): pip install 'pillow>=99' 'no-such-thing'")
    assert found.message.startswith(f"Python {sys.version.split()[0]} (needed: >=3.99), pillow ")


def test_a_bucket(s3: S3) -> None:
    clock, output = stores.output(s3.uri("meshes"), of(s3.endpoint_url))
    assert (clock.state, output.state) == ("ok", "ok")
    assert "and takes objects in parts" in output.message
    assert not left(s3)


def test_a_store_without_conditional_writes(s3: S3) -> None:
    plan = lambda method, target, before: "unconditional" if method == "PUT" else None  # noqa: E731
    with FaultyProxy(s3.endpoint_url, plan).running() as proxy:
        *_, output = stores.output(s3.uri("meshes"), of(proxy.endpoint_url))
    assert output.state == "failure"
    assert "the store ignores If-None-Match" in output.message
    assert not left(s3)


def test_a_clock_that_is_wrong(s3: S3) -> None:
    with FaultyProxy(s3.endpoint_url, lambda method, target, before: "slow_clock").running() as proxy:
        clock, output = stores.output(s3.uri("meshes"), of(proxy.endpoint_url))
    assert (clock.state, output.state) == ("failure", "ok")
    assert "s ahead of the store's; set it" in clock.message


def test_an_output_that_is_stopped_half_way_is_left_as_it_was(s3: S3) -> None:
    stop = threading.Event()

    def plan(method: str, target: str, before: int) -> None:
        if method == "PUT":
            stop.set()

    with FaultyProxy(s3.endpoint_url, plan).running() as proxy:
        *_, output = stores.output(s3.uri("meshes"), of(proxy.endpoint_url), stop)
        assert [seen.split()[0] for seen in proxy.seen].count("PUT") == 1
    assert output.state == "warning"
    assert not left(s3)


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (output,) = stores.output(str(tmp_path / "file" / "meshes"), Config())
    assert output.state == "failure"
    assert "a file stands where its folder should" in output.message


def test_a_check_that_hangs_or_breaks_is_a_finding() -> None:
    def breaks(stop: threading.Event) -> list[Finding]:
        raise ZeroDivisionError("of course")

    checks = [
        Check("slow", lambda stop: [ok("slow", "stopped")] * stop.wait(60), 0.1),
        Check("broken", breaks, 5),
        Check("good", lambda stop: [ok("good", "fine")], 5),
    ]
    assert [(found.check, found.state) for found in examine(checks)] == [
        ("slow", "failure"), ("broken", "failure"), ("good", "ok"),
    ]  # fmt: skip
    (killed,) = apart.run("antigravity_that_is_not_there", "weights", {}, 60, threading.Event())
    assert (killed.check, killed.state) == ("weights", "failure")
    assert "ModuleNotFoundError" in killed.message


@pytest.fixture
def program(pictures: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-u", "-m", "jobs.cli", "doctor", str(pictures), str(tmp_path / "meshes")]
    made = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield made
    made.kill()
    made.wait()


def test_ctrl_c_leaves_nothing_behind(program: subprocess.Popen[str], tmp_path: Path) -> None:
    assert program.stdout
    assert program.stdout.readline().startswith("ok ")
    for line in program.stdout:
        if "output: " in line:
            break  # what follows is in processes of their own
    children = psutil.Process(program.pid).children(recursive=True)
    assert children
    program.send_signal(signal.SIGINT)
    said = program.communicate(timeout=60)[1]
    assert (program.returncode, said) == (1, "isofleet: stopped; nothing of what was tried stays in OUTPUT.\n")
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert not list(tmp_path.iterdir())


def test_what_it_says_holds_no_secret(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-marked-secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-marked-token")
    denied = FaultyProxy(s3.endpoint_url, lambda method, target, before: "denied")
    with denied.running() as proxy:
        found = [
            *stores.catalog(s3.uri("photos"), of(proxy.endpoint_url)),
            *stores.output(s3.uri("meshes"), of(proxy.endpoint_url)),
        ]
    assert [one.state for one in found] == ["failure", "failure"]
    assert all("s3:ListBucket on arn:aws:s3:::" in one.message for one in found)
    assert "a-marked" not in str(found)


def test_on_a_terminal_what_is_waited_for_makes_room(tmp_path: Path) -> None:
    file = tmp_path / "ray_config.yaml"
    file.write_text("reconstruct: 1\n")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jobs.cli", "doctor", "--config", str(file)]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # EIO at the end, on Linux
        while part := os.read(ours, 4096):
            said += part
    os.close(ours)
    assert process.wait() == 1
    lines = [line.rpartition("\x1b[2K")[2] for line in said.decode().splitlines()]  # which erases a line
    assert sum("libraries are" in line for line in lines) == 1
    assert not [line for line in lines if "checking" in line and "ok" in line]
    assert "\x1b[31mfailure" in said.decode()
