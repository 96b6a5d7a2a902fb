"""Where a training stands, in a folder or an S3 prefix, so that it can go on after an interruption.

Works on: tensors, a state that JSON can hold, and a store. Knows nothing about what either means.

A checkpoint is one object, `<steps done>.safetensors`, with the state in its header: it is there whole, or not at all.
"""

import json
import struct
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cluster.errors import RequestError
from cluster.store import Stores, canonical, join

RECORD = "progress.jsonl"  # what was reported so far, one JSON object a line


@dataclass(frozen=True)
class Checkpoint:
    """`state` and `tensors` as they were saved."""

    state: dict[str, Any]
    tensors: dict[str, Tensor]


class Checkpoints:
    """Those of one training at `uri`; the last `keep` stay."""

    def __init__(self, uri: str, stores: Stores, keep: int) -> None:
        self.uri = canonical(uri)
        self._store, self._keep = stores.open(self.uri), keep

    def save(self, steps: int, checkpoint: Checkpoint, record: list[dict[str, Any]]) -> None:
        """Keep a checkpoint after so many steps, and the record beside it. Raises StoreError."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
        data = save(tensors, metadata={"state": json.dumps(checkpoint.state)})
        self._store.put(join(self.uri, f"{steps:09d}.safetensors"), data)
        lines = "".join(json.dumps(line) + "\n" for line in record)
        self._store.put(join(self.uri, RECORD), lines.encode(), content_type="application/jsonl")
        for old in self._names()[: -self._keep]:
            self._store.remove(join(self.uri, old))

    def latest(self) -> Checkpoint | None:
        """The last one, or None. Raises RequestError for one that cannot be read, StoreError."""
        names = self._names()
        if not names:
            return None
        where = join(self.uri, names[-1])
        data = self._store.get(where).data
        try:
            header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
            return Checkpoint(json.loads(header["__metadata__"]["state"]), load(data))
        except (SafetensorError, struct.error, ValueError, KeyError, TypeError) as error:
            raise RequestError(f"{where}: is no checkpoint of a training; name other --checkpoints.") from error

    def record(self) -> list[dict[str, Any]]:
        """What was reported until the last checkpoint."""
        if not self._names():
            return []
        lines = self._store.get(join(self.uri, RECORD)).data.decode().splitlines()
        return [json.loads(line) for line in lines]

    def _names(self) -> list[str]:
        return [info.key for info in self._store.list(self.uri) if info.key.endswith(".safetensors")]
