"""Which rows of a manifest a report shows, chosen in one pass and with memory for these alone.

Works on: manifest parts, one at a time. Knows nothing about pictures or pages.

A row is chosen by the SHA-256 of its item id, which spreads the choice evenly over the catalog and makes it the same
every time. Up to half of the places are for failures, shared out evenly among their codes, so that a rare one is seen;
the rest are for meshes, with at least one of every category for which there is a place.
"""

import hashlib
import heapq
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from jobs import manifest

COLUMNS = [name for name in manifest.SCHEMA.names if name != "latent"]  # most of a row, and nothing to look at
_OK = "ok"  # no error code is called so


def quotas(counts: manifest.Counts, limit: int) -> dict[str, int]:
    """How many rows of each error code, and of `ok`, are shown of those that there are; `limit` in all."""
    if counts.images <= limit:
        return {_OK: counts.ok, **counts.errors}
    left = max(limit // 2, limit - counts.ok)
    chosen = {}
    # The rarest first: what it leaves of its share goes to those after it.
    for place, (code, count) in enumerate(sorted(counts.errors.items(), key=lambda one: (one[1], one[0]))):
        chosen[code] = min(count, left // (len(counts.errors) - place))
        left -= chosen[code]
    return {_OK: limit - sum(chosen.values()), **chosen}


# A row's digest, shard and position, all negated: the least digest is the greatest entry, and no two are equal.
_Entry = tuple[int, int, int, dict[str, Any]]


class Sample:
    """The rows chosen of those seen so far: as many as `quotas` says, and at most as many again for the categories."""

    def __init__(self, quotas: Mapping[str, int]) -> None:
        self._quotas = quotas
        # Heaps of the rows with the least digests, the greatest of these first.
        self._kept: dict[str, list[_Entry]] = {kind: [] for kind in quotas}
        self._categories: dict[str, _Entry] = {}

    def add(self, part: pa.Table) -> None:
        """See the rows of a part, which has `COLUMNS`."""
        names = ("shard", "item_id", "status", "error_code", "category")
        columns = (part[name].to_pylist() for name in names)
        for position, (shard, item_id, status, code, category) in enumerate(zip(*columns, strict=True)):
            kind = _OK if status == "ok" else code
            quota = self._quotas.get(kind, 0)  # a part that was committed since they were counted may have others
            if not quota:
                continue
            digest = int.from_bytes(hashlib.sha256(item_id.encode()).digest()[:8], "big")
            kept = self._kept[kind]
            enters = len(kept) < quota or -digest > kept[0][0]
            first = self._categories.get(category)
            leads = kind == _OK and (len(self._categories) < quota if first is None else -digest > first[0])
            if not (enters or leads):
                continue
            entry = (-digest, -shard, -position, part.slice(position, 1).to_pylist()[0])
            if leads:
                self._categories[category] = entry
            if enters:
                (heapq.heappush if len(kept) < quota else heapq.heapreplace)(kept, entry)

    def rows(self) -> list[dict[str, Any]]:
        """Those chosen, in the catalog's order."""
        chosen = {entry[:3]: entry for kind, kept in self._kept.items() if kind != _OK for entry in kept}
        meshes = {entry[:3]: entry for entry in self._categories.values()}
        for entry in sorted(self._kept.get(_OK, ()), reverse=True):
            if len(meshes) >= self._quotas[_OK]:
                break
            meshes[entry[:3]] = entry
        return [entry[3] for entry in sorted({**chosen, **meshes}.values(), key=lambda one: (-one[1], -one[2]))]
