"""One measurement in a process of its own, so that neither memory nor threads of another one count.

Works on: functions of modules. Knows nothing about what they do.
"""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Stopwatch:
    """Seconds and bytes of what runs in `with watch:`, without what the process needed before.

    `peak_bytes` is the highest resident memory during it above that at its beginning. Linux only.
    """

    seconds: float = 0.0
    peak_bytes: int = 0

    def __enter__(self) -> "Stopwatch":
        Path("/proc/self/clear_refs").write_text("5")  # the highest resident size begins anew: proc(5)
        self._resident = _status("VmRSS")
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self.peak_bytes = max(0, _status("VmHWM") - self._resident)


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function(*arguments)` returns in a fresh process, where an error of it is raised here."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
