"""`make bench`: every benchmark, printed as tables and stored as benchmarks/latest.json.

    python -m benchmarks [NAME …]

Works on: the modules beside this one. Knows nothing about what they measure.
"""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import comparison, driver, extraction, fan_out, faults, job, planning, recipes, thin, views
from jobs.run import code_version

BENCHMARKS: dict[str, Callable[[], Any]] = {
    "thin": thin.run,
    "extraction": extraction.run,
    "comparison": comparison.run,
    "job": job.run,
    "fan_out": fan_out.run,
    "driver": driver.run,
    "planning": planning.run,
    "faults": faults.run,
    "views": views.run,
    "recipes": recipes.run,
}


def main(names: list[str]) -> None:
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    results: dict[str, Any] = {
        "code_version": code_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {_device()}",
    }
    for name in names or BENCHMARKS:
        print(f"\n# {name}", flush=True)
        results[name] = BENCHMARKS[name]()
    Path(__file__).with_name("latest.json").write_text(json.dumps(results, indent=2) + "\n")


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


if __name__ == "__main__":
    main(sys.argv[1:])
