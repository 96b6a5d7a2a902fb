"""When a request to S3 is made again, how often, and for how long.

Works on: a request as a function of a client. Knows nothing about what is asked.
botocore could repeat most of them, but not a body that breaks off while it is read, nor a request whose credentials
have expired, and without a bound in time; so its own retries are off, and there is one rule for all.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from botocore import exceptions as botocore_errors
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from cluster.store.objects import Traffic

Answer = TypeVar("Answer")

# Answers that have the same cause the next moment as little as the last: the server's trouble, not the request's.
_TEMPORARY_STATUS = {
    409,  # another conditional PUT to the same key is under way (S3's "ConditionalRequestConflict")
    429, 500, 502, 503, 504,
}  # fmt: skip
_TEMPORARY_CODES = {
    # The body was damaged on its way; the last is what radosgw says.
    "BadDigest", "IncompleteBody", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch",
    "RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "Throttling", "ThrottlingException",
}  # fmt: skip
EXPIRED_CODES = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
# No answer, or only part of one.
BROKEN = (
    botocore_errors.HTTPClientError,  # refused, reset, timed out, closed in the middle of the answer
    botocore_errors.ConnectionError,
    botocore_errors.IncompleteReadError,
    botocore_errors.FlexibleChecksumError,
    ResponseParserError,
    botocore_errors.CredentialRetrievalError,  # from the machine's role, which is asked over the network too
    HTTPError,  # of an answer that botocore reads whole, it lets urllib3's own errors through
)


class Retries:
    """Makes requests with one client, and with a new one when its credentials have expired."""

    def __init__(self, connect: Callable[[], Any], max_attempts: int, max_seconds: float) -> None:
        """`connect` makes a boto3 client of the credentials that are good now. No attempt begins later than
        `max_seconds` after the first."""
        self._connect = connect
        self._max_attempts = max_attempts
        self._max_seconds = max_seconds
        self._lock = threading.Lock()
        self.client = connect()

    def run(self, ask: Callable[[Any], Answer], traffic: Traffic) -> Answer:
        """What `ask` returns of a client, repeated while it raises what may pass; `traffic` counts the repetitions.

        `ask` must be harmless to repeat, also where an attempt that raised was carried out. Raises its last error.
        """
        started, attempt = time.monotonic(), 1
        while True:
            client = self.client
            try:
                return ask(client)
            except Exception as error:
                pause = _pause(attempt)
                late = time.monotonic() + pause > started + self._max_seconds
                if not _may_pass(error) or attempt == self._max_attempts or late:
                    raise
                expired = error_code(error) in EXPIRED_CODES
            time.sleep(pause)
            if expired:
                self._renew(client)
            traffic.retries += 1
            attempt += 1

    def _renew(self, expired: Any) -> None:
        """Look for credentials anew, as a profile or a role that is refreshed has them: botocore keeps those of
        the environment and of files for as long as a client lives."""
        # Not found while their file is being replaced: the next attempt looks again.
        with self._lock, suppress(botocore_errors.BotoCoreError, ValueError):
            if self.client is expired:  # no other thread has done so
                self.client = self._connect()


def error_code(error: Exception) -> str:
    """The code in the server's answer, `NoSuchKey` for instance; nothing where it did not answer."""
    return str(error.response["Error"].get("Code", "")) if isinstance(error, botocore_errors.ClientError) else ""


def _may_pass(error: Exception) -> bool:
    if isinstance(error, botocore_errors.ClientError):
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status in _TEMPORARY_STATUS or error_code(error) in _TEMPORARY_CODES | EXPIRED_CODES
    return isinstance(error, BROKEN)


def _pause(attempt: int) -> float:
    """Seconds: full jitter under a doubling cap (M. Brooker, "Exponential Backoff And Jitter", AWS, 2015)."""
    return random.uniform(0, min(5.0, 0.1 * 2**attempt))
