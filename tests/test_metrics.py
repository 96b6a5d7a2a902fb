"""The driver's series, read as Prometheus reads them: over HTTP, with the official parser."""

import json
import re
import socket
import struct
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, get_args

import pytest
from ports import free_ports
from prometheus_client.parser import text_string_to_metric_families

from cluster import discovery, endpoint, metrics, pool
from cluster.config import Config, MetricsSettings, StoreSettings
from cluster.discovery import Target
from cluster.endpoint import Address
from cluster.errors import RequestError
from cluster.metrics import DriverMetrics, Metrics
from cluster.store import NotFound, StoreError, Stores
from workers.tally import Request

LOOPBACK = MetricsSettings()


def samples(text: str, apart: tuple[str, ...] = ()) -> dict[tuple[str, ...], float]:
    """Every sample by its name and its label values, in the order of the labels' names, some of which are left out."""
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name not in apart)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(url: str) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return samples(answer.read().decode())


def settings(**given: Any) -> MetricsSettings:
    return Config.model_validate({"metrics": given}).metrics


def test_a_run_as_prometheus_sees_it(tmp_path: Path) -> None:
    driver = DriverMetrics()
    with discovery.serve(LOOPBACK, driver) as (address, _):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", address.url)
        before = scrape(address.url)
        # There from the start: a rate over a series that appears with its first event misses that event.
        unlabelled = ("isofleet_last_success_timestamp_seconds",), ("isofleet_decoder_points_total",)
        labelled = [("isofleet_images_total", outcome) for outcome in ("ok", "failed", "carried")]
        labelled += [("isofleet_actor_restarts_total", reason) for reason in get_args(pool.Reason)]
        labelled += [("isofleet_store_requests_total", "put", kind.outcome) for kind in StoreError.__subclasses__()]
        assert all(before[name] == 0 for name in (*unlabelled, *labelled))
        driver.begun("a-run", "/meshes", "1.2+3", 64, "glb", 12.5)
        driver.planned(4)
        driver.planned(3)
        driver.committed_before(1, {"ok": 3, "failed": 1})
        driver.in_flight({"waiting": 1, "mesh": 2})
        driver.actors("mesher", 5)
        driver.shard_committed({"ok": 1, "failed": 1, "carried": 1})
        driver.vanished(4)
        driver.stage("decode", 0.004)
        driver.stage("decode", 90.0)
        driver.points(5000)
        driver.actor_restarted("out_of_memory")
        store = Stores(StoreSettings(), driver.store_request).open(str(tmp_path))
        store.put(f"{tmp_path}/a", b"12345")
        with pytest.raises(NotFound):
            store.get(f"{tmp_path}/b")
        driver.store_requests([Request("get", "ok", 7, 700, 0, 2)])
        driver.succeeded()
        after = scrape(address.url)
    assert after.keys() - before.keys() == {("isofleet_run_info", "1.2+3", "glb", "/meshes", "64", "a-run")}
    assert after["isofleet_run_info", "1.2+3", "glb", "/meshes", "64", "a-run"] == 1  # by the names of the labels
    assert after["isofleet_error_budget_ratio",] == 0.125
    assert (after["isofleet_images_planned",], after["isofleet_shards_planned",]) == (7, 2)
    assert after["isofleet_images_in_flight",] == 3
    assert [after["isofleet_queue_depth", queue] for queue in get_args(metrics.Queue)] == [1, 0, 0, 2]
    assert after["isofleet_actors", "mesher"] == 5
    assert after["isofleet_images_total", "ok"] == 4
    assert after["isofleet_images_total", "failed"] == 2
    assert after["isofleet_images_total", "carried"] == 1
    assert after["isofleet_images_vanished",] == 4
    assert after["isofleet_shards_committed_total",] == 2
    assert after["isofleet_stage_seconds_count", "decode"] == 2
    assert after["isofleet_stage_seconds_sum", "decode"] == pytest.approx(90.004)
    assert after["isofleet_stage_seconds_bucket", "0.005", "decode"] == 1
    assert after["isofleet_stage_seconds_bucket", "120.0", "decode"] == 2
    assert after["isofleet_decoder_points_total",] == 5000
    assert after["isofleet_actor_restarts_total", "out_of_memory"] == 1
    assert after["isofleet_store_requests_total", "put", "ok"] == 1
    assert after["isofleet_store_requests_total", "get", "not_found"] == 1
    assert after["isofleet_store_requests_total", "get", "ok"] == 7
    assert after["isofleet_store_retries_total", "get"] == 2
    assert after["isofleet_store_retries_total", "put"] == 0
    assert after["isofleet_store_bytes_total", "sent"] == 5
    assert after["isofleet_store_bytes_total", "received"] == 700
    for moment in ("run_started", "last_commit", "last_success"):
        assert after[f"isofleet_{moment}_timestamp_seconds",] == pytest.approx(time.time(), abs=60)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address.url, timeout=1)


def test_what_pool_and_store_can_say_is_there_from_the_start() -> None:
    assert set(metrics.RESTART_REASONS) == set(get_args(pool.Reason))
    assert set(metrics.STORE_OUTCOMES) == {"ok", "error"} | {kind.outcome for kind in StoreError.__subclasses__()}


@pytest.mark.parametrize("kind", [DriverMetrics, metrics.SchedulerMetrics])
def test_series_are_named_as_prometheus_wants(kind: type[Metrics]) -> None:
    made = kind()
    exposed = {family.name: family for family in text_string_to_metric_families(made.render())}
    assert {series.name.removesuffix("_total") for series in made.series} == exposed.keys()
    for series in made.series:
        assert (series.kind == "counter") == series.name.endswith("_total")
        assert re.fullmatch(r"isofleet_[a-z_]+", series.name)
        assert exposed[series.name.removesuffix("_total")].type == series.kind
        assert series.labels.keys() <= {
            "outcome", "queue", "stage", "pool", "reason", "operation", "direction", "schedule",
            "run_id", "output", "code_version", "resolution", "format",
        }  # fmt: skip


def test_two_runs_in_one_process_do_not_mix() -> None:
    first, second = DriverMetrics(), DriverMetrics()
    first.shard_committed({"ok": 1})
    assert samples(first.render())["isofleet_images_total", "ok"] == 1
    assert samples(second.render())["isofleet_images_total", "ok"] == 0


def fetch(url: str, method: str = "GET") -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


def test_a_run_is_never_shown_under_another_runs_name() -> None:
    """Prometheus goes on scraping the port of a run that has ended, where the next one may listen by now."""
    with discovery.serve(LOOPBACK, DriverMetrics()) as (address, targets):
        assert fetch(f"{address.url}/earlier")[0] == fetch(f"{address.url}/None")[0] == 404
        targets.begin("later")
        assert fetch(f"{address.url}/earlier")[0] == 404
        assert fetch(f"{address.url}/later") == fetch(address.url)
        assert fetch(address.url)[0] == 200


def test_clients_that_go_or_are_silent_leave_no_trace(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint._Handler, "timeout", 0.2)
    with discovery.serve(LOOPBACK, DriverMetrics()) as (address, _):
        with socket.create_connection((address.host, address.port)) as silent:
            assert silent.recv(1) == b""  # cut off
        with socket.create_connection((address.host, address.port)) as gone:
            gone.sendall(b"GET /metr")
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        assert scrape(address.url)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_discovery_has_nothing_to_say_before_the_run_is_known() -> None:
    with discovery.serve(LOOPBACK, DriverMetrics()) as (address, targets):
        page = address.url.replace("/metrics", "/discovery")
        assert fetch(page) == (200, "application/json", b"[]")
        targets.begin("a-run")
        targets.add("n1", Target(Address("::1", 9100), "node-1", "node"))
        path = {"__metrics_path__": "/metrics/a-run"}
        status, kind, body = fetch(page)
        assert (status, kind) == (200, "application/json")
        assert json.loads(body) == [
            {
                "targets": [f"127.0.0.1:{address.port}"],
                "labels": {"run": "a-run", "node": socket.gethostname(), "role": "driver", **path},
            },
            {"targets": ["[::1]:9100"], "labels": {"run": "a-run", "node": "node-1", "role": "node", **path}},
        ]
        targets.remove("n1")
        targets.remove("n1")
        assert len(json.loads(fetch(page)[2])) == 1
        assert fetch(page, "HEAD") == (200, "application/json", b"")
        assert fetch(page, "POST")[0] == 405
        for path in ("/", "/discovery/", "/metrics/x", "/../metrics", "/%00"):
            assert fetch(address.url.replace("/metrics", path))[0] == 404


@pytest.mark.parametrize("host", ["192.0.2.254", "no-such-host.invalid", "\u00e4" * 70])
def test_an_address_that_is_not_here_is_said(host: str) -> None:
    with (
        pytest.raises(RequestError, match=f"{host}.*metrics.host"),
        discovery.serve(settings(host=host), DriverMetrics()),
    ):
        pass


def test_several_runs_share_a_range_of_ports() -> None:
    first, _ = free_ports(2)
    both = settings(port=first, port_tries=2)
    with discovery.serve(both, DriverMetrics()) as (one, _), discovery.serve(both, DriverMetrics()) as (other, _):
        assert [one.port, other.port] == [first, first + 1]
        with (
            pytest.raises(RequestError, match=f"127.0.0.1:{first} to {first + 1} .*metrics.port_tries"),
            discovery.serve(both, DriverMetrics()),
        ):
            pass


def test_ports_end_at_65535() -> None:
    with (
        socket.create_server(("127.0.0.1", 65535)),
        pytest.raises(RequestError, match=r"127\.0\.0\.1:65535 to 65544"),
        discovery.serve(settings(port=65535), DriverMetrics()),
    ):
        pass


def test_listening_everywhere_is_advertised_as_this_machine() -> None:
    with discovery.serve(settings(host="0.0.0.0"), DriverMetrics()) as (address, targets):
        targets.begin("a-run")
        (found,) = json.loads(targets.render())
        host, port = found["targets"][0].split(":")
        assert (host, int(port)) == (discovery.node_ip(), address.port)
        assert host != "0.0.0.0"
        assert scrape(f"http://{host}:{port}/metrics")["isofleet_images_total", "ok"] == 0
