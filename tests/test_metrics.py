"""The driver's series, read as Prometheus reads them: over HTTP, with the official parser."""

import re
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.config import StoreSettings
from cluster.errors import RequestError
from cluster.metrics import DriverMetrics
from cluster.store import NotFound, Stores
from workers.tally import Request


def scrape(url: str) -> dict[tuple[str, ...], float]:
    """Every sample by its name and its label values, in the order of the labels' names."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_run_as_prometheus_sees_it(tmp_path):
    metrics = DriverMetrics()
    with metrics.serve("127.0.0.1", 0) as url:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", url)
        before = scrape(url)
        assert before["isofleet_images_total", "ok"] == before["isofleet_images_total", "failed"] == 0
        assert before["isofleet_last_success_timestamp_seconds",] == 0
        metrics.in_flight(3)
        for outcome in ("ok", "ok", "failed", "carried"):
            metrics.image(outcome)
        metrics.vanished(4)
        metrics.stage("decode", 0.004)
        metrics.stage("decode", 90.0)
        metrics.points(5000)
        metrics.shard_committed()
        metrics.actor_restarted("out_of_memory")
        store = Stores(StoreSettings(), metrics.store_request).open(str(tmp_path))
        store.put(f"{tmp_path}/a", b"12345")
        with pytest.raises(NotFound):
            store.get(f"{tmp_path}/b")
        metrics.store_requests([Request("get", "ok", 7, 700, 0)])
        metrics.succeeded()
        after = scrape(url)
    assert after["isofleet_images_in_flight",] == 3
    assert after["isofleet_images_total", "ok"] == 2
    assert after["isofleet_images_total", "failed"] == after["isofleet_images_total", "carried"] == 1
    assert after["isofleet_images_vanished",] == 4
    assert after["isofleet_stage_seconds_count", "decode"] == 2
    assert after["isofleet_stage_seconds_sum", "decode"] == pytest.approx(90.004)
    assert after["isofleet_stage_seconds_bucket", "0.005", "decode"] == 1
    assert after["isofleet_stage_seconds_bucket", "120.0", "decode"] == 2
    assert after["isofleet_decoder_points_total",] == 5000
    assert after["isofleet_shards_committed_total",] == 1
    assert after["isofleet_actor_restarts_total", "out_of_memory"] == 1
    assert after["isofleet_store_requests_total", "put", "ok"] == 1
    assert after["isofleet_store_requests_total", "get", "not_found"] == 1
    assert after["isofleet_store_requests_total", "get", "ok"] == 7
    assert after["isofleet_store_bytes_total", "sent"] == 5
    assert after["isofleet_store_bytes_total", "received"] == 700
    assert after["isofleet_last_success_timestamp_seconds",] == pytest.approx(time.time(), abs=60)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=1)


def test_the_series_are_those_of_the_design():
    families = {family.name: family.type for family in text_string_to_metric_families(DriverMetrics().render())}
    assert {name: kind for name, kind in families.items() if not name.endswith("_created")} == {
        "isofleet_images": "counter",
        "isofleet_stage_seconds": "histogram",
        "isofleet_decoder_points": "counter",
        "isofleet_images_in_flight": "gauge",
        "isofleet_images_vanished": "gauge",
        "isofleet_shards_committed": "counter",
        "isofleet_actor_restarts": "counter",
        "isofleet_store_requests": "counter",
        "isofleet_store_bytes": "counter",
        "isofleet_last_success_timestamp_seconds": "gauge",
    }


def test_two_runs_in_one_process_do_not_mix():
    first, second = DriverMetrics(), DriverMetrics()
    first.image("ok")
    assert 'isofleet_images_total{outcome="ok"} 1.0' in first.render()
    assert 'isofleet_images_total{outcome="ok"} 0.0' in second.render()


@pytest.mark.parametrize("host", ["192.0.2.254", "no-such-host.invalid"])
def test_an_address_that_is_not_here_is_said(host):
    with pytest.raises(RequestError, match=f"{host}.*metrics.host"), DriverMetrics().serve(host, 0):
        pass


def test_a_taken_port_is_said():
    with DriverMetrics().serve("127.0.0.1", 0) as url:
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(RequestError, match=f"127.0.0.1:{port}"), DriverMetrics().serve("127.0.0.1", port):
            pass
