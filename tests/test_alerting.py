"""The shipped rules, dashboards and example configurations at work: a real run, watched by a real Prometheus, whose
alert goes through a real Alertmanager to a real receiver.

The files are used as they are shipped, but for addresses and for what only makes a test slow: the intervals of
scraping, evaluating, discovering and grouping, and each alert's `for`. Expressions, labels, annotations, routes and
inhibitions are not touched.
"""

import json
import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import yaml
from ports import free_port
from prometheus import Prometheus, prometheus, pushgateway, serving, wait_until
from servers import require
from test_monitoring import ALERTS, DASHBOARDS, RECORDS

from cluster import discovery, endpoint, monitoring
from cluster.config import Config, load
from cluster.metrics import DriverMetrics, SchedulerMetrics
from jobs.progress import Progress
from jobs.reconstruct import Result, reconstruct

SCHEDULE = "nightly"
# A machine without a GPU has none of these: the panels of a GPU, and the alert of idle ones.
GPU = re.compile(r"\bisofleet_node_gpu_")
_NAME = r"(?:isofleet_\w+|[a-z_]+:[a-z_]+:\w+|up|push_time_seconds)"


@dataclass
class Watched:
    """A run and what Prometheus and the receiver came to know of it."""

    result: Result
    answered: set[str]  # expressions that had a value, while the run went on or after it
    received: list[dict[str, Any]] = field(default_factory=list)  # what Alertmanager posted, with its `path`


@pytest.fixture(scope="module")
def watched(
    pictures: Path, small: dict[str, Any], ray_session: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """A run of which two images in three fail, held up now and then until Prometheus has seen what there was."""
    require("prometheus", "prometheus-alertmanager", "prometheus-pushgateway")
    folder = tmp_path_factory.mktemp("watched")
    photos = catalog(folder / "photos", pictures)
    metrics, received = DriverMetrics(), []
    with pushgateway(folder) as gateway, receiver(received) as webhook, alertmanager(folder, webhook) as alerts:
        config = load(None, {}, small | {
            "metrics.enabled": True, "metrics.pushgateway": gateway, "reconstruct.max_failed_percent": 10.0,
        })  # fmt: skip
        with (
            discovery.serve(config.metrics, metrics) as (address, targets),
            scheduler(config) as schedules,
            prometheus(folder, configuration(folder, str(address), schedules, gateway, alerts)) as server,
        ):
            eyes = Eyes(server, metrics)
            result = reconstruct(
                str(photos), str(folder / "meshes"), config, on_progress=eyes.see, metrics=metrics, targets=targets
            )
            eyes.run = result.run_id
            pushed = f'push_time_seconds{{run="{result.run_id}"}}'
            wait_until(lambda: server.query(pushed), "the Pushgateway to be scraped")
            wait_until(lambda: told(received, "IsofleetErrorBudgetExceeded"), "Alertmanager to post")
            wait_until(lambda: not eyes.look() or eyes.patience_is_over(), "every expression to be answered")
        yield Watched(result, eyes.answered, received)


class Eyes:
    """Asks Prometheus every expression that is shipped, until each has had a value."""

    def __init__(self, server: Prometheus, metrics: DriverMetrics) -> None:
        self.server = server
        self.run = ".+"
        self.answered: set[str] = set()
        self._metrics = metrics
        self._next = 4  # committed images at which the driver is held up next
        self._ended: float | None = None

    def see(self, progress: Progress) -> None:
        """Hold the driver up, twice, until Prometheus has scraped what it has committed and evaluated the rules."""
        committed = sum(
            sample.value
            for family in self._metrics.registry.collect()
            for sample in family.samples
            if sample.name == "isofleet_images_total"
        )
        if committed < self._next or not progress.in_flight:
            return
        self._next += 12
        seen = wait_until(
            lambda: {run: value for run, value in self._counted().items() if value == committed},
            "the rules to have seen what is committed",
        )
        self.run = next(iter(seen))
        wait_until(lambda: self.server.query('up{role="node"} == 1'), "the node's exporter to be scraped")
        time.sleep(2)  # two more scrapes and evaluations
        self.look()

    def look(self) -> set[str]:
        """Ask what has not been answered yet; returns what still is not, though this machine could."""
        for expression in queries() - self.answered:
            values = self.server.query(filled(expression, self.run)).values()
            if any(not math.isnan(value) for value in values):
                self.answered.add(expression)
        return {expression for expression in queries() - self.answered if not GPU.search(expression)}

    def patience_is_over(self) -> bool:
        """Whether the run ended so long ago that nothing more will come: the test then says what is missing."""
        self._ended = self._ended or time.monotonic()
        return time.monotonic() - self._ended > 15

    def _counted(self) -> dict[str, float]:
        return self.server.by("run", "run:isofleet_images:max")


def queries() -> set[str]:
    """Panels' and annotations' expressions, recordings' names, and each selector of an alert. Of schedules no alert
    fires here, so that their annotation would be empty."""
    found = set(RECORDS)
    for board in DASHBOARDS.values():
        found |= {target["expr"] for panel in board["panels"] for target in panel.get("targets", ())}
        found |= {
            annotation["expr"] for annotation in board["annotations"]["list"] if "schedule" not in annotation["expr"]
        }
    for rule in ALERTS.values():
        found |= set(re.findall(rf"\b{_NAME}(?:{{[^}}]*}})?", re.sub(r"\b(?:by|on) \([^)]*\)", "", rule["expr"])))
    return found


def filled(expression: str, run: str) -> str:
    """An expression as Grafana sends it: its variables replaced."""
    for name, value in {"run": run, "schedule": SCHEDULE, "__rate_interval": "1m", "__range_s": "3600"}.items():
        expression = re.sub(rf"\$\{{?{name}\b\}}?", value, expression)
    assert "$" not in expression
    return expression


def catalog(folder: Path, pictures: Path) -> Path:
    """36 files, every third a picture and the others none."""
    folder.mkdir()
    good = sorted(pictures.rglob("*.png"))
    for number in range(36):
        path = folder / f"{number:02d}.png"
        if number % 3 == 0:
            copy(good[number // 3], path)
        else:
            path.write_text("no picture at all\n")
    return folder


@contextmanager
def scheduler(config: Config) -> Iterator[str]:
    """A scheduler's series, served: it has done one tick and succeeded."""
    metrics, now = SchedulerMetrics(), time.time()
    metrics.known(SCHEDULE)
    metrics.tick(SCHEDULE, "submitted")
    metrics.between(SCHEDULE, created=now - 7200, last_tick=now - 1200, next_tick=now + 2400, interval=3600)
    metrics.succeeded(SCHEDULE, now - 600)
    metrics.looked(now)
    with endpoint.serve(config.metrics, metrics.registry) as address:
        yield str(address)


def configuration(folder: Path, driver: str, schedules: str, gateway: str, alerts: str) -> dict[str, Any]:
    """The shipped prometheus.yml with these addresses and a second for every interval; its rules beside it."""
    for name in ("recording.yml", "alerts.yml"):
        text = (monitoring.HERE / name).read_text(encoding="utf-8")
        (folder / name).write_text(re.sub(r"^( +for:) \w+$", r"\1 1s", text, flags=re.M), encoding="utf-8")
    made = yaml.safe_load((monitoring.HERE / "prometheus.yml").read_text(encoding="utf-8"))
    made["global"] = dict.fromkeys(made["global"], "1s")
    made["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alerts]
    jobs = {job["job_name"]: job for job in made["scrape_configs"]}
    jobs["isofleet"]["http_sd_configs"] = [{"url": f"http://{driver}/discovery", "refresh_interval": "1s"}]
    jobs["isofleet-scheduler"]["static_configs"][0]["targets"] = [schedules]
    jobs["isofleet-pushgateway"]["static_configs"][0]["targets"] = [gateway.removeprefix("http://")]
    return dict(made)


@contextmanager
def alertmanager(folder: Path, webhook: str) -> Iterator[str]:
    """An Alertmanager with the shipped configuration, its receivers and intervals replaced. Gives HOST:PORT."""
    made = yaml.safe_load((monitoring.HERE / "alertmanager.yml").read_text(encoding="utf-8"))
    made["route"] |= {"group_wait": "1s", "group_interval": "2s"}
    for one in made["receivers"]:
        one["webhook_configs"][0]["url"] = f"{webhook}/{one['name']}"
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(made))
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        "prometheus-alertmanager", f"--config.file={file}", f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address={address}", "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip
    with serving(arguments, f"http://{address}/-/ready", folder / "alertmanager.log"):
        yield address


@contextmanager
def receiver(received: list[dict[str, Any]]) -> Iterator[str]:
    """An HTTP server that keeps what is posted to it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append({"path": self.path, **body})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def told(received: list[dict[str, Any]], name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What was posted of an alert, and the alert in it."""
    return [(post, alert) for post in received for alert in post["alerts"] if alert["labels"]["alertname"] == name]


def test_a_run_over_its_error_budget_is_told_to_whoever_is_responsible(watched: Watched) -> None:
    assert not watched.result.within_budget
    assert (watched.result.ok, watched.result.failed) == (12, 24)
    post, alert = told(watched.received, "IsofleetErrorBudgetExceeded")[-1]
    assert post["path"] == "/ticket"
    assert post["groupLabels"] == {"run": watched.result.run_id}
    assert alert["status"] == "firing"
    assert alert["labels"] == {
        "alertname": "IsofleetErrorBudgetExceeded", "run": watched.result.run_id, "severity": "ticket",
    }  # fmt: skip
    assert alert["annotations"]["runbook_url"] == "docs/operations.md#isofleeterrorbudgetexceeded"
    assert watched.result.run_id in alert["annotations"]["summary"]
    assert "of the images" in alert["annotations"]["description"]
    assert "its budget is 10%" in alert["annotations"]["description"]


def test_every_query_of_every_dashboard_and_rule_has_data_in_a_run(watched: Watched) -> None:
    missing = queries() - watched.answered
    gpu = {query for query in queries() if GPU.search(query)}
    assert missing in (set(), gpu)  # without a GPU, exactly these
