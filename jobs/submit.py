r"""The main job as a job of a Ray cluster, through its Jobs API.

Works on: a cluster's HTTP address, a command line and job states. Knows nothing about images or what the job does.
The same job without this module, from a checkout:

    ray job submit --address http://HEAD:8265 --working-dir . -- \
        python -m jobs.reconstruct CATALOG OUTPUT --address auto
"""

import asyncio
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient

from cluster.errors import RequestError, RunError

# What the packages need at run time; a cluster's image brings the libraries.
_LEFT_OUT = [
    ".git",
    ".venv",
    "demo-output",
    "docs",
    "tests",
    "benchmarks",
    "**/__pycache__",
    "*.egg-info",
    ".*_cache",
]


@dataclass(frozen=True)
class Job:
    """A job that a cluster has accepted."""

    client: JobSubmissionClient
    submission_id: str


def submit(dashboard: str, catalog: str, output: str, options: list[str]) -> Job:
    """Submit `reconstruct CATALOG OUTPUT` with further `options`, on the code of this installation.

    Raises RequestError when no Jobs API answers at `dashboard` or it refuses the job.
    """
    command = ["python", "-m", "jobs.reconstruct", catalog, output, "--address", "auto", *options]
    root = Path(__file__).parent.parent
    try:
        client = JobSubmissionClient(dashboard)
        submission_id = client.submit_job(
            entrypoint=shlex.join(command),
            runtime_env={"working_dir": str(root), "excludes": _LEFT_OUT},
            metadata={"catalog": catalog, "output": output},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
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
    except (ConnectionError, RuntimeError) as error:
        raise RunError(f"lost sight of {job.submission_id}: {error}; it may still be running.") from error
    on_text(f"job {job.submission_id}: {status.value}\n")
    return 0 if status == JobStatus.SUCCEEDED else 1
