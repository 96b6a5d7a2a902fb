"""What a store that fails costs a run: the same pictures with no failing request, and with one in ten.

Both through the proxy of the tests, in front of moto, on one Ray: times are only meaningful as their ratio. Faults are
the same in every run with the same seed.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from cluster.config import RaySettings, StoreSettings, load
from cluster.session import session
from cluster.store import Stores
from jobs import manifest
from jobs.reconstruct import reconstruct
from tests.faults import FaultyProxy, share

COPIES = 25  # of each embedded picture
PERCENT, SEED = 10, 1


def run() -> dict[str, Any]:
    """Seconds of both runs, their ratio, the faults by kind, and whether both made the same meshes."""
    with _bucket() as (server, bucket), session(RaySettings()):
        _convert(server, bucket, "warm", 0)
        clean, _, expected = _convert(server, bucket, "clean", 0)
        faulty, proxy, made = _convert(server, bucket, "faulty", PERCENT)
    result = {
        "images": len(expected),
        "requests": len(proxy.seen),
        "faults": dict(sorted(proxy.counts.items())),
        "seconds_clean": round(clean, 1),
        "seconds_faulty": round(faulty, 1),
        "ratio": round(faulty / clean, 2),
        "same_meshes": made == expected,
    }
    print(
        f"{result['images']} images; {proxy.counts.total()} of {result['requests']} requests failed: {result['faults']}"
    )
    print(
        f"{clean:.1f} s without, {faulty:.1f} s with faults: {result['ratio']} times; same meshes: {made == expected}"
    )
    return result


@contextmanager
def _bucket() -> Iterator[tuple[str, str]]:
    """A server in this process, and a bucket with the pictures on it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "bench")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "bench")
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for every request
        moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        moto.start()
        host, port = moto.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="bench")
        with as_file(files("jobs.demo") / "images") as folder:
            for path in sorted(Path(folder).rglob("*.*")):
                for copy in range(COPIES):
                    key = f"photos/{path.parent.name}/{copy}-{path.name}"
                    client.put_object(Bucket="bench", Key=key, Body=path.read_bytes())
        try:
            yield f"http://{host}:{port}", "bench"
        finally:
            moto.stop()


def _convert(server: str, bucket: str, name: str, percent: float) -> tuple[float, FaultyProxy, dict[str, str]]:
    """Seconds, the proxy that was between, and each item's SHA-256."""
    with FaultyProxy(server, share(percent, SEED)).running() as proxy:
        settings = {
            "store.s3.endpoint_url": proxy.endpoint_url,
            "store.s3.region": "us-east-1",
            "store.s3.read_timeout_seconds": 2.0,  # a tenth of the default, as the run is of a night's
            "reconstruct.resolution": 32,
            "reconstruct.shard_size": 16,
        }
        config = load(None, {}, settings)
        started = time.perf_counter()
        reconstruct(f"s3://{bucket}/photos", f"s3://{bucket}/{name}", config)
        seconds = time.perf_counter() - started
    direct = StoreSettings(s3=config.store.s3.model_copy(update={"endpoint_url": server}))
    rows = manifest.read(Stores(direct), f"s3://{bucket}/{name}").to_pylist()
    return seconds, proxy, {row["item_id"]: row["mesh_sha256"] for row in rows if row["status"] == "ok"}


if __name__ == "__main__":
    run()
