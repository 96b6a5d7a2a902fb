"""Jobs through the Jobs API of a real Ray head, which runs apart from these tests, with a token."""

import ipaddress
import json
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import ray
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from ports import free_ports
from ray_head import CHECKOUT, Head, isofleet, known, rows_of

from cluster.config import Config, RaySettings, SubmitSettings, load
from jobs import cli, run
from jobs.submit import JobRequest, submission_id_for


def test_a_submitted_job_runs_this_code_on_the_cluster_once(
    head: Head, checkout: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "environment.yaml").write_text("env_vars: {MARK: from-the-file}\n")
    request = [
        "submit", "photos", tmp_path / "meshes", "--entrypoint-memory", 1_000_000, "--metadata", "team=shapes",
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

    watching = isofleet(head, checkout, "top", submission_id)
    assert (watching.returncode, watching.stdout) == (2, "")
    assert f"the driver of {submission_id} has not printed where its metrics are" in watching.stderr

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


def test_a_driver_gets_what_it_reserves_or_waits_for_it(head: Head, checkout: Path, tmp_path: Path) -> None:
    end = isofleet(head, checkout, "submit", "photos", tmp_path, "--entrypoint-resources", "spot=1", "--json")
    assert end.returncode == 0, end.stderr
    said = json.loads(end.stdout)
    assert (said["state"], said["is_new"]) == ("PENDING", True)
    assert known(head)[said["submission_id"]]["status"] == "PENDING"  # no node has a spot
    assert isofleet(head, checkout, "status", said["submission_id"]).stdout.splitlines()[0].endswith(": PENDING")
    end = isofleet(head, checkout, "cancel", said["submission_id"])
    assert (end.returncode, end.stdout) == (1, "")
    assert f"{said['submission_id']} is told to stop, but still waits for its resources" in end.stderr


# Waits for the first commit with all that is imported, and is then the command `isofleet cancel`.
CANCEL_AT_THE_FIRST_COMMIT = """
import pathlib, sys, time
from jobs import cli, ray_jobs
manifest = pathlib.Path(sys.argv.pop(), "manifest")
while not list(manifest.glob("*.parquet")):
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
        stranger = Head(head.address, head.dashboard, head.environment | environment)
        # The option wins over the address in the environment, which is good.
        end = isofleet(stranger, checkout, "submit", "photos", "meshes", "--address", where)
        assert (end.returncode, end.stdout) == (2, "")
        assert end.stderr.startswith(f"isofleet: {where}: {reason}")
        assert end.stderr.count("\n") == 1, end.stderr


def test_doctor_looks_at_the_cluster_and_its_nodes(head: Head, checkout: Path, photos: Path, tmp_path: Path) -> None:
    end = isofleet(head, checkout, "doctor", photos, tmp_path / "meshes", "--address", head.address, "--json")
    assert end.returncode == 0, end
    found = {one["check"]: one for one in json.loads(end.stdout)["findings"]}
    assert f"{head.address} has 1 node with 2 CPUs and 0 GPUs, Ray {ray.__version__} as here" == found["ray"]["message"]
    assert found["jobs api"]["message"].startswith(f"{head.dashboard} answers and takes the token")
    (node,) = (one for check, one in found.items() if check.startswith("node "))
    expected = "versions, temporary files, gpu, cache, weights, catalog, output are well there too"
    assert (node["state"], node["message"]) == ("ok", expected)
    assert not list(tmp_path.iterdir())


def test_doctor_says_that_a_token_is_wrong_before_ray_gives_up(head: Head) -> None:
    environment = head.environment | {"RAY_AUTH_TOKEN": "f" * 64}
    chosen = Config(ray=RaySettings(address=head.address), submit=SubmitSettings(address=head.dashboard))
    given = {"config": chosen.model_dump(mode="json")}
    for module, more in (("cluster", {"catalog": None, "output": None}), ("jobs_api", {})):
        end = subprocess.run(
            [sys.executable, "-m", "jobs.doctor.apart", f"jobs.doctor.{module}"],
            cwd=CHECKOUT, env=environment, input=json.dumps(given | more), capture_output=True, text=True, timeout=15,
        )  # fmt: skip
        (found,) = json.loads(end.stdout)
        assert found["state"] == "failure"
        assert "does not know this token; set RAY_AUTH_MODE to token and RAY_AUTH_TOKEN" in found["message"]
        assert end.stderr == ""


@dataclass(frozen=True)
class Gateway:
    """What stands before a cluster in a company: TLS with a certificate of its own, and headers that it asks for."""

    address: str
    authority: Path
    seen: list[str]  # the values of X-Gateway


@pytest.fixture
def gateway(head: Head, tmp_path: Path) -> Iterator[Gateway]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test's gateway")])
    address, now = x509.IPAddress(ipaddress.ip_address("127.0.0.1")), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    authority, private = tmp_path / "authority.pem", tmp_path / "key.pem"
    authority.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    seen: list[str] = []

    class Forward(BaseHTTPRequestHandler):
        def forward(self) -> None:
            seen.append(self.headers.get("X-Gateway", ""))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
            answer = requests.request(self.command, head.dashboard + self.path, headers=headers, data=body, timeout=60)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PUT = forward  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority, private)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Gateway(f"https://127.0.0.1:{server.server_port}", authority, seen)
        server.shutdown()
        thread.join()


def test_a_gateway_is_given_its_headers_and_nobody_else(
    head: Head, checkout: Path, gateway: Gateway, tmp_path: Path
) -> None:
    def ask(headers: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        environment = head.environment | {"RAY_JOB_HEADERS": headers}
        return isofleet(Head(head.address, gateway.address, environment), checkout, *arguments)

    headers = json.dumps({"X-Gateway": "a-marked-secret"})
    end = ask(headers, "status", "raysubmit_none")
    assert (end.returncode, end.stderr.count("\n")) == (2, 1)
    assert f"{gateway.address}: its certificate is not trusted; name the authority's in --ca-bundle." in end.stderr
    assert gateway.seen == []
    ca_bundle = ["--ca-bundle", gateway.authority]
    submitted = ask(headers, "submit", "photos", tmp_path / "out", *ca_bundle, "--", "--weights", "/nowhere/weights")
    assert submitted.returncode == 0, submitted.stderr
    submission_id = submitted.stdout.strip()
    cancelled = ask(headers, "cancel", submission_id, *ca_bundle)
    assert cancelled.returncode == 0, cancelled.stderr
    log = ask(headers, "logs", submission_id, *ca_bundle)
    assert set(gateway.seen) == {"a-marked-secret"}
    told = json.dumps(known(head)) + "".join(end.stdout + end.stderr for end in (submitted, cancelled, log))
    for secret in ("a-marked-secret", head.environment["RAY_AUTH_TOKEN"]):
        assert secret not in told
    for wrong in ('{"X-Gateway": "a-marked-secret\\n"}', '{"X-Gateway": a-marked-secret}', '["a-marked-secret"]'):
        end = ask(wrong, "status", submission_id, *ca_bundle)
        assert (end.returncode, end.stderr.count("\n")) == (2, 1)
        assert end.stderr.startswith("isofleet: RAY_JOB_HEADERS ")
        assert "a-marked-secret" not in end.stderr


def test_a_job_that_the_cluster_does_not_know_is_named(head: Head, checkout: Path) -> None:
    for job, said in (
        ("raysubmit_none", "knows no job raysubmit_none; an OUTPUT is written with a /, such as ./raysubmit_none"),
        ("a?b", "'a?b' is not a job's id"),
    ):
        end = isofleet(head, checkout, "status", job)
        assert (end.returncode, end.stdout) == (2, "")
        assert said in end.stderr
        assert end.stderr.count("\n") == 1, end.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "./nowhere"], "./nowhere holds no run: there is no _run.json in it."),
        (["submit", "a", "b", "--metadata", "team"], "--metadata team: write KEY=VALUE."),
        (["submit", "a", "b", "--metadata", "output=x"], "submit.metadata: output is set by isofleet submit"),
        (["submit", "a", "b", "--entrypoint-resources", "spot=x"], "spot=x: 'x' is not a number."),
        (["submit", "a", "b", "--runtime-env", "nowhere.yaml"], "nowhere.yaml: the configuration file cannot be read"),
        (["submit", "a", "b", "--runtime-env", "list.yaml"], "list.yaml: a runtime environment is a mapping"),
        (["submit", "a", "b", "--runtime-env", "environment.yaml"], "working_dir is the code that isofleet sends"),
        (["submit", "a", "b", "--ca-bundle", "none.pem"], "submit.ca_bundle: there is no file none.pem"),
        (["submit", "a", "b", "--address", "HEAD:8265"], "HEAD:8265 is not the http:// or https:// address"),
    ],
)
def test_a_wrong_request_is_said_in_a_sentence(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "environment.yaml").write_text("working_dir: .\n")
    (tmp_path / "list.yaml").write_text("[pip]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["isofleet", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1, err


def test_equal_requests_have_equal_ids_and_others_have_others(tmp_path: Path) -> None:
    """Whatever changes what is done changes the id; what is only told to people does not."""
    file = tmp_path / "ray_config.yaml"
    file.write_text("reconstruct: {resolution: 64}\n")

    def id_of(catalog: str = "s3://a/b", options: tuple[str, ...] = (), file: Path | None = file, **keys: Any) -> str:
        overrides = {key.replace("__", "."): value for key, value in keys.items()}
        return submission_id_for(JobRequest(catalog, "s3://a/out", options, load(None, {}, overrides), file))

    first = id_of()
    assert id_of() == id_of(submit__metadata={"team": "shapes"}) == id_of(submit__address="http://other:1") == first
    others = [
        id_of("s3://a/c"),
        id_of(options=("--exact",)),
        id_of(file=None),
        id_of(submit__runtime_env={"pip": ["boto3"]}),
        id_of(submit__entrypoint_cpus=1.0),
        id_of(submit__entrypoint_resources={"spot": 1.0}),
    ]
    file.write_text("reconstruct: {resolution: 65}\n")
    others.append(id_of())
    assert len({first, *others}) == 8


def test_paths_among_the_options_mean_the_same_where_the_job_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    given = [
        "--previous",
        "monday",
        "--previous=s3://a/b",
        "--weights",
        "chair=bundles/one",
        "--weights=embedded",
        "--exact",
    ]
    request = JobRequest("photos", "s3://a/out", given, load(None, {}, {}), None)
    assert request.command() == [
        "python", "-m", "jobs.reconstruct", f"{tmp_path}/photos", "s3://a/out", "--address", "auto",
        "--previous", f"{tmp_path}/monday", "--previous=s3://a/b", "--weights", f"chair={tmp_path}/bundles/one",
        "--weights=embedded", "--exact",
    ]  # fmt: skip


def test_code_without_an_installed_package_still_has_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a cluster that has the libraries, and the code from the job alone."""
    digest = run.code_version().partition("+")[2]
    monkeypatch.setattr(sys, "path", [])
    run.code_version.cache_clear()
    try:
        assert run.code_version() == f"0+{digest}"
    finally:
        run.code_version.cache_clear()
