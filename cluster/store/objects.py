"""What every store promises: objects, the errors of asking for them, and the observer of each request.

Works on: bytes and what is known of them. Knows nothing about folders or S3.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

# operation (list, get, head, put, and remove, which is never a run's), outcome ("ok" or a StoreError's), bytes
# received, bytes sent, and how often it was tried again. Called from whichever thread made the request.
Observer = Callable[[str, str, int, int, int], None]


class StoreError(Exception):
    """A request to a store failed: one sentence without secrets, and the URI that was asked for."""

    outcome: ClassVar[str] = "error"

    def __init__(self, message: str, uri: str) -> None:
        super().__init__(message, uri)  # both in args, so that it survives pickling between processes
        self.message = message
        self.uri = uri

    def __str__(self) -> str:
        return self.message


class NotFound(StoreError):  # noqa: N818
    """There is no such object."""

    outcome = "not_found"


class AccessDenied(StoreError):  # noqa: N818
    """The store knows who asks, or does not, and refuses."""

    outcome = "access_denied"


class AlreadyExists(StoreError):  # noqa: N818
    """`put(if_absent=True)` found an object there."""

    outcome = "already_exists"


class TooLarge(StoreError):  # noqa: N818
    """The object has more bytes than `get` was allowed to read."""

    outcome = "too_large"


class Unavailable(StoreError):  # noqa: N818
    """The store cannot be used: unreachable after every retry, no credentials, no such bucket, disk full."""

    outcome = "unavailable"


class CredentialsError(Unavailable):
    """Whoever asks has no credentials, or expired ones: every request would fail until that is put right."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of one object.

    `uri` is canonical. `key` is relative to the listed prefix; from `get`, `head` and `put` it is the whole
    key in its bucket, or the absolute path. `size` is in bytes. `etag` changes when the content does: S3's
    without its quotes; for a file its size and modification time in nanoseconds, both hexadecimal, because a
    digest would have to read every file. `modified` is in seconds since 1970 UTC, whole ones on some servers; None
    from S3's `put`, whose answer does not say. It is no part of an object's identity, so comparisons leave it out.
    """

    uri: str
    key: str
    size: int
    etag: str
    modified: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Object:
    """An object's bytes and what was true of it when they were read."""

    data: bytes
    info: ObjectInfo


class ObjectStore(Protocol):
    """What both stores promise. Every method takes whole URIs and raises StoreError, and is thread-safe."""

    def list(self, prefix_uri: str, after: str | None = None) -> Iterator[ObjectInfo]:
        """Stream the objects below a folder-like prefix, with or without its final `/`, sorted by key.

        `after` resumes strictly after that relative key. A prefix with nothing below it gives nothing. Keys
        that end in `/` (the markers that S3 consoles make for folders) are no objects.
        """

    def get(self, uri: str, *, max_bytes: int | None = None) -> Object:
        """Read an object. One larger than `max_bytes` raises TooLarge before its body is read."""

    def get_tail(self, uri: str, size: int) -> Object:
        """Read the last `size` bytes (at least 1), or all where there are fewer; `info.size` is the whole's."""

    def get_range(self, uri: str, start: int, size: int) -> bytes:
        """Read `size` bytes (at least 1) from byte `start` on, fewer where the object ends. Raises StoreError where
        it has none there."""

    def head(self, uri: str) -> ObjectInfo:
        """Size, ETag and time without the body."""

    def put(self, uri: str, data: bytes, *, if_absent: bool = False, content_type: str | None = None) -> ObjectInfo:
        """Write an object: readers see all of it or nothing.

        With `if_absent`, exactly one of any number of concurrent writers succeeds; the others get
        AlreadyExists. A folder has nowhere to keep `content_type`.
        """

    def remove(self, uri: str) -> None:
        """Delete an object; one that is not there is no error. No run does so: only what was written to try a store
        out, and by whoever wrote it, is ever deleted."""


@dataclass(slots=True)
class Traffic:
    received: int = 0
    sent: int = 0
    retries: int = 0


class Observed(ABC):
    """Where both stores tell the observer of a request and turn a library's error into a StoreError."""

    def __init__(self, on_request: Observer | None = None) -> None:
        self._on_request = on_request

    @abstractmethod
    def translate(self, error: Exception, uri: str) -> StoreError | None:
        """What a library's error means; None for a fault of ours."""

    @contextmanager
    def request(self, operation: str, uri: str) -> Iterator[Traffic]:
        traffic = Traffic()
        outcome = "ok"
        try:
            yield traffic
        except StoreError as error:
            outcome = error.outcome
            raise
        except Exception as error:
            outcome = "error"
            failure = self.translate(error, uri)
            if failure is None:
                raise
            outcome = failure.outcome
            raise failure from error
        finally:
            if self._on_request is not None:
                self._on_request(operation, outcome, traffic.received, traffic.sent, traffic.retries)


def check_size(info: ObjectInfo, max_bytes: int | None) -> None:
    if max_bytes is not None and info.size > max_bytes:
        raise TooLarge(f"{info.uri} has {info.size} bytes, more than the {max_bytes} allowed", info.uri)
