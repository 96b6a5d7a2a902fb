"""What all rows of a manifest add up to: distributions of times and sizes, categories, and progress over time.

Works on: manifest parts, one at a time, and when each was committed. Knows nothing about pictures or pages. Memory
does not grow with the manifest.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

STAGES = ("fetch_ms", "encode_ms", "decode_ms", "mesh_ms", "upload_ms")
MEASURED = (*STAGES, "vertices", "faces", "mesh_bytes", "source_bytes")
COLUMNS = [*MEASURED, "category", "status", "carried_from"]

BINS = 8  # to an octave: a quantile is known to within 9 %
_MOST_CATEGORIES = 200  # that are counted by name; a catalog of strangers may have any number
_MOST_COMMITS = 240  # points of the line that is drawn


class Statistics:
    """Sums over the rows seen so far."""

    def __init__(self) -> None:
        self._bins: dict[str, Counter[int]] = {name: Counter() for name in MEASURED}
        self._categories: dict[str, list[int]] = {}
        self._other = [0, 0]

    def add(self, part: pa.Table) -> None:
        """See the rows of a part. Times and sizes are those of rows that the run computed itself."""
        own = part.filter(pc.is_null(part["carried_from"]))
        for name, bins in self._bins.items():
            values = own[name].drop_null().to_numpy()
            values = values[values > 0]
            places, counts = np.unique(np.floor(np.log2(values) * BINS).astype(int), return_counts=True)
            bins.update(dict(zip(places.tolist(), counts.tolist(), strict=True)))
        for category, status in zip(part["category"].to_pylist(), part["status"].to_pylist(), strict=True):
            if category not in self._categories and len(self._categories) < _MOST_CATEGORIES:
                self._categories[category] = [0, 0]
            self._categories.get(category, self._other)[status != "ok"] += 1

    def summary(self) -> dict[str, Any]:
        """`distributions`: for each name the count of each bin, from `first` on, where bin i holds the values from
        2^(i/BINS) up to the next. `categories`: name, good, failed; `others`: good and failed of those beyond."""
        distributions = {}
        for name, bins in self._bins.items():
            if bins:
                first, last = min(bins), max(bins)
                distributions[name] = {"first": first, "counts": [bins[place] for place in range(first, last + 1)]}
        categories = [[name, *counts] for name, counts in sorted(self._categories.items())]
        return {"bins": BINS, "distributions": distributions, "categories": categories, "others": self._other}


def progress(commits: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Seconds since 1970 and images committed by then, in order; empty where fewer than three times differ."""
    ordered = sorted(commits)
    times = [at for at, _ in ordered]
    if len(set(times)) < 3:
        return []
    totals = np.cumsum([images for _, images in ordered]).tolist()
    step = -(-len(ordered) // _MOST_COMMITS)
    points = list(zip(times, totals, strict=True))
    return [*points[::step], *(points[-1:] if (len(points) - 1) % step else [])]
