"""A Ray cluster as the scheduler asks for it.

Works on: submissions, ids and job states. Knows nothing about schedules or ticks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.config import Config
from cluster.errors import RequestError, RunError
from jobs.ray_jobs import RayJobs
from jobs.schedule_state import Submission
from jobs.scheduler import ClusterError
from jobs.submit import JobRequest, submit


class ScheduledJobs:
    """The jobs of the cluster that `config.submit` names. Each call connects anew: it may have moved or restarted."""

    def __init__(self, config: Config, config_file: Path | None) -> None:
        """`config_file` is what the jobs read."""
        self._config = config
        self._config_file = config_file

    def submit(self, submission: Submission) -> None:
        """Start the job, unless the cluster knows its id. Raises ClusterError."""
        request = JobRequest(
            submission.catalog, submission.output, tuple(submission.options), self._config, self._config_file
        )
        with self._asked() as jobs:
            submit(jobs, request, submission_id=submission.submission_id)

    def state(self, submission_id: str) -> str | None:
        """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED; None for a job that the cluster does not know. Raises
        ClusterError."""
        with self._asked() as jobs:
            return jobs.state(submission_id)

    def stop(self, submission_id: str) -> None:
        """Tell the job to end. Raises ClusterError."""
        with self._asked() as jobs:
            jobs.stop(submission_id)

    @contextmanager
    def _asked(self) -> Iterator[RayJobs]:
        try:
            yield RayJobs(self._config.submit)
        except (RequestError, RunError) as error:
            raise ClusterError(str(error)) from error
