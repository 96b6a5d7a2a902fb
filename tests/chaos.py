"""The chaos run: one catalog converted on a simulated cluster while everything that it stands on is taken away.

    python tests/chaos.py --seed 1 --images 2000 --faults 16

Works on: real drivers (processes of their own), real Ray nodes on this machine, a real radosgw behind a proxy that
fails. What strikes, and after how many meshes, depends on the seed alone; where exactly it strikes is up to the
machine. At the end nothing may be missing, and all must equal a run that nothing happened to.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from faults import FaultyProxy, share
from PIL import Image
from radosgw import Gateway, running
from ray.cluster_utils import Cluster

from cluster.config import S3Settings, StoreSettings
from cluster.store import Stores
from jobs import manifest
from jobs.verify import Finding, verify

CHECKOUT = Path(__file__).resolve().parents[1]
NODES, CPUS = 3, 4  # room for two drivers' actors even while a node is away; these CPUs are only counted, not real
SECONDS_A_RUN = 1800.0
# Of the proxy's kinds, those that strike the store for a while. Ten of a hundred requests fail meanwhile.
STORE_FAULTS = ("error_500", "slow_down", "reset_before", "reset_during", "reset_after", "truncated", "latency")
STORE_PERCENT, STORE_REQUESTS = 10.0, 300
STRIKES = (
    "kill_reconstructor", "kill_mesher", "kill_driver", "stop_driver", "kill_node", "drain_node", "second_driver",
    *STORE_FAULTS,
)  # fmt: skip
# What a repeated run must say again; the rest is times, names of runs and places, and how often a picture was tried.
APART = {"run_id", "mesh_uri", "attempts", "fetch_ms", "encode_ms", "decode_ms", "mesh_ms", "upload_ms"}
SETTINGS = {
    "reconstruct.resolution": 16,
    "reconstruct.batch_size": 8,
    "reconstruct.max_failed_percent": 20.0,
    "actors.reconstructors": 2,
    "actors.meshers": 2,
    "actors.gpus_per_reconstructor": 0.0,
    "store.s3.max_attempts": 8,
    "metrics.enabled": False,
    "ray.wait_for_nodes_seconds": 120.0,
}


@dataclass
class Report:
    """What was done to a run, and what came out. `problems` is empty when the promise was kept."""

    seed: int
    images: int
    strikes: Counter[str] = field(default_factory=Counter)
    store_faults: Counter[str] = field(default_factory=Counter)
    drivers: int = 0
    lost_by_kill: list[int] = field(default_factory=list)  # meshes made and not committed when the only driver died
    seconds: float = 0.0
    rows: int = 0
    failed: int = 0
    tried_again: int = 0
    unreferenced: int = 0
    problems: list[str] = field(default_factory=list)


def draw_pictures(folder: Path, count: int) -> None:
    """`count` small pictures that all differ, one in twenty of them broken, in four categories."""
    from jobs.training.collection import draw
    from jobs.training.procedural import sample
    from jobs.training.tracer import random_camera

    drawn = []
    for number in range(16):
        chance = np.random.default_rng(number)
        category = ("airplane", "car", "chair", "table")[number % 4]  # those that the embedded weights know
        drawn.append((category, draw(sample(category, number), random_camera(chance), chance, size=64).rgba))
    for number in range(count):
        category, picture = drawn[number % len(drawn)]
        path = folder / category / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 20 == 7:
            path.write_bytes(b"no picture at all, number %d" % number)
            continue
        picture = picture.copy()
        picture[..., :3] = (picture[..., :3] * (0.5 + 0.5 * number / count)).astype(np.uint8)
        picture[0, :2, :3] = number % 256, number // 256 % 256, 0  # so that no two files have the same bytes
        Image.fromarray(picture).save(path)


def drawn(seed: int, count: int) -> list[str]:
    """`count` kinds of strikes in random order, all of them before any comes again."""
    chance, rounds = random.Random(f"kinds {seed}"), -(-count // len(STRIKES))
    return [kind for _ in range(rounds) for kind in chance.sample(STRIKES, len(STRIKES))][:count]


class Chaos:
    """One cluster, one store and one catalog, for an undisturbed run and any number of disturbed ones."""

    def __init__(self, gateway: Gateway, proxy: FaultyProxy, folder: Path, images: int) -> None:
        self._gateway, self._proxy, self._folder, self._images = gateway, proxy, folder, images
        self.shard_size = max(8, images // 40)
        self._bucket = gateway.new_bucket()
        self._stores = Stores(StoreSettings(s3=S3Settings(endpoint_url=gateway.endpoint_url, region="us-east-1")))
        self._upload()
        os.environ["PYTHONPATH"] = str(CHECKOUT)  # the nodes' workers inherit it
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes = [self._add_node() for _ in range(NODES)]
        self._cluster.wait_for_nodes()
        self.undisturbed, seconds = self._undisturbed()
        self.undisturbed_seconds = seconds

    def close(self) -> None:
        self._cluster.shutdown()

    def run(self, seed: int, kinds: Sequence[str]) -> Report:
        """Convert the catalog into an output of its own while things of these kinds happen to it, in this order."""
        report, chance = Report(seed, self._images), random.Random(seed)
        output = f"s3://{self._bucket}/chaos-{seed}"
        # Between these numbers of meshes there is always work in flight.
        last = int(self._images * 0.9)
        moments = sorted(chance.sample(range(self._images // 20, last), len(kinds)))
        plan = list(zip(moments, kinds, strict=True))
        self._proxy.counts.clear()
        drivers: list[subprocess.Popen[bytes]] = []
        started = time.monotonic()
        try:
            while True:
                if time.monotonic() - started > SECONDS_A_RUN:
                    report.problems.append(f"the run was not over after {SECONDS_A_RUN:g} s")
                    break
                alive = [driver for driver in drivers if driver.poll() is None]
                if any(driver.returncode == 0 for driver in drivers) and not alive:
                    break
                if not alive:
                    alive = [self._start_driver(output, report, drivers)]
                while plan and self._meshes(output) >= plan[0][0]:
                    _, kind = plan.pop(0)
                    if self._strike(kind, chance, alive, output, report, drivers):
                        report.strikes[kind] += 1
                time.sleep(0.3)
        finally:
            self._proxy.plan = _no_fault
            for driver in drivers:
                driver.kill()
                driver.wait()
        report.seconds = time.monotonic() - started
        report.store_faults = Counter(self._proxy.counts)
        if plan:
            report.problems.append(f"{len(plan)} strikes came too late: {plan}")
        self._compare(output, report)
        return report

    def _upload(self) -> None:
        pictures = self._folder / "pictures"
        draw_pictures(pictures, self._images)
        store = self._stores.open(f"s3://{self._bucket}")
        for path in sorted(pictures.rglob("*.png")):
            store.put(f"s3://{self._bucket}/photos/{path.relative_to(pictures)}", path.read_bytes())
        shutil.rmtree(pictures)

    def _add_node(self) -> Any:
        return self._cluster.add_node(num_cpus=CPUS, object_store_memory=80 * 2**20)

    def _undisturbed(self) -> tuple[dict[str, dict[str, Any]], float]:
        output, started, report = f"s3://{self._bucket}/undisturbed", time.monotonic(), Report(0, self._images)
        driver = self._start_driver(output, report, [])
        if driver.wait(SECONDS_A_RUN) != 0:
            raise AssertionError(f"the undisturbed run failed: {self._said(report.drivers)}")
        return self._rows(output), time.monotonic() - started

    def _start_driver(
        self, output: str, report: Report, drivers: list[subprocess.Popen[bytes]]
    ) -> subprocess.Popen[bytes]:
        report.drivers += 1
        settings = SETTINGS | {
            "store.s3.endpoint_url": self._proxy.endpoint_url,
            "reconstruct.shard_size": self.shard_size,
        }
        options = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
        command = [sys.executable, "-m", "jobs.reconstruct", f"s3://{self._bucket}/photos", output]
        with self._log(report.drivers).open("wb") as log:
            driver = subprocess.Popen(
                [*command, "--address", self._cluster.address, *options], cwd=CHECKOUT, stdout=log, stderr=log
            )
        drivers.append(driver)
        return driver

    def _log(self, number: int) -> Path:
        return self._folder / f"driver-{number}.log"

    def _said(self, number: int) -> str:
        return self._log(number).read_text(errors="replace")[-2000:]

    def _meshes(self, output: str) -> int:
        """How many there are in an output now, asked past the proxy."""
        folder = f"{output}/meshes"
        return sum(1 for _ in self._stores.open(folder).list(folder))

    # --- what strikes

    def _strike(
        self,
        kind: str,
        chance: random.Random,
        alive: list[subprocess.Popen[bytes]],
        output: str,
        report: Report,
        drivers: list[subprocess.Popen[bytes]],
    ) -> bool:
        """Do it. False when there was nothing to do it to."""
        if kind in STORE_FAULTS:
            self._proxy.plan = _for_a_while(share(STORE_PERCENT, chance.randrange(2**32), (kind,)), STORE_REQUESTS)
            return True
        match kind:
            case "kill_reconstructor":
                return _kill_actor("Reconstructor", chance)
            case "kill_mesher":
                return _kill_actor("Mesher", chance)
            case "kill_driver":
                driver = chance.choice(alive)
                driver.kill()
                driver.wait()
                if len(alive) == 1:
                    uncommitted = self._meshes(output) - manifest.summary(self._stores, output).ok
                    report.lost_by_kill.append(uncommitted)
            case "stop_driver":
                chance.choice(alive).terminate()
            case "second_driver":
                self._start_driver(output, report, drivers)
            case "kill_node" | "drain_node":
                node = self._nodes.pop(chance.randrange(len(self._nodes)))
                if kind == "drain_node":
                    self._drain(node)
                self._cluster.remove_node(node, allow_graceful=kind == "drain_node")
                self._nodes.append(self._add_node())
        return True

    def _drain(self, node: Any) -> None:
        words = ["drain-node", "--address", self._cluster.address, "--node-id", node.node_id]
        words += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        words += ["--deadline-remaining-seconds", "1"]
        subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *words], check=True, stdout=subprocess.DEVNULL)
        time.sleep(1.2)  # a node that goes before its deadline counts as lost, not as preempted

    # --- what came out

    def _rows(self, output: str) -> dict[str, dict[str, Any]]:
        found = manifest.read(self._stores, output).to_pylist()
        rows = {row["item_id"]: row for row in found}
        if len(rows) != len(found):
            raise AssertionError(f"{len(found) - len(rows)} rows of {output} have an item that another has")
        return rows

    def _compare(self, output: str, report: Report) -> None:
        def say(finding: Finding) -> None:
            report.problems.append(f"{finding.kind}: {finding.uri}: {finding.message}")

        report.unreferenced = verify(self._stores, output, say).unreferenced
        rows = self._rows(output)
        report.rows, report.failed = len(rows), sum(row["status"] == "failed" for row in rows.values())
        report.tried_again = sum(row["attempts"] > 1 for row in rows.values())
        if rows.keys() != self.undisturbed.keys():
            report.problems.append(f"{len(rows.keys() ^ self.undisturbed.keys())} items are lost or made up")
        for item_id in rows.keys() & self.undisturbed.keys():
            expected, got = (
                {name: value for name, value in of[item_id].items() if name not in APART}
                for of in (self.undisturbed, rows)
            )
            if got != expected:
                names = [name for name in expected if got[name] != expected[name]]
                values = {name: (expected[name], got[name]) for name in names if name != "latent"}
                report.problems.append(f"{item_id} differs from the undisturbed run in {names}: {values}")


def _no_fault(method: str, target: str, before: int) -> str | None:
    return None


def _for_a_while(plan: Callable[[str, str, int], str | None], requests: int) -> Callable[[str, str, int], str | None]:
    """`plan` for so many requests, then nothing."""
    left = requests

    def limited(method: str, target: str, before: int) -> str | None:
        nonlocal left
        left -= 1
        return plan(method, target, before) if left >= 0 else None

    return limited


def _kill_actor(name: str, chance: random.Random) -> bool:
    """SIGKILL one process that holds such an actor: Ray puts the class into the process's title."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith(f"ray::{name}"):
                found.append(process)
    if not found:
        return False
    with suppress(psutil.Error):
        chance.choice(sorted(found, key=lambda process: process.pid)).send_signal(signal.SIGKILL)
    return True


@contextmanager
def prepared(gateway: Gateway, folder: Path, images: int) -> Iterator[Chaos]:
    """The cluster, the catalog and the undisturbed run. The environment must have the gateway's credentials."""
    with FaultyProxy(gateway.endpoint_url, _no_fault).running() as proxy:
        chaos = Chaos(gateway, proxy, folder, images)
        try:
            yield chaos
        finally:
            chaos.close()


def main() -> int:
    """Run every seed, print what came out; 1 if the promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, action="append", help="repeat for several; 1 if left out")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--faults", type=int, default=16, help="things that happen in one run")
    asked = parser.parse_args()
    broken = 0
    with tempfile.TemporaryDirectory(prefix="isofleet-chaos-") as name:
        folder = Path(name)
        with running(folder / "radosgw") as gateway:
            os.environ |= {
                "AWS_ACCESS_KEY_ID": gateway.access_key,
                "AWS_SECRET_ACCESS_KEY": gateway.secret_key,
                "AWS_DEFAULT_REGION": "us-east-1",
                "XDG_CACHE_HOME": str(folder / "cache"),
            }
            with prepared(gateway, folder, asked.images) as chaos:
                rows, seconds = len(chaos.undisturbed), chaos.undisturbed_seconds
                print(f"undisturbed: {rows} rows in shards of {chaos.shard_size}, {seconds:.0f} s", flush=True)
                for seed in asked.seed or [1]:
                    report = chaos.run(seed, drawn(seed, asked.faults))
                    print(json.dumps(vars(report)), flush=True)
                    broken += bool(report.problems)
    ray.shutdown()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT))
    sys.exit(main())
