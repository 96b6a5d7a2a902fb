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
from collections.abc import Callable
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
from workers.messages import CALLS_AT_ONCE, Batch, Recipe, Reconstruction, Source
from workers.reconstructor import Reconstructor

RESOLUTION = 512
DECODERS = (1, 2, 4)
PAPER_SECONDS_PER_POINT = 6.1e6 / 100e9  # 6.1 MFLOP at the 100 GFLOP/s that a core's float32 products reach


class Sleeper(Reconstructor):
    """Asleep for as long as a decoder of the paper's size would evaluate."""

    def _field(self, *model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        field = super()._field(*model)

        def evaluate(keys: torch.Tensor) -> torch.Tensor:
            started = time.perf_counter()
            values = field(keys)
            padded = -(-len(keys) // self._chunk_points) * self._chunk_points
            time.sleep(max(0.0, padded * PAPER_SECONDS_PER_POINT - (time.perf_counter() - started)))
            return values

        return evaluate


def run(resolution: int = RESOLUTION) -> list[dict[str, Any]]:
    """A row for each decoder and number of them."""
    rows = []
    cores = len(os.sched_getaffinity(0))
    print(f"one image at {resolution}³; {cores} cores")
    print("decoder        decoders  seconds  speed-up  efficiency  identical")
    with tempfile.TemporaryDirectory() as folder, session(RaySettings(address="local", num_cpus=max(DECODERS))):
        stores = Stores(StoreSettings())
        paper = paper_size(weights.load(weights.EMBEDDED, stores))
        digest = weights.save(Path(folder), paper.config, paper.encoder, paper.decoder)
        embedded = weights.digest(weights.EMBEDDED, stores)
        for name, kind, used, repeats in (
            ("embedded", Reconstructor, (embedded, weights.EMBEDDED), 3),
            ("paper", Reconstructor, (digest, folder), 1),
            ("paper, asleep", Sleeper, (embedded, weights.EMBEDDED), 1),
        ):
            alone = None
            for count in DECODERS:
                seconds, result = _measure(kind, used, count, resolution, repeats)
                alone = alone or (seconds, result)
                row = {
                    "decoder": name,
                    "decoders": count,
                    "cores": cores,
                    "resolution": resolution,
                    "seconds": seconds,
                    "speed_up": alone[0] / seconds,
                    "efficiency": alone[0] / seconds / count,
                    "identical": result == alone[1],
                }
                rows.append(row)
                print(
                    f"{name:13s}  {count:8d}  {seconds:7.1f}  {row['speed_up']:8.2f}  {row['efficiency']:10.0%}  "
                    f"{row['identical']!s:>9s}"
                )
    return rows


def _measure(
    kind: type[Reconstructor], used: tuple[str, str], count: int, resolution: int, repeats: int
) -> tuple[float, str]:
    """The seconds that the decoding of one image took, the best of some times, and a digest of the field found."""
    recipe = Recipe(resolution, exact=False, format="glb", batch_size=1, chunk_points=None)
    held = (StoreSettings(), ImageSettings(), dict([used]), recipe, 1)
    pool: ActorPool[Source] = ActorPool(
        "reconstructor", kind, held, count, cpus=1, gpus=0, concurrency=CALLS_AT_ONCE, item_timeout_seconds=3600,
        key=lambda source: source.item_id, assist=Reconstructor.assist.__name__, on_restart=print,
    )  # fmt: skip
    times, digests = [], set()
    with as_file(files("jobs.demo") / "images" / "chair" / "chair-0.png") as picture:
        source = Source("chair", str(picture), None, used[0], "")
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
            times.append(made.decode_ms / 1000)
            digests.add(hashlib.sha256(field.indices.tobytes() + field.values.tobytes()).hexdigest())
    pool.close()
    (digest,) = digests
    return min(times), digest


if __name__ == "__main__":
    run()
