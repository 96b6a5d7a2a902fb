"""What one driver sustains: the real job, Ray and commits, with actors that sleep instead of working.

    python -m benchmarks.driver --decoders 64 --images 40000

Works on: `jobs.driver`, whose two actor classes are replaced by benchmarks/sleepers.py. `busy` is the share of the time
that the decoders slept, which is what they would have computed, in the middle of the run.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import sleepers
from cluster.config import load
from jobs import driver
from jobs.reconstruct import reconstruct


def run(decoders: int = 64, images: int = 40_000) -> dict[str, Any]:
    """Images a second, and the share of the time in which the decoders were busy."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder) / "catalog.csv"
        with catalog.open("w", newline="") as file:
            csv.writer(file).writerows([["uri"], *([f"{folder}/{number:07d}.png"] for number in range(images))])
        config = load(None, {}, {
            "ray.num_cpus": 2, "metrics.enabled": False, "actors.reconstructors": decoders, "actors.meshers": 1,
            "actors.cpus_per_reconstructor": 0.01, "actors.cpus_per_mesher": 0.01,
        })  # fmt: skip
        done: list[tuple[float, int]] = []

        def watch(progress: driver.Progress) -> None:
            if progress.done:
                done.append((time.monotonic(), progress.done))

        with (
            mock.patch.object(driver, "Reconstructor", sleepers.Reconstructor),
            mock.patch.object(driver, "Mesher", sleepers.Mesher),
        ):
            result = reconstruct(str(catalog), f"{folder}/meshes", config, on_progress=watch)
    # The middle of the run: actors start one by one, and at the end there is not enough for all of them.
    middle = [(at, count) for at, count in done if 0.2 * images <= count <= 0.8 * images]
    seconds, count = middle[-1][0] - middle[0][0], middle[-1][1] - middle[0][1]
    row = {
        "decoders": decoders,
        "images": result.ok,
        "images_per_second": count / seconds,
        "busy": count * sleepers.SECONDS / seconds / decoders,
    }
    print(f"{decoders} decoders of {1 / sleepers.SECONDS:.1f} images a second: {row['images_per_second']:.0f} images a "
          f"second, {row['busy']:.1%} busy; {result.ok} of {images} images ok")  # fmt: skip
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decoders", type=int, default=64)
    parser.add_argument("--images", type=int, default=40_000)
    arguments = parser.parse_args()
    run(arguments.decoders, arguments.images)
