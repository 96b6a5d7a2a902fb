"""One image at 512³, evaluated by 1, 2 and 4 decoders of one thread each: what fan-out gains.

Works on: the reconstructors of a pool, all but one of which are idle and lent to it. Knows nothing about catalogs.
Decoders that outnumber the cores share them: what more cores would give is then shown by decoders that take the time of
the paper's size asleep. All else of theirs is real: they are of the embedded size, so the surface and its points are
the same, and what is not evaluation, the calls between actors too, takes what it takes.
"""

import hashlib
import os
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import ray
import torch

from benchmarks.paper_size import paper_size
from cluster.config import ImageSettings, RaySettings, StoreSettings
from cluster.pool import ActorPool, Finished, Task, wait
from cluster.session import session
from cluster.store import Stores
from workers import weights
from workers.decoder import LatticeField
from workers.messages import CALLS_AT_ONCE, Batch, Recipe, Reconstruction, Source
from workers.reconstructor import Reconstructor

RESOLUTION = 512
DECODERS = (1, 2, 4)


class _Asleep:
    """`field`, which takes so many seconds more for each point, asleep."""

    def __init__(self, field: LatticeField, seconds: float) -> None:
        self._field, self._seconds = field, seconds
        self.together = field.together

    def __call__(self, keys: torch.Tensor) -> torch.Tensor:
        time.sleep(self._seconds * len(keys))
        return self._field(keys)


class Sleeper(Reconstructor):
    """Takes so many seconds more than it needs for each point, asleep."""

    def __init__(self, seconds: float, *held: Any) -> None:
        super().__init__(*held)
        self._seconds = seconds

    def _field(self, *model: Any) -> Any:
        return _Asleep(super()._field(*model), self._seconds)


def run(resolution: int = RESOLUTION) -> list[dict[str, Any]]:
    """A row for each decoder and number of them."""
    rows: list[dict[str, Any]] = []
    cores = len(os.sched_getaffinity(0))
    print(f"one image at {resolution}³; {cores} cores")
    print("decoder        decoders  seconds  speed-up  efficiency  shared  identical")
    with tempfile.TemporaryDirectory() as folder, session(RaySettings(address="local", num_cpus=max(DECODERS))):
        stores = Stores(StoreSettings())
        paper = paper_size(weights.load(weights.EMBEDDED, stores))
        digest = weights.save(Path(folder), paper.config, paper.encoder, paper.decoder)
        embedded = weights.digest(weights.EMBEDDED, stores)
        small, large = _held(embedded, weights.EMBEDDED, resolution), _held(digest, folder, resolution)
        _table(rows, "embedded", Reconstructor, small, repeats=3)
        _table(rows, "paper", Reconstructor, large)
        one = {row["decoder"]: row for row in rows if row["decoders"] == 1}
        more = (one["paper"]["seconds"] - one["embedded"]["seconds"]) / one["paper"]["points"]
        _table(rows, "paper, asleep", Sleeper, (max(0.0, more), *small))
    return rows


def _held(digest: str, uri: str, resolution: int) -> tuple[Any, ...]:
    """What a reconstructor of one thread is made from."""
    recipe = Recipe(resolution, exact=False, format="glb", batch_size=1, chunk_points=None)
    return StoreSettings(), ImageSettings(), {digest: uri}, recipe, 1


def _table(
    rows: list[dict[str, Any]], name: str, kind: type[Reconstructor], held: tuple[Any, ...], repeats: int = 1
) -> None:
    """Measure with each number of decoders, and add and print the rows."""
    alone: tuple[float, int, str] | None = None
    for count in DECODERS:
        shared, *found = _measure(kind, held, count, repeats)
        alone = alone or (found[0], found[1], found[2])
        row = {
            "decoder": name,
            "decoders": count,
            "seconds": found[0],
            "points": found[1],
            "speed_up": alone[0] / found[0],
            "efficiency": alone[0] / found[0] / count,
            "shared": shared / found[1],
            "identical": (found[1], found[2]) == alone[1:],
        }
        rows.append(row)
        print(
            f"{name:13s}  {count:8d}  {row['seconds']:7.1f}  {row['speed_up']:8.2f}  {row['efficiency']:10.0%}  "
            f"{row['shared']:6.0%}  {row['identical']!s:>9s}",
            flush=True,
        )


def _measure(kind: type[Reconstructor], held: tuple[Any, ...], count: int, repeats: int) -> tuple[int, float, int, str]:
    """The best of some times: how many points idle decoders evaluated, the seconds that the decoding of the image took,
    its points, and a digest of the field."""
    pool: ActorPool[Source] = ActorPool(
        "reconstructor", kind, held, count, cpus=1, gpus=0, concurrency=CALLS_AT_ONCE, item_timeout_seconds=3600,
        key=lambda source: source.item_id, assist=Reconstructor.assist.__name__, on_restart=print,
    )  # fmt: skip
    times, ends = [], set()
    (used,) = held[-3]
    with as_file(files("jobs.demo") / "images" / "chair" / "chair-0.png") as picture:
        source = Source("chair", str(picture), None, used, "")
        while pool.ready < count:
            wait([pool], 0.1)
        pool.lending = True
        for _ in range(repeats):
            pool.submit(Task("reconstruct", (source,), num_returns=2))
            ((_, outcome),) = wait([pool], None)
            assert isinstance(outcome, Finished), outcome
            assert isinstance(outcome.value, Batch)
            (made,) = outcome.value.results
            assert isinstance(made, Reconstruction), made
            ((field,),) = ray.get(list(outcome.refs))
            times.append((made.decode_ms / 1000, outcome.value.points_shared))
            digest = hashlib.sha256(field.indices.tobytes() + field.values.tobytes()).hexdigest()
            ends.add((field.points_evaluated, digest))
    pool.close()
    ((points, digest),) = ends
    seconds, shared = min(times)
    return shared, seconds, points, digest


if __name__ == "__main__":
    run()
