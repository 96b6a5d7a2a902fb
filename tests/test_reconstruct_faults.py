"""The main job on a store that fails: the same rows and the same bytes as without the faults."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from conftest import S3, Run
from faults import KINDS, FaultyProxy, share
from test_reconstruct import content, convert, rows_of, sample

from cluster.config import StoreSettings
from cluster.errors import RunError
from cluster.metrics import DriverMetrics
from cluster.store import Stores

SEED = 17  # one of those that meet every kind


def reach(endpoint_url: str) -> dict[str, Any]:
    """Settings to run through the proxy, with patience for what is slow and little for what is silent."""
    return {
        "store.s3.endpoint_url": endpoint_url,
        "store.s3.region": "us-east-1",
        "store.s3.read_timeout_seconds": 2.0,
    }


def upload(catalog: Path, s3: S3) -> None:
    store = Stores(StoreSettings(s3=s3.settings)).open(s3.uri(""))
    for path in catalog.rglob("*.png"):
        store.put(s3.uri(f"photos/{path.relative_to(catalog).as_posix()}"), path.read_bytes())


def assert_same(s3: S3, undisturbed: Run) -> None:
    """One row an image, equal to the undisturbed run's, and every mesh as its row says. Read without the proxy."""
    stores = Stores(StoreSettings(s3=s3.settings))
    rows, expected = rows_of(s3.uri("out"), stores), rows_of(undisturbed.output)
    assert rows.keys() == expected.keys()
    for item_id, row in rows.items():
        apart = ("source_uri", "etag", "attempts", "code_version")
        assert content(row, *apart) == content(expected[item_id], *apart)
        if row["status"] == "ok":
            mesh = stores.open(row["mesh_uri"]).get(row["mesh_uri"]).data
            assert (len(mesh), hashlib.sha256(mesh).hexdigest()) == (row["mesh_bytes"], row["mesh_sha256"])
            assert mesh == Path(expected[item_id]["mesh_uri"]).read_bytes()


def test_a_store_that_fails_one_request_in_five_changes_nothing(
    undisturbed: Run, catalog: Path, s3: S3, small: dict[str, Any]
) -> None:
    upload(catalog, s3)
    metrics = DriverMetrics()
    with FaultyProxy(s3.endpoint_url, share(20, SEED)).running() as proxy:
        result = convert(s3.uri("photos"), s3.uri("out"), small | reach(proxy.endpoint_url), metrics=metrics)
    assert (result.images, result.ok, result.failed) == (40, 35, 5)
    assert_same(s3, undisturbed)
    assert set(proxy.counts) == set(KINDS)
    harmless = proxy.counts["latency"] + proxy.counts["slow_drip"]
    assert 0 < sample(metrics, "isofleet_store_retries_total") <= proxy.counts.total() - harmless


def test_a_store_that_breaks_down_is_resumed_from(
    undisturbed: Run, catalog: Path, s3: S3, small: dict[str, Any]
) -> None:
    """Credentials that nobody renews stop the run with what to do; no picture is failed for it."""
    upload(catalog, s3)
    commits: list[str] = []

    def plan(method: str, target: str, before: int) -> str | None:
        if method == "PUT" and "/manifest/" in target:
            commits.append(target)
        return "expired_token" if len(commits) > 2 else None

    with FaultyProxy(s3.endpoint_url, plan).running() as proxy:
        settings = small | reach(proxy.endpoint_url) | {"store.s3.max_attempts": 2}
        with pytest.raises(RunError, match=r"have expired \(ExpiredToken\); renew them .* what was committed stays"):
            convert(s3.uri("photos"), s3.uri("out"), settings)
        stores = Stores(StoreSettings(s3=s3.settings))
        before = rows_of(s3.uri("out"), stores)
        assert len(before) == 8
        assert {row["error_code"] for row in before.values()}.isdisjoint({"source_denied", "source_unreadable"})
        proxy.plan = lambda method, target, before: None
        result = convert(s3.uri("photos"), s3.uri("out"), settings)
    assert result.shards_resumed == 2
    assert before.items() <= rows_of(s3.uri("out"), stores).items()
    assert_same(s3, undisturbed)
