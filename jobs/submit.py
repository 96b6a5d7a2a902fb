r"""The main job as a job of a Ray cluster, through its Jobs API.

Works on: a cluster's HTTP address, a command line and job states. Knows nothing about images or what the job does.
The same job without this module, from a checkout:

    ray job submit --address http://HEAD:8265 --working-dir . -- \
        python -m jobs.reconstruct CATALOG OUTPUT --address auto
"""

import asyncio
import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from cluster.config import DEFAULT_PATH
from cluster.errors import RequestError, RunError
from cluster.store import canonical

_PACKAGES = ("cluster", "workers", "jobs")


@dataclass(frozen=True)
class Job:
    """A job that a cluster has accepted."""

    client: JobSubmissionClient
    submission_id: str


def submit(dashboard: str, catalog: str, output: str, options: list[str]) -> Job:
    """Submit `reconstruct CATALOG OUTPUT` with further `options`, on the code of this installation and with
    `./ray_config.yaml`, if there is one. The cluster brings the libraries, and `python` on its head's PATH.

    Raises RequestError when no Jobs API answers at `dashboard`, or it refuses the token or the job.
    """
    catalog, output = canonical(catalog), canonical(output)  # the job runs in a folder of its own
    command = ["python", "-m", "jobs.reconstruct", catalog, output, "--address", "auto", *options]
    with tempfile.TemporaryDirectory(prefix="isofleet-job-") as folder:
        _copy_code(Path(folder))
        try:
            client = JobSubmissionClient(dashboard)
            submission_id = client.submit_job(
                entrypoint=shlex.join(command),
                runtime_env={"working_dir": folder},
                metadata={"catalog": catalog, "output": output},
            )
        except AuthenticationError as error:
            raise RequestError(
                f"--dashboard {dashboard}: the cluster does not know this token; set RAY_AUTH_MODE to token and "
                "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the cluster's."
            ) from error
        except (OSError, RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")
            raise RequestError(f"--dashboard {dashboard}: the job was not accepted ({reason}).") from error
    return Job(client, submission_id)


def follow(job: Job, on_text: Callable[[str], None]) -> int:
    """Pass on the job's log until it ends. Returns 0 when it succeeded, else 1.

    Raises RunError when the cluster stops answering; the job itself goes on.
    """

    async def tail() -> None:
        async for text in job.client.tail_job_logs(job.submission_id):
            on_text(text)

    try:
        asyncio.run(tail())
        status = job.client.get_job_status(job.submission_id)
    except (OSError, RuntimeError, RayError, aiohttp.ClientError) as error:
        raise RunError(f"lost sight of {job.submission_id}: {error}; it may still be running.") from error
    if not status.is_terminal():  # the cluster closed the connection in good order, as it does when it stops
        raise RunError(f"lost sight of {job.submission_id}: its log broke off; it may still be running.")
    on_text(f"job {job.submission_id}: {status.value}\n")
    return 0 if status == JobStatus.SUCCEEDED else 1


def _copy_code(folder: Path) -> None:
    """Only what a job needs: an installation's own folder may hold every library there is."""
    root = Path(__file__).parent.parent
    for package in _PACKAGES:
        shutil.copytree(root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    if DEFAULT_PATH.exists():
        shutil.copy(DEFAULT_PATH, folder)
