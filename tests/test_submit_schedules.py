"""Schedules on a real cluster: real schedulers, real minutes, real jobs."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from ray_head import Head, isofleet, known, rows_of


def test_two_schedulers_submit_a_tick_once(head: Head, checkout: Path, photos: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((checkout / "ray_config.yaml").read_text()) | {
        "metrics": {"enabled": True},
        "scheduler": {"state": str(tmp_path / "state"), "poll_seconds": 5},
        "schedules": {
            "minutely": {
                "cron": "* * * * *",
                "catalog": "photos",
                "output": f"{tmp_path}/minutely/{{tick:%Y-%m-%dT%H%M}}",
                "overlap": "allow",
                "jitter_seconds": 2,
                "reconstruct": {"limit": 2, "format": "ply"},
            },
            "yearly": {"cron": "0 0 1 1 *", "catalog": "photos", "output": f"{tmp_path}/yearly/{{tick:%Y}}"},
        },
    }
    (tmp_path / "schedules.yaml").write_text(yaml.safe_dump(config))
    chosen = ["--config", str(tmp_path / "schedules.yaml")]
    command = [sys.executable, "-m", "jobs.cli", "schedule", *chosen]
    environment = head.environment | {"RAY_API_SERVER_ADDRESS": head.dashboard}
    logs = [(tmp_path / f"{number}.log").open("w+") for number in range(2)]
    pair = [subprocess.Popen(command, cwd=checkout, env=environment, stderr=log, text=True) for log in logs]

    def said(pattern: str) -> list[str]:
        return re.findall(pattern, "".join(Path(log.name).read_text() for log in logs), re.MULTILINE)

    def submitted() -> list[str]:
        return said(r"schedule minutely: tick (\w+) submitted: as isofleet-minutely-\1$")

    try:
        deadline = time.monotonic() + 120
        while len(targets := said(r"^metrics: (http://127\.0\.0\.1:\d+/metrics)$")) < 2 or not submitted():
            assert time.monotonic() < deadline, said(".*")
            time.sleep(0.5)
        counted = [scraped(target) for target in targets]
    finally:
        for process in pair:
            process.send_signal(signal.SIGTERM)
        ends = [process.wait(30) for process in pair]
    assert ends == [0, 0]
    ticks = submitted()
    ids = [f"isofleet-minutely-{tick}" for tick in ticks]
    assert len(set(ids)) == len(ids)
    assert sorted(job for job in known(head) if job.startswith("isofleet-minutely-")) == sorted(ids)
    assert [path.name for path in sorted((tmp_path / "state" / "minutely").glob("2*.json"))] == [
        f"{tick}{suffix}" for tick in sorted(ticks) for suffix in (".json", ".outcome.json")
    ]
    counts = [series["isofleet_schedule_ticks_total", "minutely", "submitted"] for series in counted]
    assert 1 <= sum(counts) <= len(ticks)
    assert all(series["isofleet_scheduler_heartbeat_timestamp_seconds",] > time.time() - 60 for series in counted)

    by_hand = isofleet(head, checkout, "schedule", "run", "yearly", *chosen)
    assert by_hand.returncode == 0, by_hand.stderr
    again = isofleet(head, checkout, "schedule", "run", "yearly", *chosen)
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    for submission_id in (*ids, by_hand.stdout.strip()):
        assert isofleet(head, checkout, "logs", submission_id, "--follow").returncode == 0

    listed = isofleet(head, checkout, "schedule", "list", "--json", *chosen)
    minutely, yearly = json.loads(listed.stdout)["schedules"]
    assert (minutely["last"]["submission_id"], minutely["last"]["job_state"]) == (max(ids), "SUCCEEDED")
    assert minutely["last"]["outcome"] == "submitted"
    assert minutely["last"]["succeeded"] is True
    assert minutely["last_success"]["output"] == minutely["last"]["output"]
    assert yearly["last"]["manual"] is True
    assert yearly["last"]["submission_id"] == by_hand.stdout.strip()
    assert [tick[4:] for tick in yearly["next"]] == ["-01-01T00:00:00+00:00"] * 3
    rows = rows_of(Path(minutely["last"]["output"]))
    assert [(row["status"], row["format"], row["resolution"]) for row in rows] == [("ok", "ply", 16)] * 2
    assert all(Path(row["mesh_uri"]).stat().st_size == row["mesh_bytes"] for row in rows)
    assert len(rows_of(Path(yearly["last"]["output"]))) == 12
    shown = isofleet(head, checkout, "schedule", "list", *chosen).stdout
    assert f"{max(ids)} to {minutely['last']['output']}\n" in shown
    assert "submitted, SUCCEEDED, succeeded\n" in shown
    for log in logs:
        log.close()


def scraped(target: str) -> dict[tuple[str, ...], float]:
    text = urllib.request.urlopen(target, timeout=10).read().decode()
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value for family in families for sample in family.samples
    }
