"""Objects in a folder or in S3, addressed by URI.

Works on: bytes under a plain path, `file://…` (percent-encoded) or `s3://bucket/key` (taken literally).
Knows nothing about what the bytes mean, nor about metrics: an observer is told of every request.
Both stores list keys in the byte order of their UTF-8 form, which is also Python's order of `str`, so that
the same objects fall into the same shards wherever they lie.
"""

import errno
import os
import random
import re
import stat
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar, Protocol
from urllib.parse import quote, unquote

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as botocore_errors
from botocore.config import Config as BotoConfig

from cluster.config import S3Settings, StoreSettings
from cluster.errors import RequestError

# operation (list, get, head, put), outcome ("ok" or a StoreError's), bytes received, bytes sent.
# Called from whichever thread made the request.
Observer = Callable[[str, str, int, int], None]

_TEMPORARY = re.compile(r"\.isofleet-[0-9a-f]{32}\.tmp")


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


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of one object.

    `uri` is canonical. `key` is relative to the listed prefix; from `get`, `head` and `put` it is the whole
    key in its bucket, or the absolute path. `size` is in bytes. `etag` changes when the content does: S3's
    without its quotes; for a file its size and modification time in nanoseconds, both hexadecimal, because a
    digest would have to read every file.
    """

    uri: str
    key: str
    size: int
    etag: str


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

    def head(self, uri: str) -> ObjectInfo:
        """Size and ETag without the body."""

    def put(self, uri: str, data: bytes, *, if_absent: bool = False, content_type: str | None = None) -> ObjectInfo:
        """Write an object: readers see all of it or nothing.

        With `if_absent`, exactly one of any number of concurrent writers succeeds; the others get
        AlreadyExists. A folder has nowhere to keep `content_type`.
        """


class Stores:
    """The stores of one process, opened when first needed.

    Pickles to its settings alone: clients and the observer belong to their process.
    """

    def __init__(self, settings: StoreSettings, on_request: Observer | None = None) -> None:
        self.settings = settings
        self._on_request = on_request
        self._opened: dict[str, ObjectStore] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["Stores"], tuple[StoreSettings]]:
        return Stores, (self.settings,)

    def open(self, uri: str) -> ObjectStore:
        """The store that holds `uri`. Raises RequestError for a scheme that no store serves."""
        kind = "s3" if _is_s3(canonical(uri)) else "local"
        with self._lock:
            if kind not in self._opened:
                self._opened[kind] = (
                    S3Store(self.settings.s3, self._on_request) if kind == "s3" else LocalStore(self._on_request)
                )
            return self._opened[kind]


def canonical(uri: str) -> str:
    """The one spelling of a URI that is good on every machine of the cluster: `s3://…` or an absolute path.

    Raises RequestError for an unknown scheme, a remote `file://` host, or nothing at all.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if scheme is None:
        if not uri:
            raise RequestError("an address is empty; give a folder, file:// or s3://bucket/key")
        path = os.path.abspath(uri)
        # A final slash says "a folder", and abspath drops it.
        return path + "/" if uri.endswith("/") and not path.endswith("/") else path
    rest = uri[scheme.end() :]
    match scheme[1].lower():
        case "s3":
            if not rest.partition("/")[0]:
                raise RequestError(f"{uri!r} names no bucket; write s3://bucket/key")
            return f"s3://{rest}"
        case "file":
            host, _, path = rest.partition("/")
            if host not in ("", "localhost"):
                raise RequestError(f"{uri!r} is a file on another machine; write file:///absolute/path")
            return canonical("/" + unquote(path, errors="surrogateescape"))
    raise RequestError(f"{uri!r} has an unknown scheme; use a folder, file:// or s3://")


def join(root_uri: str, *parts: str) -> str:
    """`root_uri` and the keys below it as one URI.

    S3 keys are joined literally. In a folder, a key that has no place below the root (`..`, `.`, an empty
    segment, NUL) raises StoreError, so that no catalog can make a run write elsewhere.
    """
    key = "/".join(parts)
    root = root_uri if root_uri.endswith("/") else root_uri + "/"
    if _is_s3(canonical(root_uri)):
        return root + key
    if "\0" in key or any(segment in ("", ".", "..") for segment in key.split("/")):
        raise StoreError(f"the key {key!r} has no place in the folder {root_uri}", root_uri)
    return root + (quote(key) if re.match("file://", root_uri, re.IGNORECASE) else key)


def _is_s3(canonical_uri: str) -> bool:
    return canonical_uri.startswith("s3://")


@dataclass(slots=True)
class _Traffic:
    received: int = 0
    sent: int = 0


class _Observed(ABC):
    """Where both stores tell the observer of a request and turn a library's error into a StoreError."""

    def __init__(self, on_request: Observer | None = None) -> None:
        self._on_request = on_request

    @abstractmethod
    def _translate(self, error: Exception, uri: str) -> StoreError | None:
        """What a library's error means; None for a fault of ours."""

    @contextmanager
    def _request(self, operation: str, uri: str) -> Iterator[_Traffic]:
        traffic = _Traffic()
        outcome = "ok"
        try:
            yield traffic
        except StoreError as error:
            outcome = error.outcome
            raise
        except Exception as error:
            outcome = "error"
            failure = self._translate(error, uri)
            if failure is None:
                raise
            outcome = failure.outcome
            raise failure from error
        finally:
            if self._on_request is not None:
                self._on_request(operation, outcome, traffic.received, traffic.sent)


class LocalStore(_Observed):
    """Files in folders. An object is a regular file; what is being written has a hidden name beside it."""

    def list(self, prefix_uri: str, after: str | None = None) -> Iterator[ObjectInfo]:
        """Stream a tree, holding the names of one folder per level at a time.

        Symbolic links to files are followed, links to folders never: they could lead out of the root or round
        in circles. Raises StoreError at a name that is not UTF-8, since no key could spell it.
        """
        root = canonical(prefix_uri).rstrip("/") + "/"
        levels = [self._names(root, "", after)]
        while levels:
            key = next(levels[-1], None)
            if key is None:
                levels.pop()
            elif key.endswith("/"):
                levels.append(self._names(root, key, after))
            else:
                try:
                    info = _describe(root + key, key)
                except OSError as error:
                    failure = _from_os_error(error, root + key)
                    if not isinstance(failure, NotFound):
                        raise failure from error
                    # No object: deleted since its folder was read, a link to nothing, a socket.
                else:
                    yield info

    def _names(self, root: str, folder: str, after: str | None) -> Iterator[str]:
        """The keys directly in a folder, in the order of the whole tree's keys: sub-folders have their final
        `/`, so that `a.b` sorts before the content of `a` (`.` comes before `/`)."""
        names = []
        with (
            self._request("list", root + folder),
            suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(root + folder) as entries,
        ):
            for entry in entries:
                if not _is_utf8(entry.name):
                    path = os.fsencode(entry.path)
                    raise StoreError(f"the file name {path!r} is not UTF-8; rename the file", root + folder)
                if not _TEMPORARY.fullmatch(entry.name):
                    names.append(entry.name + "/" * entry.is_dir(follow_symlinks=False))
        keys = (folder + name for name in sorted(names))
        if not after:
            return keys
        # A folder that sorts before `after` still holds later keys if `after` lies inside it.
        return (key for key in keys if key > after or (key.endswith("/") and after.startswith(key)))

    def get(self, uri: str, *, max_bytes: int | None = None) -> Object:
        """Read a file. Raises Unavailable when it changes length while it is read."""
        path = canonical(uri)
        with self._request("get", uri) as traffic:
            _describe(path, path)  # before it is opened: opening a FIFO would wait for ever
            with open(path, "rb") as file:
                info = _from_stat(os.fstat(file.fileno()), path, path)
                _check_size(info, max_bytes)
                data = file.read(info.size + 1)
            traffic.received = len(data)
            if len(data) != info.size:
                raise Unavailable(f"{uri} changed while it was read; read it again", uri)
            return Object(data, info)

    def head(self, uri: str) -> ObjectInfo:
        """Size and ETag of a file."""
        path = canonical(uri)
        with self._request("head", uri):
            return _describe(path, path)

    def put(self, uri: str, data: bytes, *, if_absent: bool = False, content_type: str | None = None) -> ObjectInfo:
        """Write a file and make its missing folders. It is on disk when this returns."""
        path = canonical(uri)
        with self._request("put", uri) as traffic:
            folder, name = os.path.split(path)
            if not name:
                raise StoreError(f"{uri} is a folder; name a file in it", uri)
            try:
                os.makedirs(folder, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise StoreError(f"{uri} cannot be written: a file stands where its folder should", uri) from error
            temporary = f"{folder}/.isofleet-{uuid.uuid4().hex}.tmp"
            try:
                with open(temporary, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                    info = _from_stat(os.fstat(file.fileno()), path, path)
                if if_absent:
                    os.link(temporary, path)  # fails if the name is taken, and never shows half a file
                else:
                    os.replace(temporary, path)
            finally:
                with suppress(FileNotFoundError):  # moved away by os.replace
                    os.unlink(temporary)
            traffic.sent = len(data)
            return info

    def _translate(self, error: Exception, uri: str) -> StoreError | None:
        if isinstance(error, OSError):
            return _from_os_error(error, uri)
        if isinstance(error, ValueError):  # NUL or lone surrogates in a path
            return StoreError(f"{uri!r} is not a name that a file can have", uri)
        return None


class S3Store(_Observed):
    """Buckets of S3 or a compatible server, through boto3.

    botocore retries what it can repeat (connections, throttling, 5xx). What only its caller can is retried
    here: a body that breaks off while it is read, and a conditional PUT that met another one (409).
    """

    def __init__(self, settings: S3Settings, on_request: Observer | None = None) -> None:
        """Raises RequestError when the settings give no usable client (unknown profile, bad CA file)."""
        super().__init__(on_request)
        self._settings = settings
        if settings.ca_bundle is not None and not os.path.isfile(settings.ca_bundle):
            raise RequestError(f"store.s3.ca_bundle: there is no file {settings.ca_bundle}")
        try:
            session = boto3.session.Session(profile_name=settings.profile, region_name=settings.region)
            self._client = session.client(
                "s3",
                endpoint_url=settings.endpoint_url,
                verify=(settings.ca_bundle or None) if settings.verify_tls else False,
                config=BotoConfig(
                    retries={"mode": settings.retry_mode, "total_max_attempts": settings.max_attempts},
                    connect_timeout=settings.connect_timeout_seconds,
                    read_timeout=settings.read_timeout_seconds,
                    max_pool_connections=settings.max_connections,
                    s3={"addressing_style": settings.addressing_style},
                ),
            )
        except (botocore_errors.BotoCoreError, ValueError) as error:
            raise RequestError(f"store.s3: boto3 makes no client of these settings: {error}") from error
        self._payer: dict[str, Any] = {"RequestPayer": "requester"} if settings.requester_pays else {}
        self._encryption = {
            name: value
            for name, value in {
                "ServerSideEncryption": settings.server_side_encryption,
                "SSEKMSKeyId": settings.sse_kms_key_id,
            }.items()
            if value is not None
        }

    def list(self, prefix_uri: str, after: str | None = None) -> Iterator[ObjectInfo]:
        """Stream a prefix, one page of at most 1,000 objects at a time."""
        bucket, prefix = _split(prefix_uri)
        if prefix and not prefix.endswith("/"):
            prefix += "/"
        root = f"s3://{bucket}/{prefix}"
        arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, **self._payer}
        if after:
            arguments["StartAfter"] = prefix + after
        while True:
            with self._request("list", prefix_uri):
                page = self._client.list_objects_v2(**arguments)
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(prefix)
                if key and not key.endswith("/"):
                    yield ObjectInfo(root + key, key, found["Size"], found["ETag"].strip('"'))
            if not page["IsTruncated"]:
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def get(self, uri: str, *, max_bytes: int | None = None) -> Object:
        """Read an object. A body shorter than its declared length or with a wrong checksum is read again."""
        bucket, key = _split_object(uri)
        with self._request("get", uri) as traffic:
            for attempt in range(1, self._settings.max_attempts + 1):
                answer = self._client.get_object(Bucket=bucket, Key=key, **self._payer)
                info = ObjectInfo(f"s3://{bucket}/{key}", key, answer["ContentLength"], answer["ETag"].strip('"'))
                with closing(answer["Body"]) as body:
                    _check_size(info, max_bytes)
                    try:
                        data = body.read()
                    except _BROKEN_BODY:
                        if attempt == self._settings.max_attempts:
                            raise
                    else:
                        traffic.received += len(data)
                        return Object(data, info)
                _pause(attempt)
            raise AssertionError("max_attempts is at least 1")

    def head(self, uri: str) -> ObjectInfo:
        """Size and ETag of an object. A missing bucket is NotFound too: S3 answers HEAD without a reason."""
        bucket, key = _split_object(uri)
        with self._request("head", uri):
            return self._head(bucket, key)

    def put(self, uri: str, data: bytes, *, if_absent: bool = False, content_type: str | None = None) -> ObjectInfo:
        """Write an object: in parts if it is large, but in one request if it is conditional."""
        bucket, key = _split_object(uri)
        options: dict[str, Any] = {**self._payer, **self._encryption}
        if content_type is not None:
            options["ContentType"] = content_type
        with self._request("put", uri) as traffic:
            if if_absent:
                etag = self._put_if_absent(bucket, key, data, options)
            elif len(data) > self._settings.multipart_threshold_bytes:
                transfer = TransferConfig(multipart_threshold=self._settings.multipart_threshold_bytes)
                self._client.upload_fileobj(BytesIO(data), bucket, key, ExtraArgs=options, Config=transfer)
                etag = self._head(bucket, key).etag  # boto3 keeps it to itself, and radosgw's answer has none
            else:
                etag = self._client.put_object(Bucket=bucket, Key=key, Body=data, **options)["ETag"].strip('"')
            traffic.sent = len(data)
        return ObjectInfo(f"s3://{bucket}/{key}", key, len(data), etag)

    def _put_if_absent(self, bucket: str, key: str, data: bytes, options: dict[str, Any]) -> str:
        """The ETag of a conditional PUT.

        A PUT that succeeded but whose answer was lost is repeated by botocore, and then meets its own object:
        412. So after a repetition a 412 is our own success if the object there has our bytes. (If another
        wrote the same bytes at that moment, what was asked for is there as well.)
        """
        for attempt in range(1, self._settings.max_attempts + 1):
            try:
                answer = self._client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*", **options)
                return answer["ETag"].strip('"')
            except botocore_errors.ClientError as error:
                metadata = error.response["ResponseMetadata"]
                if metadata["HTTPStatusCode"] == 412 and metadata["RetryAttempts"] > 0:
                    stored = self.get(f"s3://{bucket}/{key}")
                    if stored.data == data:
                        return stored.info.etag
                    raise
                if metadata["HTTPStatusCode"] != 409 or attempt == self._settings.max_attempts:
                    raise
            _pause(attempt)
        raise AssertionError("max_attempts is at least 1")

    def _head(self, bucket: str, key: str) -> ObjectInfo:
        answer = self._client.head_object(Bucket=bucket, Key=key, **self._payer)
        return ObjectInfo(f"s3://{bucket}/{key}", key, answer["ContentLength"], answer["ETag"].strip('"'))

    def _translate(self, error: Exception, uri: str) -> StoreError | None:
        bucket = _split(uri)[0]
        endpoint = self._client.meta.endpoint_url
        attempts = self._settings.max_attempts
        match error:
            case botocore_errors.ClientError():
                return self._from_answer(error, uri, bucket, endpoint)
            case (
                botocore_errors.NoCredentialsError()
                | botocore_errors.PartialCredentialsError()
                | botocore_errors.CredentialRetrievalError()
                | botocore_errors.TokenRetrievalError()
                | botocore_errors.SSOError()
            ):
                return Unavailable(
                    f"there are no credentials for {uri}; set store.s3.profile, AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, or give the machine a role",
                    uri,
                )
            case botocore_errors.ParamValidationError():
                return Unavailable(f"{bucket!r} is not a name that a bucket can have; check {uri}", uri)
            case botocore_errors.HTTPClientError() | botocore_errors.ConnectionError():
                return Unavailable(
                    f"{endpoint} could not be reached for the bucket {bucket!r} in {attempts} attempts "
                    f"({type(error).__name__}); check store.s3.endpoint_url, store.s3.region and the network",
                    uri,
                )
            case botocore_errors.BotoCoreError() | Boto3Error():
                return Unavailable(f"{uri} failed in the S3 client ({type(error).__name__})", uri)
        return None

    def _from_answer(self, error: botocore_errors.ClientError, uri: str, bucket: str, endpoint: str) -> StoreError:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        code = error.response["Error"].get("Code", "unknown")
        if code == "NoSuchBucket":
            return Unavailable(
                f"there is no bucket {bucket!r} at {endpoint}; check its name and store.s3.endpoint_url", uri
            )
        if status in (301, 307) or code in (
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ):
            return Unavailable(f"the bucket {bucket!r} is in another region; set store.s3.region to it", uri)
        if status == 404:
            return NotFound(f"{uri} does not exist", uri)
        if status == 412:
            return AlreadyExists(f"{uri} exists already", uri)
        if status == 409:
            attempts = self._settings.max_attempts
            return Unavailable(f"{uri} was being written by others at each of {attempts} attempts ({code})", uri)
        if code == "InvalidObjectState":
            return AccessDenied(f"{uri} is in an archive storage class; restore it first", uri)
        if status in (401, 403) or code in ("ExpiredToken", "InvalidToken"):
            return AccessDenied(
                f"{endpoint} refuses access to {uri} ({code}); check the credentials and what they may do",
                uri,
            )
        if status == 429 or status >= 500:
            attempts = self._settings.max_attempts
            return Unavailable(f"{endpoint} failed at {uri} in {attempts} attempts ({status} {code})", uri)
        return StoreError(f"{endpoint} rejects the request for {uri} ({status} {code})", uri)


# A body that ended early, stalled, broke off or does not match its checksum.
_BROKEN_BODY = (
    botocore_errors.HTTPClientError,
    botocore_errors.IncompleteReadError,
    botocore_errors.FlexibleChecksumError,
)


def _pause(attempt: int) -> None:
    """Full jitter under a doubling cap (M. Brooker, "Exponential Backoff And Jitter", AWS, 2015)."""
    time.sleep(random.uniform(0, min(5.0, 0.1 * 2**attempt)))


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = canonical(uri).removeprefix("s3://").partition("/")
    return bucket, key


def _split_object(uri: str) -> tuple[str, str]:
    bucket, key = _split(uri)
    if not key:
        raise StoreError(f"{uri} is a bucket; name an object in it", uri)
    return bucket, key


def _check_size(info: ObjectInfo, max_bytes: int | None) -> None:
    if max_bytes is not None and info.size > max_bytes:
        raise TooLarge(f"{info.uri} has {info.size} bytes, more than the {max_bytes} allowed", info.uri)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # the operating system's bytes came through as lone surrogates
        return False
    return True


def _describe(path: str, key: str) -> ObjectInfo:
    return _from_stat(os.stat(path), path, key)


def _from_stat(status: os.stat_result, path: str, key: str) -> ObjectInfo:
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return ObjectInfo(path, key, status.st_size, f"{status.st_size:x}-{status.st_mtime_ns:x}")


def _from_os_error(error: OSError, uri: str) -> StoreError:
    reason = error.strerror or type(error).__name__
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR | errno.ELOOP:
            return NotFound(f"{uri} does not exist", uri)
        case errno.EEXIST:
            return AlreadyExists(f"{uri} exists already", uri)
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return AccessDenied(f"this user may not access {uri} so ({reason})", uri)
        case errno.ENAMETOOLONG | errno.EISDIR | errno.ENOTEMPTY | errno.EINVAL | errno.EILSEQ:
            return StoreError(f"{uri} cannot be a file here ({reason})", uri)
        case errno.EOPNOTSUPP | errno.EMLINK:
            return StoreError(f"the file system of {uri} has no hard links ({reason}); use another", uri)
    return Unavailable(f"the file system of {uri} failed ({reason})", uri)
