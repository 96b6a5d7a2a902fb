"""The catalog and the output: whether a run could list, read and write them, found out by doing so.

Works on: addresses and the store's settings. Knows nothing about clusters; the same checks run on this machine and on
a cluster's nodes. Whatever is written is removed again. Each refusal names the one permission that is missing
(docs/permissions.md has all of them).
"""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from cluster.config import Config, StoreSettings
from cluster.errors import RequestError, RunError
from cluster.store import AccessDenied, AlreadyExists, ObjectStore, S3Store, StoreError, Stores, canonical, join
from cluster.store.retries import error_code
from jobs.catalog import Item, open_catalog
from jobs.doctor.finding import Finding, failure, ok, sentence, warning
from workers.failure import ItemError
from workers.images import decode

# A person waits: a server that is well answers within milliseconds, and one that is not is to be named, not outlived.
_PATIENCE = {"max_attempts": 2, "retry_seconds": 5.0, "connect_timeout_seconds": 5.0, "read_timeout_seconds": 10.0}
_SKEW_SECONDS = 60.0  # S3 refuses requests that are 15 minutes off ("RequestTimeTooSkewed", Amazon S3 API Reference)
_REFUSED_SKEW_SECONDS = 900.0
_FIRST, _SECOND = b"isofleet doctor: the first", b"isofleet doctor: the second"
# The server knows no such user, or not by this secret: no permission would help.
_NOT_KNOWN = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthFailure"}


def impatient(settings: StoreSettings) -> StoreSettings:
    """The same stores, asked with few repetitions and short waits."""
    return settings.model_copy(update={"s3": settings.s3.model_copy(update=_PATIENCE)})


def catalog(uri: str, config: Config) -> list[Finding]:
    """Whether the catalog can be listed, and its first picture read and decoded."""
    stores = Stores(impatient(config.store))
    try:
        item = _first(uri, stores, config)
    except AccessDenied as error:
        return [failure("catalog", _denied(error, *_to_list(uri)))]
    except (StoreError, RequestError, RunError) as error:
        return [failure("catalog", sentence(error))]
    if item.error_code:
        return [warning("catalog", f"{uri}: its first row is no image ({item.error_message}); look at its other rows")]
    try:
        found = stores.open(item.source_uri).get(item.source_uri, max_bytes=config.images.max_bytes)
        picture = decode(found.data, max_pixels=config.images.max_pixels)
    except AccessDenied as error:
        return [failure("catalog", _denied(error, "s3:GetObject", f"{_bucket(item.source_uri)}/*"))]
    except StoreError as error:
        return [failure("catalog", f"{uri} can be listed, but not read: {sentence(error)}")]
    except ItemError as error:
        said = f"its first image {item.source_uri} is one that will fail ({error.code}: {sentence(error)})"
        return [warning("catalog", f"{uri} can be read, but {said}; look at the others")]
    size = f"{picture.width}×{picture.height} pixels"
    return [ok("catalog", f"{uri} can be listed and read: {item.source_uri} has {size}")]


def _first(uri: str, stores: Stores, config: Config) -> Item:
    reconstruct = config.reconstruct
    source = open_catalog(uri, stores, category=reconstruct.category, limit=reconstruct.limit)
    try:
        return next(source.items())[1]
    except RequestError as error:
        if isinstance(error.__cause__, AccessDenied):  # a table that may not be read
            raise error.__cause__ from error
        raise


def output(uri: str, config: Config, stop: threading.Event | None = None) -> list[Finding]:
    """Whether a run could commit under `uri`: list, write, read, write only what is absent, write in parts.

    Nothing stays there, also when `stop` is set half-way. A server that lets nobody delete is only asked whether it
    would take an object.
    """
    stores, stop = Stores(impatient(config.store)), stop or threading.Event()
    try:
        store, root = stores.open(uri), canonical(uri)
        if isinstance(store, S3Store):
            return [*_clock(store, root), *_in_bucket(store, root, config, stop)]
        return _in_folder(store, root, stop)
    except (StoreError, RequestError) as error:
        return [failure("output", sentence(error))]


def _clock(store: S3Store, root: str) -> list[Finding]:
    try:
        server = store.clock(root)
    except StoreError:  # said with what else cannot be done there
        return []
    ahead = (datetime.now(UTC) - server).total_seconds() if server else 0.0
    if abs(ahead) < _SKEW_SECONDS:
        return [ok("clock", "this machine's and the store's clocks agree to within a minute")]
    direction = "ahead of" if ahead > 0 else "behind"
    said = f"this machine's clock is {abs(ahead):.0f} s {direction} the store's; set it (chrony, systemd-timesyncd)"
    return [(failure if abs(ahead) >= _REFUSED_SKEW_SECONDS else warning)("clock", said)]


def _in_bucket(store: S3Store, root: str, config: Config, stop: threading.Event) -> list[Finding]:
    probe, parts = _probe_name(root), _probe_name(root)
    objects = f"{_bucket(root)}/{root.removeprefix('s3://').partition('/')[2].rstrip('/')}/*".replace("//*", "/*")
    try:
        next(store.list(root), None)
    except AccessDenied as error:
        return [failure("output", _denied(error, "s3:ListBucket", _bucket(root)))]
    try:
        store.remove(probe)
    except AccessDenied:
        return _without_removing(store, root, probe, objects)
    tries = _Tries(store, stop, objects)
    with tries.removing(probe, parts):
        tries.write_and_read(probe)
        # A store of its own whose objects are all large: the same code, without 64 MiB to send.
        small = config.store.s3.model_copy(update=_PATIENCE | {"multipart_threshold_bytes": 1})
        tries.attempt("a write in parts", "s3:PutObject", lambda: S3Store(small).put(parts, _FIRST))
    return tries.findings(root)


def _without_removing(store: S3Store, root: str, probe: str, objects: str) -> list[Finding]:
    try:
        store.rehearse(probe)
    except AccessDenied as error:
        return [failure("output", _denied(error, "s3:PutObject and s3:AbortMultipartUpload", objects))]
    return [
        warning(
            "output",
            f"{root} can be listed and takes objects, but conditional writes were not tried, because this user may "
            f"delete nothing and a probe would stay: a run needs no more, and to have them tried once give "
            f"s3:DeleteObject on {objects}",
        )
    ]


def _in_folder(store: ObjectStore, root: str, stop: threading.Event) -> list[Finding]:
    folder = root.rstrip("/")
    there = folder
    while not os.path.exists(there):
        there = os.path.dirname(there)
    probe = _probe_name(root)
    tries = _Tries(store, stop, folder)
    try:
        with tries.removing(probe):
            next(store.list(root), None)
            tries.write_and_read(probe)
    finally:
        while len(folder) > len(there):  # the folders that only the probe needed
            with suppress(OSError):
                os.rmdir(folder)
            folder = os.path.dirname(folder)
    return tries.findings(root)


class _Tries:
    """Requests made one after the other until one fails."""

    def __init__(self, store: ObjectStore, stop: threading.Event, objects: str) -> None:
        self._store = store
        self._stop = stop
        self._objects = objects
        self._failures: list[str] = []
        self._done: list[str] = []

    def attempt(self, what: str, permission: str, request: Callable[[], object]) -> bool:
        """Whether `request` went well; after one that did not, none is made."""
        if self._failures or self._stop.is_set():
            return False
        try:
            request()
        except AccessDenied as error:
            self._failures.append(_denied(error, permission, self._objects))
            return False
        except StoreError as error:
            self._failures.append(f"{what} failed ({sentence(error)})")
            return False
        self._done.append(what)
        return True

    def write_and_read(self, uri: str) -> None:
        """Put only if absent, twice: the second must be refused, since that is how a run commits. Then read."""

        def again() -> None:
            with suppress(AlreadyExists):
                self._store.put(uri, _SECOND, if_absent=True)

        def read() -> None:
            self._held = self._store.get(uri, max_bytes=1000).data

        self._held = b""
        self.attempt("a conditional write", "s3:PutObject", lambda: self._store.put(uri, _FIRST, if_absent=True))
        self.attempt("a second conditional write", "s3:PutObject", again)
        if self.attempt("reading it back", "s3:GetObject", read) and self._held != _FIRST:
            self._failures.append(
                "the store ignores If-None-Match and lets a second writer overwrite the first, so two drivers could "
                "both commit a shard; use a store with conditional writes, as AWS S3, Ceph, MinIO and R2 have them"
            )

    @contextmanager
    def removing(self, *uris: str) -> Iterator[None]:
        """Remove `uris` at the end, whatever happens."""
        try:
            yield
        finally:
            for uri in uris:
                try:
                    self._store.remove(uri)
                except StoreError as error:
                    self._failures.append(f"{uri} was written and cannot be removed ({sentence(error)}); delete it")

    def findings(self, root: str) -> list[Finding]:
        """What came of it."""
        if self._failures:
            return [failure("output", f"{root}: {'; '.join(self._failures)}")]
        if self._stop.is_set():
            return [warning("output", f"{root}: not checked to the end, because this was stopped; check again")]
        parts = ", and takes objects in parts" if "a write in parts" in self._done else ""
        return [ok("output", f"{root} can be listed, written and read, refuses a second conditional write{parts}")]


def _probe_name(root: str) -> str:
    return join(root.rstrip("/"), f"_doctor-{uuid.uuid4().hex}")


def _bucket(uri: str) -> str:
    return f"arn:aws:s3:::{canonical(uri).removeprefix('s3://').partition('/')[0]}"


def _to_list(uri: str) -> tuple[str, str]:
    """The permission that reading a catalog's list needs, and on what."""
    where = canonical(uri)
    if where.lower().endswith((".parquet", ".csv")):
        return "s3:GetObject", f"arn:aws:s3:::{where.removeprefix('s3://')}"
    return "s3:ListBucket", _bucket(uri)


def _denied(error: StoreError, permission: str, resource: str) -> str:
    code = error_code(error.__cause__) if isinstance(error.__cause__, Exception) else ""
    if not resource.startswith("arn:"):
        return f"{sentence(error)}: let this user read and write there"
    if code in _NOT_KNOWN:
        return f"{sentence(error)}: the server does not know this key or secret"
    if code == "RequestTimeTooSkewed":
        return f"{sentence(error)}: this machine's clock is wrong; set it (chrony, systemd-timesyncd)"
    return f"{sentence(error)}: what is missing is {permission} on {resource}"
