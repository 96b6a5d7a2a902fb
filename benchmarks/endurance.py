"""Long runs: is the memory of a driver and its actors flat, and what does resuming a finished run cost?

    python -m benchmarks.endurance memory --images 20000
    python -m benchmarks.endurance resume --images 100000

Works on: the real job on a local Ray, watched from outside by its processes' resident memory. Prints a table, and
stores it as benchmarks/endurance-<what>.json.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from jobs.run import code_version

CHECKOUT = Path(__file__).resolve().parents[1]
SAMPLES = 40  # of memory, spread over the run


def memory(images: int, folder: Path) -> list[dict[str, Any]]:
    """Resident memory in MB of the driver and of each kind of actor (the largest) by the number of images done."""
    pictures = folder / "pictures"
    shapes = [path for path in sorted((CHECKOUT / "jobs/demo/images").rglob("*.*")) if path.suffix == ".png"]
    for number in range(images):
        path = pictures / f"{number // 1000:03d}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(shapes[number % len(shapes)])
    output = folder / "meshes"
    options = ["--resolution=16", "--set=reconstruct.shard_size=100", "--set=metrics.enabled=false"]
    driver = subprocess.Popen([sys.executable, "-m", "jobs.reconstruct", str(pictures), str(output), *options])
    rows: list[dict[str, Any]] = []
    try:
        while driver.poll() is None:
            time.sleep(1)
            done = 100 * len(list((output / "manifest").glob("*.parquet")))
            if done >= len(rows) * images // SAMPLES and done:
                rows.append({"images": done, **_resident(driver.pid)})
                print("  ".join(f"{name} {value:>6}" for name, value in rows[-1].items()), flush=True)
    finally:
        driver.kill()
    if driver.returncode != 0:
        raise SystemExit("the run failed: these figures are of no use")
    return rows


def resume(images: int, folder: Path) -> dict[str, Any]:
    """Seconds and store requests of resuming a finished run. Its images never existed: a resume must not look."""
    catalog, output = folder / "catalog.csv", folder / "meshes"
    with catalog.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["uri"])
        table.writerows([f"images/{number:07d}.png"] for number in range(images))
    command = [sys.executable, "-m", "jobs.reconstruct", str(catalog), str(output), "--resolution=8", "--json"]
    command += ["--max-failed-percent=100", "--set=metrics.enabled=false"]
    seconds = []
    for _ in range(2):
        started = time.monotonic()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds.append(round(time.monotonic() - started, 1))
        assert json.loads(done.stdout)["failed"] == images
    found = {"images": images, "run_seconds": seconds[0], "resume_seconds": seconds[1]}
    print(found)
    return found


def _resident(driver: int) -> dict[str, int]:
    def largest(processes: Iterator[psutil.Process], name: str) -> int:
        sizes = [0]
        for process in processes:
            with suppress(psutil.Error):
                if process.cmdline()[:1] and process.cmdline()[0].startswith(name):
                    sizes.append(process.memory_info().rss)
        return max(sizes) // 10**6

    below = psutil.Process(driver).children(recursive=True)
    return {
        "driver_mb": psutil.Process(driver).memory_info().rss // 10**6,
        "reconstructor_mb": largest(iter(below), "ray::Reconstructor"),
        "mesher_mb": largest(iter(below), "ray::Mesher"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "resume"])
    parser.add_argument("--images", type=int, required=True)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="isofleet-endurance-"))
    try:
        found = {"memory": memory, "resume": resume}[asked.what](asked.images, folder)
    finally:
        shutil.rmtree(folder)
    stored = Path(__file__).with_name(f"endurance-{asked.what}.json")
    stored.write_text(json.dumps({"code_version": code_version(), "found": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
