"""Real Prometheus servers for tests: throwaway processes on loopback, of Debian's packages.

`prometheus`, `pushgateway` and whatever else `serving` starts keep their data in a folder of the test's and end with
the context.
"""

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
import yaml
from ports import free_port
from servers import require

Value = TypeVar("Value")

_SECONDS = 60.0  # until a server must answer, on a busy machine


@dataclass(frozen=True)
class Prometheus:
    """A server that scrapes, and its answers."""

    url: str

    def query(self, expression: str) -> dict[frozenset[tuple[str, str]], float]:
        """An instant vector: value by labels (name and value, `__name__` left out)."""
        return {
            frozenset((name, value) for name, value in sample["metric"].items() if name != "__name__"): float(
                sample["value"][1]
            )
            for sample in self._get("query", query=expression)["result"]
        }

    def by(self, label: str, expression: str) -> dict[str, float]:
        """The same by the value of one label, which must tell the samples apart."""
        found = self.query(expression)
        named = {dict(labels).get(label, ""): value for labels, value in found.items()}
        assert len(named) == len(found), f"{label} does not tell apart {found}"
        return named

    def targets(self) -> list[dict[str, Any]]:
        """The active targets, with `labels`, `scrapeUrl` and `health`."""
        return list(self._get("targets", state="active")["activeTargets"])

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", answer
        return dict(answer["data"])


@contextmanager
def prometheus(folder: Path, configuration: dict[str, Any]) -> Iterator[Prometheus]:
    """A Prometheus with `configuration` (the content of a prometheus.yml)."""
    require("prometheus")
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    port = free_port()
    arguments = [
        "prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with serving(arguments, f"http://127.0.0.1:{port}/-/ready", folder / "prometheus.log"):
        yield Prometheus(f"http://127.0.0.1:{port}")


@contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    """A Pushgateway's address."""
    require("prometheus-pushgateway")
    port = free_port()
    arguments = [
        "prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        f"--persistence.file={folder / 'pushed'}",  # Debian's default is one file for the whole machine
    ]  # fmt: skip
    with serving(arguments, f"http://127.0.0.1:{port}/-/ready", folder / "pushgateway.log"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def serving(arguments: list[str], ready_url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, from the moment at which `ready_url` answers 200."""
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)

    def ready() -> bool:
        assert process.poll() is None, f"{arguments[0]} ended: {log.read_text()[-2000:]}"
        try:
            with urllib.request.urlopen(ready_url, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    try:
        wait_until(ready, f"{arguments[0]} to be ready")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], Value], what: str, seconds: float = _SECONDS) -> Value:
    """The first value of `condition` that is true, asked for five times a second."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}; last: {value!r}"
        time.sleep(0.2)
