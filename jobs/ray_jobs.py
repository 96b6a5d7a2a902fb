"""The jobs of one Ray cluster, through its Jobs API: find, start, read, follow and stop them.

Works on: an HTTP address, submission ids and job states. Knows nothing about images or what a job does.
The token comes from where Ray looks for it (RAY_AUTH_MODE, RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH), further headers from
RAY_JOB_HEADERS, as for `ray job submit`: neither ever stands in an argument, a configuration or a message.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Thread
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from cluster.config import SubmitSettings
from cluster.errors import RequestError, RunError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"  # in a job's environment: seconds between SIGTERM and SIGKILL
_RAYS_STOP_WAIT = 3
_ADDRESS = "RAY_API_SERVER_ADDRESS"
_HEADERS = "RAY_JOB_HEADERS"
_ID = re.compile(r"[\w.-]+", re.ASCII)
_POLL_SECONDS = 0.5
_PENDING_SECONDS = 10.0  # a job that is about to start does so within; Ray stops none that has not started
_STOP_MARGIN_SECONDS = 30.0  # beyond SIGKILL, for the cluster to notice that the job has ended


class RayJobs:
    """The Jobs API of one cluster. Raises RequestError where it cannot be reached or refuses the token."""

    def __init__(self, settings: SubmitSettings) -> None:
        self.address = settings.address or os.environ.get(_ADDRESS) or DEFAULT_ADDRESS
        if not re.match("https?://", self.address):
            raise RequestError(f"submit.address: {self.address} is not the http:// or https:// address of a Jobs API")
        if settings.ca_bundle is not None and not os.path.exists(settings.ca_bundle):
            raise RequestError(f"submit.ca_bundle: there is no file {settings.ca_bundle}")
        verify = (settings.ca_bundle or True) if settings.verify_tls else False
        with self._asking(RequestError), _address_given(self.address):
            self._client = JobSubmissionClient(self.address, headers=_headers(), verify=verify)

    def version(self) -> str:
        """The version of the cluster's Ray."""
        with self._asking(RunError):
            # The client's own get_version gives that of the API.
            return str(self._client._do_request("GET", "/api/version").json()["ray_version"])

    def find(self, submission_id: str) -> JobDetails | None:
        """What the cluster knows of a job, or None if it knows no such one."""
        if not _ID.fullmatch(submission_id):
            raise RequestError(f"{submission_id!r} is not a job's id; an OUTPUT is written with a /, such as ./meshes")
        with self._asking(RunError):
            try:
                return self._client.get_job_info(submission_id)
            except RuntimeError as error:
                if "status code 404" in str(error):  # the client has no other way of saying so
                    return None
                raise

    def get(self, submission_id: str) -> JobDetails:
        """What the cluster knows of a job. Raises RequestError if it knows no such one."""
        details = self.find(submission_id)
        if details is None:
            raise RequestError(
                f"the cluster at {self.address} knows no job {submission_id}; an OUTPUT is written with a /, such as "
                f"./{submission_id}"
            )
        return details

    def state(self, submission_id: str) -> str | None:
        """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED; None if the cluster knows no such job."""
        details = self.find(submission_id)
        return details.status.value if details else None

    def start(
        self,
        submission_id: str,
        entrypoint: str,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
        settings: SubmitSettings,
    ) -> bool:
        """Start a job. False: the cluster knows the id already, and started nothing.

        Raises RequestError when it does not take the job.
        """
        try:
            with self._asking(RequestError, "the job was not accepted: "):
                self._client.submit_job(
                    submission_id=submission_id,
                    entrypoint=entrypoint,
                    runtime_env=dict(runtime_env),
                    metadata=dict(metadata),
                    entrypoint_num_cpus=settings.entrypoint_cpus,
                    entrypoint_num_gpus=settings.entrypoint_gpus,
                    entrypoint_memory=settings.entrypoint_memory_bytes,
                    entrypoint_resources=settings.entrypoint_resources or None,
                )
        except RequestError:
            # Somebody else was faster, or it was taken and the answer lost: either way, it is there.
            if self.find(submission_id) is None:
                raise
            return False
        return True

    def log(self, submission_id: str) -> str:
        """All that a job has written so far."""
        self.get(submission_id)
        with self._asking(RunError):
            return self._client.get_job_logs(submission_id)

    def follow(self, submission_id: str, on_text: Callable[[str], None]) -> int:
        """Pass on a job's log until it ends. Returns 0 when it succeeded, else 1.

        Raises RunError when the cluster stops answering; the job itself goes on.
        """
        self.get(submission_id)

        texts: SimpleQueue[str | Exception | None] = SimpleQueue()

        async def tail() -> None:
            async for text in self._client.tail_job_logs(submission_id):
                texts.put(text)

        def read() -> None:
            try:
                asyncio.run(tail())
                texts.put(None)
            except Exception as error:
                texts.put(error)

        # In a thread of its own: a Ctrl-C would reach whatever the event loop is in, and be lost in some of it.
        Thread(target=read, daemon=True).start()
        try:
            while (text := texts.get()) is not None:
                if isinstance(text, Exception):
                    raise text
                on_text(text)
            status = self._client.get_job_status(submission_id)
        except (OSError, RuntimeError, RayError, aiohttp.ClientError) as error:
            raise RunError(f"lost sight of {submission_id}: {_line(error)}; it may still be running.") from error
        if not status.is_terminal():  # the cluster closed the connection in good order, as it does when it stops
            raise RunError(f"lost sight of {submission_id}: its log broke off; it may still be running.")
        on_text(f"job {submission_id}: {status.value}\n")
        return 0 if status == JobStatus.SUCCEEDED else 1

    def stop(self, submission_id: str) -> None:
        """Tell a job to end: Ray sends it SIGTERM and, if it does not end in time, SIGKILL."""
        with self._asking(RunError):
            self._client.stop_job(submission_id)

    def cancel(self, submission_id: str) -> str:
        """Tell a job to end, wait until it has, and return its state. Raises RunError if it does not end."""
        details = self.get(submission_id)
        if details.status.is_terminal():
            return details.status.value
        self.stop(submission_id)
        told = time.monotonic()
        variables = (details.runtime_env or {}).get("env_vars") or {}
        bound = float(variables.get(STOP_WAIT, _RAYS_STOP_WAIT)) + _STOP_MARGIN_SECONDS
        while not (details := self.get(submission_id)).status.is_terminal():
            waited = time.monotonic() - told
            if details.status == JobStatus.PENDING and waited > _PENDING_SECONDS:
                raise RunError(
                    f"{submission_id} is told to stop, but still waits for its resources or runtime environment: it "
                    "ends as soon as it has them, or when Ray gives up starting it."
                )
            if waited > bound:
                raise RunError(f"{submission_id} was told to stop, and is still {details.status.value}; look at it.")
            time.sleep(_POLL_SECONDS)
        return details.status.value

    @contextmanager
    def _asking(self, kind: type[RequestError] | type[RunError], what: str = "") -> Iterator[None]:
        """Turns what the client raises into one sentence."""
        try:
            yield
        except AuthenticationError as error:
            raise RequestError(
                f"{self.address}: the cluster does not know this token; set RAY_AUTH_MODE to token and "
                "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the cluster's."
            ) from error
        except requests.exceptions.InvalidHeader:
            # Its message repeats the value, which is a secret; nor is it shown as a cause.
            raise RequestError(f"{_HEADERS} or the token: a value in it cannot be an HTTP header.") from None
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            # The client makes "failed to connect" of every trouble with a connection.
            if isinstance(error.__context__, requests.exceptions.SSLError):
                raise RequestError(
                    f"{self.address}: its certificate is not trusted; name the authority's in --ca-bundle."
                ) from error
            raise kind(f"{self.address}: {what}{_line(error)}.") from error


def describe(details: JobDetails) -> dict[str, Any]:
    """What is worth showing of a job, ready for JSON."""
    return {
        "submission_id": details.submission_id,
        "state": details.status.value,
        "started_at": _time(details.start_time),
        "ended_at": _time(details.end_time),
        "exit_status": details.driver_exit_code,
        "metadata": details.metadata or {},
    }


def _time(milliseconds: int | None) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


@contextmanager
def _address_given(address: str) -> Iterator[None]:
    """Ray's client prefers RAY_API_SERVER_ADDRESS, and even RAY_ADDRESS, to the address that it is given."""
    before = os.environ.get(_ADDRESS)
    os.environ[_ADDRESS] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ADDRESS]
        else:
            os.environ[_ADDRESS] = before


def _headers() -> dict[str, str]:
    try:
        headers = json.loads(os.environ.get(_HEADERS) or "{}")
    except ValueError:
        headers = None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise RequestError(f'{_HEADERS} must be a JSON object of texts, such as {{"Authorization": "Bearer …"}}.')
    return headers


def _line(error: BaseException) -> str:
    """The last line, which says what is wrong at the end of a traceback of the server's."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")
