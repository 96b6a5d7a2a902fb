"""Objects in a folder or in S3, addressed by URI.

Works on: bytes under a plain path, `file://…` (percent-encoded) or `s3://bucket/key` (taken literally).
Knows nothing about what the bytes mean, nor about metrics: an observer is told of every request.
Both stores list keys in the byte order of their UTF-8 form, which is also Python's order of `str`, so that
the same objects fall into the same shards wherever they lie.
"""

import threading

from cluster.config import StoreSettings
from cluster.store.addresses import canonical, is_s3, join
from cluster.store.local import LocalStore
from cluster.store.objects import (
    AccessDenied,
    AlreadyExists,
    CredentialsError,
    NotFound,
    Object,
    ObjectInfo,
    ObjectStore,
    Observer,
    StoreError,
    TooLarge,
    Unavailable,
)
from cluster.store.s3 import S3Store

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "CredentialsError",
    "LocalStore",
    "NotFound",
    "Object",
    "ObjectInfo",
    "ObjectStore",
    "Observer",
    "S3Store",
    "StoreError",
    "Stores",
    "TooLarge",
    "Unavailable",
    "canonical",
    "join",
]


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
        kind = "s3" if is_s3(canonical(uri)) else "local"
        with self._lock:
            if kind not in self._opened:
                self._opened[kind] = (
                    S3Store(self.settings.s3, self._on_request) if kind == "s3" else LocalStore(self._on_request)
                )
            return self._opened[kind]
