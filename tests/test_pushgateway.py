"""A run's last values at a real Pushgateway, and what happens where there is none."""

import logging
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import Run
from ports import free_port
from prometheus import pushgateway
from test_metrics import samples

from cluster import pushgateway as pushing
from cluster.config import load
from cluster.errors import RequestError, RunError
from jobs.reconstruct import reconstruct


def resume(undisturbed: Run, catalog: Path, small: dict[str, Any], url: str) -> None:
    """Run again what is done: nothing is converted, and nothing written."""
    settings = load(None, {}, small | {"metrics.pushgateway": url})
    result = reconstruct(str(catalog), str(undisturbed.output), settings)
    assert (result.images, result.shards_resumed) == (40, 10)


def test_a_resumed_run_with_nothing_to_do_pushes_the_manifests_totals(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    run_id = undisturbed.result.run_id
    with pushgateway(tmp_path) as url:
        resume(undisturbed, catalog, small, url)
        groups = requests.get(f"{url}/api/v1/metrics", timeout=10).json()["data"]
        assert [group["labels"] for group in groups] == [{"job": "isofleet", "run": run_id}]
        text = requests.get(f"{url}/metrics", timeout=10).text
    seen = samples(text, apart=("instance", "job", "run"))  # which the group adds
    assert [seen["isofleet_images_total", outcome] for outcome in ("ok", "failed", "carried")] == [35, 5, 0]
    assert seen["isofleet_shards_committed_total",] == seen["isofleet_shards_planned",] == 10
    assert seen["isofleet_images_planned",] == 40
    assert seen["isofleet_images_in_flight",] == seen["isofleet_decoder_points_total",] == 0
    assert seen["isofleet_error_budget_ratio",] == 0.5
    assert seen["isofleet_last_success_timestamp_seconds",] == pytest.approx(time.time(), abs=60)


def test_a_run_that_fails_pushes_too(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RunError("as if the store had gone")

    monkeypatch.setattr("jobs.reconstruct._conclude", fail)
    with pushgateway(tmp_path) as url:
        with pytest.raises(RunError, match="as if"):
            resume(undisturbed, catalog, small, url)
        text = requests.get(f"{url}/metrics", timeout=10).text
    assert (
        f'isofleet_images_total{{instance="",job="isofleet",outcome="ok",run="{undisturbed.result.run_id}"}} 35' in text
    )


@pytest.mark.parametrize("gateway", ["nobody", "mute", "refuses"])
def test_a_gateway_that_does_not_take_it_costs_a_warning_and_seconds(
    gateway: str,
    undisturbed: Run,
    catalog: Path,
    small: dict[str, Any],
    s3_server: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(pushing, "_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # it accepts, and never says a word
        url, problem = {
            "nobody": (f"http://127.0.0.1:{free_port()}", "refused"),
            "mute": (f"http://127.0.0.1:{mute.getsockname()[1]}", "(timed out|no answer within 0.5 s)"),
            "refuses": (s3_server, "(4|5)[0-9][0-9]"),
        }[gateway]
        resume(undisturbed, catalog, small, url)
    (said,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"metrics.pushgateway {url} did not take the run's last metrics: " in said.getMessage()
    assert re.search(problem, said.getMessage().removeprefix(url)), said.getMessage()
    assert "\n" not in said.getMessage()


def test_a_password_has_no_place_in_the_address() -> None:
    for url in ("http://user:secret@gateway:9091", "http://gateway:9091/?token=secret", "gateway:9091"):
        with pytest.raises(RequestError) as refused:
            load(None, {}, {"metrics.pushgateway": url})
        assert str(refused.value).startswith("command line: metrics.pushgateway must be ")
        assert "secret" not in str(refused.value)
