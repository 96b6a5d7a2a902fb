"""`make bench`: every benchmark, printed as tables and stored as benchmarks/latest.json."""

import json
import platform
from pathlib import Path

import torch

from benchmarks import extraction, faults
from jobs.run import code_version


def main() -> None:
    results = {
        "code_version": code_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {_device()}",
        "extraction": extraction.run(),
        "faults": faults.run(),
    }
    Path(__file__).with_name("latest.json").write_text(json.dumps(results, indent=2) + "\n")


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


if __name__ == "__main__":
    main()
