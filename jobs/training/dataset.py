"""A stored dataset: the record of how it was asked for, which resuming must ask again.

Works on: `DATASET/_dataset.json`. Knows nothing about meshes, or how shapes are prepared.
"""

import secrets
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.errors import RequestError
from cluster.store import AlreadyExists, NotFound, Stores, TooLarge, canonical, join
from jobs.run import code_version

RECORD = "_dataset.json"


class Request(BaseModel):
    """All that a dataset is a function of, beside the collection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    kind: str
    up: str
    front: str
    renderings: str | None
    categories: tuple[str, ...]
    limit: int | None
    shard_size: int
    max_bytes: int
    max_faces: int
    seed: int


class Record(BaseModel):
    """`_dataset.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset_id: str
    created_at: str
    code_version: str
    request: Request


def begin(stores: Stores, dataset: str, request: Request) -> Record:
    """The record of `dataset`: written now, or the one that stands there, which must ask the same.

    Raises RequestError, naming what differs, where it was asked something else; StoreError.
    """
    now = datetime.now(UTC)
    record = Record(
        dataset_id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
        created_at=now.isoformat(timespec="seconds"),
        code_version=code_version(),
        request=request,
    )
    uri = join(canonical(dataset), RECORD)
    try:
        content = record.model_dump_json(indent=2).encode() + b"\n"
        stores.open(uri).put(uri, content, if_absent=True, content_type="application/json")
    except AlreadyExists:
        return resumed(stores, dataset, request)
    return record


def resumed(stores: Stores, dataset: str, request: Request) -> Record:
    """The record that stands in `dataset`. Raises RequestError, naming what differs, unless it was asked the same."""
    record = read(stores, dataset)
    for name in Request.model_fields:
        stood, asked = getattr(record.request, name), getattr(request, name)
        if stood != asked:
            raise RequestError(
                f"{dataset} holds a dataset with {name} {_short(stood)}, and this one asks for {_short(asked)}; ask "
                "the same to resume it, or choose another DATASET."
            )
    return record


def exists(stores: Stores, dataset: str) -> bool:
    """Whether a dataset has begun here. Raises StoreError."""
    uri = join(canonical(dataset), RECORD)
    try:
        stores.open(uri).head(uri)
    except NotFound:
        return False
    return True


def read(stores: Stores, dataset: str) -> Record:
    """The record of a dataset. Raises RequestError where there is none, or it is damaged; StoreError."""
    uri = join(canonical(dataset), RECORD)
    try:
        return Record.model_validate_json(stores.open(uri).get(uri, max_bytes=1 << 20).data)
    except NotFound as error:
        raise RequestError(f"{dataset} holds no dataset: there is no {RECORD} in it; see isofleet prepare.") from error
    except (ValidationError, TooLarge) as error:
        raise RequestError(f"{uri} is not a dataset's record of this version; choose another DATASET.") from error


def _short(value: Any) -> str:
    return ", ".join(value) or "all" if isinstance(value, tuple) else str(value)
