r"""The main job as a job of a Ray cluster.

Works on: a request, the code that carries it out, and ids. Knows nothing about images, or how a cluster is spoken to.
The same job without this module, from a checkout:

    ray job submit --address http://HEAD:8265 --working-dir . \
        --runtime-env-json '{"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "20"}}' -- \
        python -m jobs.reconstruct CATALOG OUTPUT --address auto
"""

import hashlib
import itertools
import json
import math
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.config import DEFAULT_PATH, Config
from cluster.errors import RequestError, RunError
from cluster.store import canonical
from jobs import run
from jobs.ray_jobs import STOP_WAIT, RayJobs

_PACKAGES = ("cluster", "workers", "jobs")
_OURS = ("catalog", "output", "code_version")  # keys of a job's metadata
_RESOURCES = ("entrypoint_cpus", "entrypoint_gpus", "entrypoint_memory_bytes", "entrypoint_resources")
_ADDRESSES = ("--previous", "--weights")  # options of reconstruct whose values say where something lies
_ENDED_BADLY = ("FAILED", "STOPPED")
_LEAVING_SECONDS = 5  # from the last commit after SIGTERM to the end of the process; measured: 1 to 2 s


@dataclass(frozen=True)
class JobRequest:
    """What a job is to do: `reconstruct CATALOG OUTPUT OPTIONS` on this installation's code, with the configuration in
    `config_file`. The cluster brings the libraries, and `python` on the PATH of the node that runs the job.

    `config` is the submitter's: how to submit, and how long the job may take to stop.
    """

    catalog: str
    output: str
    options: Sequence[str]
    config: Config
    config_file: Path | None

    def __post_init__(self) -> None:
        """Raises RequestError for a runtime environment or metadata that collide with ours."""
        settings = self.config.submit
        if "working_dir" in settings.runtime_env:
            raise RequestError("submit.runtime_env: working_dir is the code that isofleet sends; leave it out.")
        if not isinstance(settings.runtime_env.get("env_vars") or {}, dict):
            raise RequestError("submit.runtime_env: env_vars must be a mapping of text to text.")
        if taken := [key for key in _OURS if key in settings.metadata]:
            raise RequestError(f"submit.metadata: {taken[0]} is set by isofleet submit; choose another key.")

    def command(self) -> list[str]:
        catalog, output = canonical(self.catalog), canonical(self.output)  # the job runs in a folder of its own
        return ["python", "-m", "jobs.reconstruct", catalog, output, "--address", "auto", *_anywhere(self.options)]

    def runtime_env(self) -> dict[str, Any]:
        """The configured one, and how long Ray waits between SIGTERM and SIGKILL."""
        environment = self.config.submit.runtime_env
        seconds = math.ceil(self.config.reconstruct.stop_seconds) + _LEAVING_SECONDS
        return environment | {"env_vars": {STOP_WAIT: str(seconds)} | (environment.get("env_vars") or {})}

    def metadata(self) -> dict[str, str]:
        facts = canonical(self.catalog), canonical(self.output), run.code_version()
        return self.config.submit.metadata | dict(zip(_OURS, facts, strict=True))


def _anywhere(options: Sequence[str]) -> list[str]:
    """Options of `reconstruct`, the paths of outputs and bundles among them made absolute, as the catalog's is."""
    spelled, takes_address = [], ""
    for option in options:
        name, equals, value = option.partition("=")
        if takes_address:
            spelled.append(_absolute(option, takes_address))
            takes_address = ""
        elif equals and name in _ADDRESSES:
            spelled.append(f"{name}={_absolute(value, name)}")
        else:
            spelled.append(option)
            takes_address = option if option in _ADDRESSES else ""
    return spelled


def _absolute(address: str, option: str) -> str:
    by_category = option == "--weights" and "=" in address
    category, equals, bundle = address.partition("=") if by_category else ("", "", address)
    return address if bundle == "embedded" else f"{category}{equals}{canonical(bundle)}"


@dataclass(frozen=True)
class Submitted:
    """A job that the cluster has. `is_new` is False for one that it had already, whose `state` is the word for it."""

    submission_id: str
    state: str
    is_new: bool


def submission_id_for(request: JobRequest) -> str:
    """The id of a request: equal for equal requests, that is for the same command, code, configuration file, runtime
    environment and resources. Metadata do not count."""
    asked = {
        "command": request.command(),
        "code": run.code_version(),
        "configuration": request.config_file.read_text() if request.config_file else None,
        "runtime_env": request.runtime_env(),
        "resources": request.config.submit.model_dump(include=set(_RESOURCES)),
    }
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
    return f"isofleet-{digest[:16]}"


def submit(jobs: RayJobs, request: JobRequest, submission_id: str | None = None) -> Submitted:
    """Start the job that `request` asks for, unless the cluster has it already.

    Without a `submission_id` the request's own is taken. If the job of that id has failed or was stopped, the next
    attempt is ID.2, then ID.3 and so on, since Ray takes an id only once. A given id has one attempt.

    Raises RequestError when the cluster does not take the job; RunError when it stops answering.
    """
    first = submission_id or submission_id_for(request)
    for attempt in itertools.count(1):
        name = first if attempt == 1 else f"{first}.{attempt}"
        state = jobs.state(name)
        if state is None:
            if _start(jobs, request, name):
                return Submitted(name, "PENDING", True)
            state = jobs.state(name)
        if state is None:
            raise RunError(f"{jobs.address} took the job {name} and knows it no more; submit it again.")
        if submission_id is not None or state not in _ENDED_BADLY:
            return Submitted(name, state, False)
    raise AssertionError("itertools.count does not end")


def merged(standing: Mapping[str, Any], given: Any, source: str) -> dict[str, Any]:
    """The runtime environment `given` in a file over the configured one, `env_vars` variable by variable.

    Raises RequestError, naming `source`, for what is not a mapping.
    """
    if not isinstance(given, dict) or not isinstance(given.get("env_vars", {}), dict):
        raise RequestError(f"{source}: a runtime environment is a mapping, and so are its env_vars.")
    both = {**standing, **given}
    variables = {**(standing.get("env_vars") or {}), **given.get("env_vars", {})}
    return both | ({"env_vars": variables} if variables else {})


def _start(jobs: RayJobs, request: JobRequest, name: str) -> bool:
    """Send the code and start the job. False: another was faster."""
    environment, metadata = request.runtime_env(), request.metadata()
    with tempfile.TemporaryDirectory(prefix="isofleet-job-") as folder:
        _copy_code(Path(folder), request.config_file)
        command = shlex.join(request.command())
        return jobs.start(name, command, environment | {"working_dir": folder}, metadata, request.config.submit)


def _copy_code(folder: Path, config_file: Path | None) -> None:
    """Only what a job needs: an installation's own folder may hold every library there is."""
    root = Path(__file__).parent.parent
    for package in _PACKAGES:
        shutil.copytree(root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    if config_file is not None:
        shutil.copy(config_file, folder / DEFAULT_PATH.name)
