"""A stored dataset: the record of how it was asked for, and how it becomes a collection that training sees.

Works on: `DATASET/_dataset.json` and the shards beside it. Knows nothing about meshes, or how shapes are prepared.
"""

import hashlib
import json
import os
import secrets
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cluster.errors import RequestError, RunError
from cluster.store import ObjectInfo, StoreError, Stores, canonical
from jobs import worklist
from jobs.record import Records
from jobs.run import code_version
from jobs.training import preparation, shards
from jobs.training.collection import POINTS, VOXELS, Collection
from jobs.training.shards import Counts
from jobs.training.sources.source import Split
from workers.encoder import IMAGE_SIZE
from workers.failure import ItemError
from workers.images import Framing, decode, prepare

_FORMAT = 1  # of the mapped files; another makes them anew
_VIEW_PIXELS = 1024 * 1024
assert (VOXELS, POINTS) == (preparation.VOXELS, preparation.POINTS), "shards hold what collections have"


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


RECORDS = Records(Record, "_dataset.json", "dataset", "DATASET", "; see isofleet prepare")
exists, read = RECORDS.exists, RECORDS.read


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
    return record if RECORDS.add(stores, dataset, record) else resumed(stores, dataset, request)


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


def load(uri: str, split: Split, framing: Framing, stores: Stores, scratch: Path) -> Collection:
    """The shapes of a `split` that were prepared, their views in the `framing`, as files mapped into memory.

    They are made below `scratch` once for a dataset, split and framing, whole or not at all, and used again by
    whoever asks for the same. About 16 kB a view and 82 kB more a shape.

    Raises RequestError: `uri` is no dataset or is not finished, or a category of it has no shape in the split.
    RunError: a shard is damaged. StoreError is turned into one of the two.
    """
    where = canonical(uri).rstrip("/")
    try:
        record = read(stores, where)
        planned, _, whole = worklist.planned(stores, where)
        parts = list(shards.counted(stores, where))
        if not whole or len(parts) < planned:
            raise RequestError(f"{uri} is not finished; give isofleet prepare the same once more.")
        total = sum((counts for _, _, counts in parts), Counts())
        found = total.ok.get(split, {})
        if missing := sorted(total.categories.keys() - found.keys()):
            raise RequestError(
                f"{uri} has no shape to {_purpose(split)} of the category {missing[0]}: prepare more of it, or the "
                "dataset without it by --category."
            )
        target = Path(scratch) / _digest(record, [(index, info) for index, info, _ in parts], split, framing)
        if not target.is_dir():
            making = Path(scratch) / f".{target.name}-{uuid.uuid4().hex}"
            try:
                making.mkdir(parents=True)
                _fill(making, where, split, framing, stores, parts)
                _publish(making, target)
            finally:
                shutil.rmtree(making, ignore_errors=True)
        return _mapped(target)
    except StoreError as error:
        raise RunError(f"{uri} cannot be read: {error}.") from error
    except OSError as error:
        raise RequestError(f"{scratch}: the dataset cannot be kept there ({error.strerror}).") from error


def _digest(record: Record, parts: list[tuple[int, ObjectInfo]], split: Split, framing: Framing) -> str:
    """What the mapped files are a function of."""
    told = [_FORMAT, record.dataset_id, [(index, info.size, info.etag) for index, info in parts], split]
    return hashlib.sha256(json.dumps([told, framing.model_dump()]).encode()).hexdigest()[:32]


def _fill(
    folder: Path,
    where: str,
    split: Split,
    framing: Framing,
    stores: Stores,
    parts: list[tuple[int, ObjectInfo, Counts]],
) -> None:
    """Write the files of a collection, one shard in memory at a time."""
    count = sum(sum(counts.ok.get(split, {}).values()) for _, _, counts in parts)
    names = sorted({name for _, _, counts in parts for name in counts.categories})
    arrays: dict[str, Any] = {}
    ids: list[str] = []
    for index, _, counts in parts:
        if not counts.ok.get(split):
            continue
        for row in shards.read(stores, where, index).to_pylist():
            if row["status"] != "ok" or row["split"] != split:
                continue
            try:
                values = _values(row, names.index(row["category"]), framing)
            except (ItemError, ValueError) as error:
                raise RunError(f"{where}: the row of {row['item_id']} is damaged ({error})") from error
            for name, value in values.items():
                if name not in arrays:
                    arrays[name] = np.lib.format.open_memmap(
                        folder / f"{name}.npy", "w+", value.dtype, (count, *value.shape)
                    )
                arrays[name][len(ids)] = value
            ids.append(row["item_id"])
    if len(ids) != count:
        raise RunError(f"{where} counts {count} shapes to {_purpose(split)}, but holds {len(ids)}; prepare it anew")
    for array in arrays.values():
        array.flush()
    (folder / "names.json").write_text(json.dumps({"names": names, "ids": ids}), encoding="utf-8")


def _values(row: dict[str, Any], category: int, framing: Framing) -> dict[str, NDArray]:
    """Raises ItemError, ValueError."""
    ink = [prepare(decode(view, max_pixels=_VIEW_PIXELS), framing, IMAGE_SIZE) for view in row["views"]]
    return {
        "views": np.round(np.stack(ink) * 255).astype(np.uint8),
        "voxels": np.frombuffer(row["voxels"], np.uint8).reshape(VOXELS**3 // 8),
        "points": np.frombuffer(row["points"], "<f2").astype(np.float16).reshape(POINTS, 3),
        "inside": np.frombuffer(row["inside"], np.uint8).reshape(POINTS // 8),
        "categories": np.array(category, np.int64),
    }


def _publish(making: Path, target: Path) -> None:
    """Give finished files their name. Whoever was first, its files are the same."""
    try:
        os.rename(making, target)
    except OSError:
        if not target.is_dir():
            raise


def _mapped(folder: Path) -> Collection:
    # Copy on write: PyTorch warns of memory that it may not write to.
    tensors = {
        name: torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c"))
        for name in ("views", "voxels", "points", "inside", "categories")
    }
    told = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    return Collection(**tensors, names=tuple(told["names"]), ids=tuple(told["ids"]))


def _purpose(split: Split) -> str:
    return {"train": "train with", "validation": "validate with", "test": "test with"}[split]


def _short(value: Any) -> str:
    return ", ".join(value) or "all" if isinstance(value, tuple) else str(value)
