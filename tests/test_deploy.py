"""The files in cluster/deploy against whatever can judge them without a cluster.

KubeRay's custom resource definitions, Kubernetes' own schemas, Ray's validation of cluster files, systemd-analyze, and
above all this code itself: its command lines, its configuration, its ports and its versions.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml
from command_lines import parse, shell_calls, variables
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config

from cluster import config
from jobs import sizing

CHECKOUT = Path(__file__).resolve().parents[1]
DEPLOY = CHECKOUT / "cluster" / "deploy"
CRDS = CHECKOUT.parent / "shared" / "kuberay-crds"
KUBERNETES = DEPLOY / "kubernetes"
UNITS = sorted((DEPLOY / "systemd").iterdir())
CONFIGS = sorted(DEPLOY.rglob("ray_config.yaml"))
TARGET_VERSION = "1.34"  # of Kubernetes: the oldest that its project supports, and what is used here is older still

DOCUMENTS = {
    f"{path.name}:{document['kind']}": document
    for path in sorted(KUBERNETES.glob("*.yaml"))
    if path.name != "ray_config.yaml"
    for document in yaml.safe_load_all(path.read_text())
}
RAY_KINDS = {name: document for name, document in DOCUMENTS.items() if document["apiVersion"].startswith("ray.io/")}
CORE_KINDS = {
    name: document
    for name, document in DOCUMENTS.items()
    if document["apiVersion"] in ("v1", "apps/v1", "batch/v1", "policy/v1")
}
# Judged by no schema: the Prometheus operator's, and kustomize's own file, which kubectl reads.
OTHER_KINDS = {"ScrapeConfig", "ServiceMonitor", "PodMonitor", "Kustomization"}


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a document."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from walk(part)


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for found in walk(document) for one in found.get("containers", ())]


# Schemas.


def strict(schema: Any) -> Any:
    """A custom resource's OpenAPI schema as JSON schema that refuses unknown fields, as kubectl does by default.

    Not evaluated: rules in CEL (x-kubernetes-validations).
    """
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {
        key: {name: strict(field) for name, field in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
    }
    if made.pop("nullable", False):
        made["type"] = [made["type"], "null"]
    if "properties" in made and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@cache
def crd_schema(kind: str) -> dict[str, Any]:
    if not CRDS.is_dir():
        pytest.skip("KubeRay's custom resource definitions are not beside the checkout, in ../shared/kuberay-crds")
    text = (CRDS / f"ray.io_{kind.lower()}s.yaml").read_text()
    definition = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # the files have megabytes
    [version] = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}  # every kind has it, and Kubernetes' own schema judges it
    return schema


@pytest.mark.parametrize("name", RAY_KINDS)
def test_ray_resources_are_what_kuberay_defines(name: str):
    document = RAY_KINDS[name]
    jsonschema.Draft7Validator(crd_schema(document["kind"])).validate(document)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["spec", "headGroupSpec", "rayStartParam"], {}, "rayStartParam"),
        (["spec", "headGroupSpec", "template", "spec", "restartpolicy"], "Never", "restartpolicy"),
        (["spec", "rayVersion"], 2.6, "2.6 is not of type 'string'"),
        (["spec", "headGroupSpec", "rayStartParams", "num-cpus"], 0, "0 is not of type 'string'"),
        (["spec", "autoscalerOptions", "version"], "v3", "'v3' is not one of"),
        (["spec", "workerGroupSpecs", 0], {"groupName": "gpu"}, "'maxReplicas' is a required property"),
    ],
)
def test_the_strict_schema_refuses_slips(path: list[Any], value: Any, said: str):
    document = yaml.safe_load((KUBERNETES / "raycluster.yaml").read_text())
    *parents, last = path
    parent = document
    for part in parents:
        parent = parent[part]
    parent[last] = value
    with pytest.raises(jsonschema.ValidationError, match=re.escape(said)):
        jsonschema.Draft7Validator(crd_schema("RayCluster")).validate(document)


@pytest.mark.parametrize("name", CORE_KINDS)
def test_core_resources_are_what_kubernetes_defines(name: str):
    kubernetes_validate.validate(CORE_KINDS[name], TARGET_VERSION, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(CORE_KINDS[name] | {"speck": {}}, TARGET_VERSION, strict=True)


@pytest.mark.parametrize("name", RAY_KINDS)
def test_the_pods_of_ray_resources_are_what_kubernetes_defines(name: str):
    for found in walk(RAY_KINDS[name]):
        if "containers" in found.get("template", {}).get("spec", {}):
            pod = {"apiVersion": "v1", "kind": "Pod", **found["template"]}
            kubernetes_validate.validate(pod, TARGET_VERSION, strict=True)


def test_every_kind_is_judged_or_said_not_to_be():
    assert {document["kind"] for document in DOCUMENTS.values()} - OTHER_KINDS == {
        document["kind"] for document in (RAY_KINDS | CORE_KINDS).values()
    }
    kustomization = DOCUMENTS["kustomization.yaml:Kustomization"]
    assert all((KUBERNETES / name).is_file() for name in kustomization["resources"])
    assert all((KUBERNETES / name).is_file() for name in kustomization["configMapGenerator"][0]["files"])


def test_kustomize_builds_what_the_files_say():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    built = subprocess.run(["kubectl", "kustomize", KUBERNETES], capture_output=True, text=True, timeout=60)
    assert built.returncode == 0, built.stderr
    made = {document["kind"]: document for document in yaml.safe_load_all(built.stdout)}
    assert made["ConfigMap"]["data"]["ray_config.yaml"] == (KUBERNETES / "ray_config.yaml").read_text()
    images = {container["image"] for document in made.values() for container in containers(document)}
    assert images == {"registry.example.com/isofleet:0.1.0-cuda", "registry.example.com/isofleet:0.1.0-cpu"}
    assert {document["metadata"].get("namespace") for document in made.values()} == {"isofleet", None}


def test_ray_accepts_the_cluster_file():
    text = (DEPLOY / "ray-up" / "aws.yaml").read_text()
    validate_config(prepare_config(yaml.safe_load(text)))
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(yaml.safe_load(text) | {"max_worker": 4}))


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_systemd_accepts_the_units(tmp_path: Path):
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("ISOFLEET_REQUIRE_SERVERS"):
            pytest.fail("systemd-analyze is not installed")
        pytest.skip("systemd-analyze is not installed")
    programs = str(Path(sys.executable).parent)
    for unit in UNITS:  # the programs must exist where a unit says
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/isofleet/bin/", f"{programs}/"))

    def verify() -> str:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *tmp_path.iterdir()], capture_output=True, text=True, timeout=60
        )
        return done.stdout + done.stderr

    assert verify() == ""
    (tmp_path / UNITS[0].name).write_text(UNITS[0].read_text() + "\n[Service]\nNoNewPrivilege=yes\n")
    assert "NoNewPrivilege" in verify()


def test_units_give_up_what_they_do_not_need():
    for path in UNITS:
        lines = set(path.read_text().splitlines())
        if path.suffix == ".service":
            assert {"NoNewPrivileges=yes", "ProtectSystem=strict", "User=isofleet", "StateDirectory=isofleet"} <= lines
            [patience] = [line for line in lines if line.startswith("TimeoutStopSec=")]
            assert int(patience.partition("=")[2]) >= 20  # a driver commits what is complete within 15


# Command lines.


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every call of isofleet, python and ray in the files, with where it stands."""
    for name, document in DOCUMENTS.items():
        for found in walk(document):
            if "entrypoint" in found:
                yield name, shlex.split(variables(found["entrypoint"]))
        for container in containers(document):
            hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
            if hook:
                assert hook[:2] == ["/bin/bash", "-c"]
                yield from shell_calls(name, hook[2])
            if "args" in container:  # to the image's entrypoint
                yield name, ["isofleet", *container["args"]]
    for path in UNITS:
        for command in re.findall("^Exec[A-Za-z]*=(.*)$", path.read_text(), re.MULTILINE):
            yield path.name, shlex.split(command)
    for path in sorted((DEPLOY / "ray-up").glob("*.yaml")):
        for key, commands in yaml.safe_load(path.read_text()).items():
            if key.endswith("_commands"):
                for command in commands:
                    yield from shell_calls(path.name, command)


COMMAND_LINES = list(command_lines())


@pytest.mark.parametrize(("where", "words"), COMMAND_LINES, ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_line_is_understood(where: str, words: list[str]):
    assert parse(words)


def test_the_files_hold_the_command_lines_that_they_should():
    called = {(where.partition(":")[0], parse(words)) for where, words in COMMAND_LINES}
    assert called >= {
        ("scheduler.yaml", "schedule"),
        ("cronjob.yaml", "schedule"),
        ("raycronjob.yaml", "reconstruct"),
        ("rayjob.yaml", "reconstruct"),
        ("raycluster.yaml", "drain-node"),
        ("isofleet-schedule.service", "schedule"),
        ("isofleet-schedule-once.service", "schedule"),
        ("isofleet-ray.service", "start"),
        ("aws.yaml", "start"),
    }


@pytest.mark.parametrize(
    "line",
    [
        "isofleet schedule --twice",
        "isofleet scheduel",
        "python -m jobs.reconstruct in out --resolutoin 64",
        "isofleet reconstruct in",
        "ray drain-node --reason PREEMPTED --reason-message x",
        "ray job submit --address a --working-dir . -- python -m jobs.reconstruct in out --adress auto",
    ],
)
def test_a_command_line_with_a_slip_is_refused(line: str):
    with pytest.raises((click.UsageError, typer.BadParameter.__base__)):  # Typer has a click of its own
        parse(shlex.split(line))


# Configuration, ports, names and sizes.


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_the_configurations_load_and_scale_from_nothing(path: Path):
    environment = {
        entry["name"]: entry.get("value", "")
        for document in DOCUMENTS.values()
        for container in containers(document)
        for entry in container.get("env", ())
    }
    loaded = config.load(path, environment, {})
    assert loaded.ray.wait_for_nodes_seconds > 0
    sizing.check_explicit(loaded.actors)


def cluster_of(folder: str) -> tuple[list[tuple[int, float, float]], config.Config]:
    """Groups of workers (how many at most, GPUs and CPUs of each), and the configuration of their runs."""
    if folder == "kubernetes":
        spec = DOCUMENTS["raycluster.yaml:RayCluster"]["spec"]
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        groups = [
            (group["maxReplicas"], *(float(group["rayStartParams"][f"num-{kind}"]) for kind in ("gpus", "cpus")))
            for group in spec["workerGroupSpecs"]
        ]
    else:
        types = yaml.safe_load((DEPLOY / folder / "aws.yaml").read_text())["available_node_types"]
        assert types["head"]["resources"]["CPU"] == 0
        groups = [(one["max_workers"], one["resources"]["GPU"], one["resources"]["CPU"]) for one in [types["gpu"]]]
    return groups, config.load(DEPLOY / folder / "ray_config.yaml", {}, {})


@pytest.mark.parametrize("folder", ["kubernetes", "ray-up"])
def test_the_configured_actors_fit_the_cluster_at_its_largest(folder: str):
    groups, loaded = cluster_of(folder)
    total = {
        "GPU": sum(count * gpus for count, gpus, _ in groups),
        "CPU": sum(count * cpus for count, _, cpus in groups),
    }
    reconstructors, meshers = sizing.actor_needs(loaded.actors, total)
    assert reconstructors.count * reconstructors.gpus <= total["GPU"]
    assert reconstructors.count * reconstructors.cpus + meshers.count * meshers.cpus <= total["CPU"]
    assert reconstructors.cpus == 0  # else meshers that come first could keep a GPU idle
    for _, gpus, cpus in groups:
        assert gpus >= reconstructors.gpus or cpus >= meshers.cpus


def test_gpu_pods_leave_cpus_to_their_reconstructor():
    for group in DOCUMENTS["raycluster.yaml:RayCluster"]["spec"]["workerGroupSpecs"]:
        [container] = group["template"]["spec"]["containers"]
        gpus = int(group["rayStartParams"]["num-gpus"])
        assert int(container["resources"]["limits"].get("nvidia.com/gpu", "0")) == gpus
        assert int(group["rayStartParams"]["num-cpus"]) + 2 * gpus == int(container["resources"]["requests"]["cpu"])
        assert (group["minReplicas"], group["replicas"]) == (0, 0)
        hook = container["lifecycle"]["preStop"]["exec"]["command"][2]
        deadline, sleep = map(int, re.findall(r"--deadline-remaining-seconds (\d+); sleep (\d+)", hook)[0])
        # Google's spot machines leave 25 s, of which Ray's command takes up to 15.
        assert deadline < sleep <= 8
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] >= 30


def test_ports_agree_with_the_configuration():
    loaded = config.load(KUBERNETES / "ray_config.yaml", {}, {})
    metrics = loaded.metrics
    ports = set(range(metrics.port, metrics.port + metrics.port_tries))
    [head] = containers(DOCUMENTS["raycluster.yaml:RayCluster"]["spec"]["headGroupSpec"])
    named = {port["name"]: port["containerPort"] for port in head["ports"]}
    assert {port for name, port in named.items() if name.startswith("driver-")} == ports
    assert "metrics" not in named  # KubeRay would take it for Ray's own

    discovered = {one["url"] for one in DOCUMENTS["monitors.yaml:ScrapeConfig"]["spec"]["httpSDConfigs"]}
    assert discovered == {f"http://isofleet-head-svc.isofleet.svc:{port}/discovery" for port in ports}
    assert metrics.host == "0.0.0.0"

    [container] = containers(DOCUMENTS["scheduler.yaml:Deployment"])
    service = DOCUMENTS["scheduler.yaml:Service"]
    assert container["ports"] == [{"name": "metrics", "containerPort": metrics.scheduler_port}]
    assert service["spec"]["ports"] == [{"name": "metrics", "port": metrics.scheduler_port, "targetPort": "metrics"}]
    monitor = DOCUMENTS["monitors.yaml:ServiceMonitor"]["spec"]
    assert monitor["endpoints"][0]["port"] == "metrics"
    assert monitor["selector"]["matchLabels"] == service["metadata"]["labels"] == service["spec"]["selector"]
    labels = DOCUMENTS["scheduler.yaml:Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_names_that_files_share_are_the_same():
    cluster = DOCUMENTS["raycluster.yaml:RayCluster"]["metadata"]["name"]
    mounts: dict[str, str] = {}
    for document in DOCUMENTS.values():
        for found in walk(document):
            assert found.get("ray.io/cluster", cluster) == cluster
            assert found.get("serviceAccountName", "isofleet") == "isofleet"
            assert found.get("configMap", {"name": "isofleet"}) == {"name": "isofleet"}
            if found.get("name") == "RAY_API_SERVER_ADDRESS":
                assert found["value"] == f"http://{cluster}-head-svc:8265"  # KubeRay's name for the head's service
        for container in containers(document):
            mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", ())}
            assert mounts["config"] == container.get("workingDir", mounts["config"])
        for found in walk(document):
            if "--config" in (words := found.get("entrypoint", "").split()):
                assert words[words.index("--config") + 1] == f"{mounts['config']}/ray_config.yaml"


def test_the_jobs_own_cluster_is_the_standing_one_without_its_cpu_group():
    standing = DOCUMENTS["raycluster.yaml:RayCluster"]["spec"]
    own = DOCUMENTS["rayjob.yaml:RayJob"]["spec"]["rayClusterSpec"]
    standing["workerGroupSpecs"] = [group for group in standing["workerGroupSpecs"] if group["groupName"] == "gpu"]
    images = {one["name"]: f"{one['newName']}:{one['newTag']}" for one in
              DOCUMENTS["kustomization.yaml:Kustomization"]["images"]}  # fmt: skip
    text = yaml.safe_dump(standing)
    for name, image in images.items():
        text = text.replace(f"image: {name}\n", f"image: {image}\n")
    assert yaml.safe_load(text) == own


def test_no_file_holds_a_secret():
    for document in DOCUMENTS.values():
        assert document["kind"] != "Secret"
        for container in containers(document):
            for entry in container.get("env", ()):
                if re.search("SECRET|TOKEN|PASSWORD|KEY", entry["name"]):
                    assert "value" not in entry
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|aws_secret_access_key *=", path.read_text())


# Versions and the image.


def test_versions_are_the_tested_ones():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    pins = dict(line.split("==") for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if "==" in line)
    for found in walk(list(RAY_KINDS.values())):
        assert found.get("rayVersion", pins["ray"]) == pins["ray"]
    for image in DOCUMENTS["kustomization.yaml:Kustomization"]["images"]:
        assert image["newTag"] in (f"{project['version']}-cuda", f"{project['version']}-cpu")
    tags = re.findall(r"-t isofleet:(\S+)", (DEPLOY / "Dockerfile").read_text())
    assert tags == [f"{project['version']}-cuda", f"{project['version']}-cpu"]


def dockerfile() -> list[dict[str, Any]]:
    parser = DockerfileParser(path=str(DEPLOY / "Dockerfile"))
    return [step for step in parser.structure if step["instruction"] != "COMMENT"]


def stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """The Dockerfile's stages by name: what each is built from, and its steps."""
    made: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    steps: list[tuple[str, str]] = []
    for step in dockerfile():
        if step["instruction"] == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", step["value"]).groups()
            steps = []
            made[name] = (base, steps)
        else:
            steps.append((step["instruction"], step["value"]))
    return made


def test_the_image_copies_what_is_there_and_nothing_else():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    copied = set()
    for _, steps in stages().values():
        for instruction, value in steps:
            if instruction == "COPY" and not value.startswith("--from="):
                copied |= set(value.split()[:-1])
    assert copied == kept
    assert all((CHECKOUT / name).exists() for name in copied)
    needed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    assert {needed["project"]["readme"], *needed["project"]["license-files"]} <= copied
    packages = needed["tool"]["setuptools"]["packages"]["find"]["include"]
    assert all(any(fnmatch(name, pattern) for name in copied) for pattern in packages)


@pytest.mark.parametrize("target", ["cuda", "cpu"])
def test_the_image_runs_the_pinned_libraries_without_rights(target: str):
    made = stages()
    base, steps = made[target]
    assert base == "system"
    assert ("USER", "1000") in steps
    assert ("ENTRYPOINT", '["isofleet"]') in steps
    assert ("COPY", f"--from=built-{target} /opt/isofleet /opt/isofleet") in steps
    assert made[f"built-{target}"][0] == f"libraries-{target}"
    installs = [value for instruction, value in made[f"libraries-{target}"][1] if instruction == "RUN"]
    calls = [part for value in installs for part in value.split("&&") if "pip install" in part]
    assert calls
    assert all("--constraint constraints.txt" in call for call in calls)
    # Of one index: a CPU build of one does not work with PyPI's build of the other.
    assert ["torch torchvision" in call for call in calls if "--index-url" in call] == [True] * (target == "cpu")


def test_the_requirements_that_the_image_installs_are_the_projects():
    [made] = [value for _, value in stages()["libraries"][1] if "requirements.txt" in value]
    command = shlex.split(made)
    assert command[:2] == ["python", "-c"]
    done = subprocess.run(
        [sys.executable, "-c", command[2]], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True
    )
    pins = [line.split("==")[0].lower() for line in (CHECKOUT / "constraints.txt").read_text().splitlines()]
    names = [Requirement(line).name.lower() for line in done.stdout.splitlines()]
    assert {"ray", "torch", "boto3"} <= set(names)
    assert {name.replace("-", "_") for name in names} <= {name.replace("-", "_") for name in pins}
