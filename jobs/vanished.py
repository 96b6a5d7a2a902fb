"""The images that earlier outputs have and the catalog no longer has: `OUTPUT/vanished/`.

Works on: rows of earlier manifests. Knows nothing about how it was found out that their images vanished.
"""

import itertools
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pyarrow as pa

from cluster.errors import RunError
from cluster.store import AlreadyExists, NotFound, Stores, canonical, join
from jobs import parquet
from jobs.manifest import SCHEMA as MANIFEST

SCHEMA = pa.schema([MANIFEST.field(name) for name in ("item_id", "source_uri", "category", "mesh_uri", "run_id")])
_PART_ROWS = 65_536  # some MiB


def write(stores: Stores, output: str, rows: Iterable[dict[str, Any]]) -> int:
    """Write the last rows that the vanished images have, some thousands to a part; returns how many there are.

    `_index.json` (images, parts) follows, and says that all is there. Every driver of a run writes the same: what
    stands there already stays. Raises StoreError.
    """
    folder = join(canonical(output), "vanished")
    store = stores.open(folder)
    remaining, images, parts = ({name: row[name] for name in SCHEMA.names} for row in rows), 0, 0
    while batch := list(itertools.islice(remaining, _PART_ROWS)):
        data = parquet.to_bytes(pa.Table.from_pylist(batch, schema=SCHEMA))
        with suppress(AlreadyExists):
            store.put(join(folder, f"part-{parts:05d}.parquet"), data, if_absent=True)
        images, parts = images + len(batch), parts + 1
    totals = json.dumps({"images": images, "parts": parts}).encode()
    with suppress(AlreadyExists):
        store.put(join(folder, "_index.json"), totals, if_absent=True, content_type="application/json")
    return images


def count(stores: Stores, output: str) -> int | None:
    """How many images vanished, None while that is not known. Raises RunError for a damaged index, StoreError."""
    uri = join(canonical(output), "vanished", "_index.json")
    try:
        return int(json.loads(stores.open(uri).get(uri, max_bytes=1 << 20).data)["images"])
    except NotFound:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{uri} does not say how many images vanished; delete it and run again") from error
