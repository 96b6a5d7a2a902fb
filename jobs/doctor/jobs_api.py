"""The Jobs API that `submit` and the scheduler use: whether it answers, and takes the token.

Works on: a configuration. Knows nothing about jobs. Runs in a process apart, because it imports Ray.
"""

from typing import Any

import ray

from cluster.config import Config
from cluster.errors import RequestError, RunError
from jobs.doctor.finding import Finding, failure, ok, sentence, warning
from jobs.ray_jobs import RayJobs


def look(config: dict[str, Any]) -> list[Finding]:
    """Whether the Jobs API can be used."""
    try:
        jobs = RayJobs(Config.model_validate(config).submit)
        theirs = jobs.version()
    except (RequestError, RunError) as error:
        return [failure("jobs api", sentence(error))]
    if theirs != ray.__version__:
        said = f"{jobs.address} is of a cluster with Ray {theirs}, and here is {ray.__version__}"
        return [warning("jobs api", f"{said}: install the cluster's version here")]
    return [ok("jobs api", f"{jobs.address} answers and takes the token, Ray {theirs} as here")]
