"""What operators load: rules that promtool accepts and tests, dashboards, their runbook, and that all of them agree.

`tests/test_alerting.py` runs the same files with a real Prometheus and Alertmanager.
"""

import json
import re
import shlex
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from servers import require
from typer.testing import CliRunner

from cluster import monitoring
from cluster.config import Config, load
from cluster.errors import RequestError
from cluster.monitoring import grafana
from jobs.cli import app

ROOT = Path(__file__).parent.parent
RULES = [monitoring.HERE / "recording.yml", monitoring.HERE / "alerts.yml"]
CASES = sorted(Path(__file__).parent.glob("monitoring/*.yml"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
DASHBOARDS = {path.name: json.loads(path.read_text("utf-8")) for path in monitoring.HERE.glob("dashboards/*.json")}


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """The rules of a kind, `alert` or `record`, by name."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    found = [rule for group in groups for rule in group["rules"] if kind in rule]
    named = {rule[kind]: rule for rule in found}
    assert len(named) == len(found), "two rules have one name"
    return named


ALERTS, RECORDS = rules("alert"), rules("record")


def expressions() -> dict[str, str]:
    """Every expression that is shipped, by where it stands."""
    found = {f"rule {name}": rule["expr"] for name, rule in (ALERTS | RECORDS).items()}
    for file, board in DASHBOARDS.items():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                found[f"{file}: {panel['id']} {panel['title']} {target['refId']}"] = target["expr"]
        for annotation in board["annotations"]["list"]:
            found[f"{file}: {annotation['name']}"] = annotation["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                found[f"{file}: ${variable['name']}"] = variable["query"]["query"]
    return found


def run_tool(*words: object) -> str:
    """Run one of Prometheus's tools, which must end well."""
    require(str(words[0]))
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- the tools' own judgement


def test_the_example_of_a_prometheus_is_accepted_with_its_rules() -> None:
    said = run_tool("promtool", "check", "config", monitoring.HERE / "prometheus.yml")
    assert "2 rule files found" in said


def test_the_example_of_an_alertmanager_is_accepted() -> None:
    run_tool("amtool", "check-config", monitoring.HERE / "alertmanager.yml")


@pytest.mark.parametrize("file", CASES, ids=lambda path: path.stem)
def test_rules_fire_when_they_should_and_not_otherwise(file: Path) -> None:
    run_tool("promtool", "test", "rules", file)


def test_every_alert_has_a_case_that_fires_and_one_that_must_not() -> None:
    fires, silent = set(), set()
    for case in (case for file in CASES for case in yaml.safe_load(file.read_text("utf-8"))["tests"]):
        for one in case.get("alert_rule_test", ()):
            (fires if one.get("exp_alerts") else silent).add(one["alertname"])
    assert fires == silent == set(ALERTS)


# --- what every rule must have


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_who_acts_and_what_about(name: str) -> None:
    rule = ALERTS[name]
    assert name.startswith("Isofleet")
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in ("page", "ticket")
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"] == f"{monitoring.RUNBOOK}#{name.lower()}"
    assert notes["summary"].endswith(".")
    subject = re.search(r"\$labels\.(run|schedule|instance)\b", notes["summary"])
    assert subject or name == "IsofleetSchedulerDown", "it names nothing"


@pytest.mark.parametrize("name", RECORDS)
def test_a_recording_is_named_as_prometheus_recommends(name: str) -> None:
    level, metric, operations = name.split(":")
    assert re.fullmatch(r"(run|fleet|schedule)(_outcome|_stage)?(_le)?", level)
    assert re.fullmatch(r"isofleet_[a-z_]+", metric)
    assert not metric.endswith("_total"), "rates drop _total"
    assert re.fullmatch(r"(max|min|ratio|p50|p95)?_?(rate5m|max8d|ratio_rate5m)?", operations)
    assert operations


def test_what_is_recorded_is_used_and_what_is_used_is_recorded() -> None:
    used = {name for text in expressions().values() for name in re.findall(r"\b[a-z_]+:[a-z_]+:[a-z0-9_]+", text)}
    assert used == set(RECORDS)


def test_every_series_that_is_asked_for_exists() -> None:
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(isofleet_\w+)` \|", text, re.MULTILINE))
    assert "isofleet_images_total" in documented
    for where, text in expressions().items():
        text = re.sub(r"\b[a-z_]+:[a-z_]+:[a-z0-9_]+", "", text)  # recordings, judged above
        for name in re.findall(r"\bisofleet_\w+", text):
            assert re.sub(r"_(bucket|sum|count)$", "", name) in documented | {name} & documented, f"{where}: {name}"


# --- dashboards


def test_the_dashboards_are_those_that_the_code_makes() -> None:
    made = grafana.files()
    assert set(made) == set(DASHBOARDS)
    for name, text in made.items():
        assert (grafana.FOLDER / name).read_text(encoding="utf-8") == text, (
            f"run `python -m cluster.monitoring.grafana`: {name} is not what it writes"
        )


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_one_that_grafana_imports(name: str) -> None:
    board = DASHBOARDS[name]
    assert board["schemaVersion"] >= 38  # Grafana 10
    assert "id" not in board, "an id of another Grafana's database"
    assert 8 <= len(board["uid"]) <= 40
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for one, other in combinations([panel["gridPos"] for panel in board["panels"]], 2):
        apart = (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
        assert apart, f"{one} lies over {other}"
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_say_what_they_show_and_use_the_chosen_prometheus(name: str) -> None:
    board = DASHBOARDS[name]
    variables = {variable["name"] for variable in board["templating"]["list"]}
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert "datasource" in variables
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == source
        assert panel["options"], "Grafana stumbles over null"
        assert panel["targets"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
        for target in panel["targets"]:
            assert target["datasource"] == source
            asked = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {"__rate_interval", "__range_s"}
            assert asked <= variables


def test_dashboards_link_to_dashboards_that_exist() -> None:
    uids = {board["uid"] for board in DASHBOARDS.values()}
    links = {uid for board in DASHBOARDS.values() for uid in re.findall(r"/d/([\w-]+)", json.dumps(board))}
    assert links
    assert links <= uids


# --- the runbook


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    alerts = OPERATIONS.split("\n## Alerts\n")[1].split("\n## ")[0]
    sections = re.split(r"^### ", alerts, flags=re.M)[1:]
    assert sorted(section.partition("\n")[0] for section in sections) == sorted(ALERTS)
    for section in sections:
        name = section.partition("\n")[0]
        severity = ALERTS[name]["labels"]["severity"]
        assert re.search(rf"\*\*Severity:\*\* {severity}\b", section), name
        assert "**Means:**" in section
        assert "**Do:**" in section or "**Check and do,**" in section


def test_the_runbook_names_alerts_panels_and_settings_that_exist(tmp_path: Path) -> None:
    assert set(re.findall(r"Isofleet[A-Z]\w+", OPERATIONS)) <= set(ALERTS)
    titles = {panel["title"] for board in DASHBOARDS.values() for panel in board["panels"]}
    titles |= {board["title"] for board in DASHBOARDS.values()}
    assert set(re.findall(r"(?<![\w*])\*([^*\n]+)\*(?!\*)", OPERATIONS)) <= titles
    sections = "|".join(Config.model_fields)
    for key in re.findall(rf"`((?:{sections})\.[a-z0-9_.]+)[:`]", OPERATIONS):
        part: Any = Config()
        for name in key.split("."):
            assert hasattr(part, name), f"there is no setting {key}"
            part = getattr(part, name)
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", OPERATIONS, flags=re.M | re.S)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        load(file, {}, {})


def test_every_command_of_the_runbook_exists() -> None:
    written = re.findall(r"^(?:  )*isofleet ([a-z].*)$", "\n".join(_code()), flags=re.M)
    assert len(written) > 10
    for line in written:
        words = shlex.split(line)
        command: Any = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", ()):
            command = command.commands[words.pop(0)]
        assert command.name, f"isofleet {line}"
        if words:  # a mere mention has none
            command.make_context(command.name, words)  # raises where the program would say what is wrong


def _code() -> list[str]:
    """Code blocks and code in lines of the runbook."""
    blocks = re.findall(r"^ *```\n(.*?)^ *```", OPERATIONS, flags=re.M | re.S)
    return blocks + re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", OPERATIONS, flags=re.S))


def test_links_within_the_documentation_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", OPERATIONS, re.M)
    }  # fmt: skip
    for target in re.findall(r"\]\(([^)\s]+)\)", OPERATIONS):
        path, _, anchor = target.partition("#")
        if path:
            assert (ROOT / "docs" / path).exists(), target
        else:
            assert anchor in anchors, target


# --- the command


def test_the_files_are_handed_out_with_links_to_your_own_runbook(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["monitoring", str(tmp_path / "out"), "--runbook", "https://wiki.example/ops"])
    assert said.exit_code == 0
    written = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert [Path(line).relative_to(tmp_path / "out") for line in said.output.split()] == written
    assert {path.as_posix() for path in written} == {
        "alerts.yml", "recording.yml", "prometheus.yml", "alertmanager.yml",
        "dashboards/run.json", "dashboards/fleet.json", "dashboards/schedules.json",
    }  # fmt: skip
    alerts = (tmp_path / "out" / "alerts.yml").read_text(encoding="utf-8")
    assert alerts.count("runbook_url: https://wiki.example/ops#isofleet") == len(ALERTS)
    run_tool("promtool", "check", "config", tmp_path / "out" / "prometheus.yml")


def test_files_that_somebody_has_changed_are_not_overwritten(tmp_path: Path) -> None:
    monitoring.write(tmp_path)
    monitoring.write(tmp_path)  # the same again changes nothing
    (tmp_path / "prometheus.yml").write_text("# ours\n")
    (tmp_path / "alerts.yml").unlink()
    with pytest.raises(RequestError, match=r"prometheus\.yml stands there with other content"):
        monitoring.write(tmp_path)
    assert not (tmp_path / "alerts.yml").exists()
    with pytest.raises(RequestError, match="cannot be written"):
        monitoring.write(tmp_path / "prometheus.yml")
