"""The Grafana dashboards (10 or newer) as code: a run, the fleet, the schedules.

Works on: the queries and how each is drawn. Knows nothing about the processes that the series come from.
`python -m cluster.monitoring.grafana` writes `dashboards/*.json`; it needs Grafana's own model of a dashboard, the
package grafana-foundation-sdk, which only the `dev` extra installs. Whoever runs Isofleet needs the JSON alone.
"""

import json
from pathlib import Path
from string import ascii_uppercase

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from cluster.monitoring.panels import SOURCE, graph, number, rows

FOLDER = Path(__file__).with_name("dashboards")

_LINK = "/d/isofleet-run?var-run=${__value.raw}&var-datasource=${datasource}&${__url_time_range}"


def run() -> build.Dashboard:
    """One run: how far it is, where its time goes, and what its machines do."""
    one = 'run="$run"'
    board = _dashboard("isofleet-run", "Isofleet / Run", "One run of `isofleet reconstruct`, live or ended.")
    board.with_variable(_choice("run", "Run", "label_values(isofleet_run_info, run)"))
    board.with_row(build.Row("Progress"))
    done, planned = f"run:isofleet_images:max{{{one}}}", f"run:isofleet_images_planned:max{{{one}}}"
    for panel in (
        number("Done", "Images that have their row, of those that the catalog is known to have.", "percentunit",
              f"{done} / {planned}"),
        number("Images", "Images that the catalog is known to have; it grows while the catalog is listed.", "short",
              planned),
        number("Error budget used", "Failed share of the images, by the share at which the run fails. Above 100 % it "
              "ends with exit status 1.", "percentunit",
              f"run:isofleet_images_failed_per_images:ratio{{{one}}} / run:isofleet_error_budget_ratio:max{{{one}}}",
              {0.5: "yellow", 1: "red"}),
        number("Images per second", "Images computed, over the last five minutes.", "short",
              f"run:isofleet_images:rate5m{{{one}}}"),
        number("Time left", "What is left at the rate of the last five minutes.", "s",
              f"({planned} - {done}) / (run:isofleet_images:rate5m{{{one}}} > 0)"),
        number("Last commit", "Time since a shard was committed, which is when its last image is done.", "s",
              f"time() - (run:isofleet_last_commit_timestamp_seconds:max{{{one}}} > 0)", {1800: "yellow"}),
    ):  # fmt: skip
        board.with_panel(panel)
    board.with_panel(graph(
        "Images", "Rows in the manifest by outcome, and the images that the catalog is known to have.", "short",
        [(f"run_outcome:isofleet_images:max{{{one}}}", "{{outcome}}"), (planned, "planned")],
    ))  # fmt: skip
    board.with_panel(graph(
        "Images per second", "Committed images by outcome, over five minutes. Shards are committed whole: the line has "
        "steps.", "short", [(f"run_outcome:isofleet_images:rate5m{{{one}}}", "{{outcome}}")],
    ))  # fmt: skip

    board.with_row(build.Row("Where the time goes"))
    for share, label in (("p50", "median"), ("p95", "95th percentile")):
        board.with_panel(graph(
            f"Seconds in a stage, {label}", "Of one image, over five minutes.", "s",
            [(f"run_stage:isofleet_stage_seconds:{share}_rate5m{{{one}}}", "{{stage}}")], span=8,
        ))  # fmt: skip
    board.with_panel(graph(
        "Images in a stage", "How many images are in a stage at a time, on average: seconds spent there, per second. "
        "The tallest is the bottleneck.", "short",
        [(f'sum by (stage) (rate(isofleet_stage_seconds_sum{{{one}, role="driver"}}[$__rate_interval]))', "{{stage}}")],
        stacked=True, span=8,
    ))  # fmt: skip
    board.with_panel(graph(
        "Queues", "Where the images in flight are. A long mesh_waiting says that meshers are short.", "short",
        [(f'sum by (queue) (isofleet_queue_depth{{{one}, role="driver"}})', "{{queue}}")], stacked=True, span=8,
    ))  # fmt: skip
    board.with_panel(graph(
        "Decoder points per second", "Points at which the decoder was asked, over five minutes.", "short",
        [(f"run:isofleet_decoder_points:rate5m{{{one}}}", "points/s")], span=8,
    ))  # fmt: skip
    board.with_panel(graph(
        "Images in flight", "Images taken up that have no row yet.", "short",
        [(f'sum(isofleet_images_in_flight{{{one}, role="driver"}})', "in flight")], span=8,
    ))  # fmt: skip

    board.with_row(build.Row("Actors and store"))
    board.with_panel(graph(
        "Actors", "Actors that have not been given up.", "short",
        [(f'sum by (pool) (isofleet_actors{{{one}, role="driver"}})', "{{pool}}")], span=6,
    ))  # fmt: skip
    board.with_panel(graph(
        "Deaths of actors", "By reason, within the interval.", "short",
        [(f'sum by (reason) (increase(isofleet_actor_restarts_total{{{one}, role="driver"}}[$__rate_interval]))',
          "{{reason}}")], span=6, bars=True,
    ))  # fmt: skip
    board.with_panel(graph(
        "Failed store requests", "Share of the requests that failed after their retries, and further attempts for "
        "each request.", "percentunit", [
            (f"run:isofleet_store_requests_failed_per_requests:ratio_rate5m{{{one}}}", "failed"),
            (f'sum(rate(isofleet_store_retries_total{{{one}, role="driver"}}[$__rate_interval]))'
             f' / sum(rate(isofleet_store_requests_total{{{one}, role="driver"}}[$__rate_interval]))', "repeated"),
        ], span=6, steps={0.05: "red"},
    ))  # fmt: skip
    board.with_panel(graph(
        "Store traffic", "Bytes per second to and from the object store.", "Bps",
        [(f'sum by (direction) (rate(isofleet_store_bytes_total{{{one}, role="driver"}}[$__rate_interval]))',
          "{{direction}}")], span=6,
    ))  # fmt: skip

    board.with_row(build.Row("Nodes"))
    for title, description, unit, expression, steps in (
        ("GPU utilisation", "Share of the time in which a kernel ran.", "percentunit",
         f"isofleet_node_gpu_utilization_ratio{{{one}}}", {}),
        ("GPU memory", "Share in use.", "percentunit",
         f"isofleet_node_gpu_memory_used_bytes{{{one}}} / isofleet_node_gpu_memory_total_bytes{{{one}}}",
         {0.95: "red"}),
    ):  # fmt: skip
        board.with_panel(graph(title, description, unit, [(expression, "{{node}} GPU {{gpu}}")], steps=steps))
    board.with_panel(graph(
        "CPU utilisation", "Share of the machine's CPUs that is busy.", "percentunit",
        [(f"isofleet_node_cpu_utilization_ratio{{{one}}}", "{{node}}")], span=8,
    ))  # fmt: skip
    board.with_panel(graph(
        "Memory", "Share of the machine's memory in use. At 95 % Ray kills a process.", "percentunit",
        [(f"isofleet_node_memory_used_bytes{{{one}}} / isofleet_node_memory_total_bytes{{{one}}}", "{{node}}")],
        span=8, steps={0.9: "yellow", 0.95: "red"},
    ))  # fmt: skip
    board.with_panel(graph(
        "Memory of actors", "Resident, by class, for each actor on average.", "bytes",
        [(f"isofleet_actor_resident_memory_bytes{{{one}}} / (isofleet_node_actors{{{one}}} > 0)",
          "{{node}} {{actor}}")], span=8,
    ))  # fmt: skip
    return board.annotation(_firing(f'ALERTS{{alertname=~"Isofleet.+", alertstate="firing", {one}}}'))


def fleet() -> build.Dashboard:
    """All runs together, and which of them needs a look."""
    board = _dashboard("isofleet-fleet", "Isofleet / Fleet", "All runs: which there are, and which needs a look.")
    recent = "and on (run) time() - run:isofleet_last_commit_timestamp_seconds:max < $__range_s"
    for panel in (
        number("Runs alive", "Runs whose driver answers.", "short",
              'count(max by (run) (up{role="driver"}) == 1) or vector(0)'),
        number("Nodes", "Nodes that work for one run at least.", "short",
              'count(count by (node) (up{role="node"} == 1)) or vector(0)'),
        number("Images per second", "Images computed by all runs, over five minutes.", "short",
              "fleet:isofleet_images:rate5m"),
        number("Decoder points per second", "Of all runs, over five minutes.", "short",
              "fleet:isofleet_decoder_points:rate5m"),
        number("Failed images", "Share of the images of the last five minutes that failed.", "percentunit",
              "fleet:isofleet_images_failed_per_images:ratio_rate5m", {0.05: "yellow", 0.1: "red"}),
        number("Alerts", "Alerts that are firing.", "short",
              'count(ALERTS{alertname=~"Isofleet.+", alertstate="firing"}) or vector(0)', {1: "red"}),
    ):  # fmt: skip
        board.with_panel(panel)
    board.with_panel(rows(
        "Runs", "Runs that committed something within the time shown, ended ones as they were pushed at their end.",
        "run", [
            (f"run:isofleet_images:max {recent}", "Images", "short"),
            (f"run:isofleet_images:max / run:isofleet_images_planned:max {recent}", "Done", "percentunit"),
            (f"run:isofleet_images_failed_per_images:ratio {recent}", "Failed", "percentunit"),
            (f"run:isofleet_images_failed_per_images:ratio / run:isofleet_error_budget_ratio:max {recent}",
             "Error budget used", "percentunit"),
            (f"run:isofleet_images:rate5m {recent}", "Images per second", "short"),
            (f"time() - run:isofleet_last_commit_timestamp_seconds:max {recent}", "Since the last commit", "s"),
        ], colours={"Error budget used": {0.5: "yellow", 1: "red"}}, link=_LINK,
    ))  # fmt: skip
    board.with_panel(graph(
        "Images per second", "Images computed, by run, over five minutes.", "short",
        [("run:isofleet_images:rate5m", "{{run}}")], stacked=True,
    ))  # fmt: skip
    board.with_panel(graph(
        "Failed images", "Failed share of the images of the last five minutes, by run.", "percentunit",
        [("run:isofleet_images_failed_per_images:ratio_rate5m", "{{run}}")],
    ))  # fmt: skip
    board.with_panel(graph(
        "Seconds in a stage", "Of one image of any run, over five minutes: median and 95th percentile.", "s",
        [(f"fleet_stage:isofleet_stage_seconds:{share}_rate5m", f"{{{{stage}}}} {share}") for share in ("p50", "p95")],
    ))  # fmt: skip
    board.with_panel(graph(
        "Failed store requests", "Share of the requests that failed after their retries, over five minutes.",
        "percentunit", [
            ("run:isofleet_store_requests_failed_per_requests:ratio_rate5m", "{{run}}"),
            ("fleet:isofleet_store_requests_failed_per_requests:ratio_rate5m", "all"),
        ], steps={0.05: "red"},
    ))  # fmt: skip
    board.with_panel(graph(
        "GPU utilisation", "Mean over the GPUs of a run.", "percentunit",
        [("avg by (run) (isofleet_node_gpu_utilization_ratio)", "{{run}}")],
    ))  # fmt: skip
    board.with_panel(graph(
        "Deaths of actors", "Of all runs, by reason, within the interval.", "short",
        [('sum by (reason) (increase(isofleet_actor_restarts_total{role="driver"}[$__rate_interval]))', "{{reason}}")],
        bars=True,
    ))  # fmt: skip
    return board.annotation(_firing('ALERTS{alertname=~"Isofleet.+", alertstate="firing"}'))


def schedules() -> build.Dashboard:
    """The schedules: what came of their ticks, and how old the last success is."""
    some = 'schedule=~"$schedule"'
    board = _dashboard("isofleet-schedules", "Isofleet / Schedules", "What `isofleet schedule` did and will do.")
    board.with_variable(
        _choice("schedule", "Schedule", "label_values(isofleet_schedule_created_timestamp_seconds, schedule)")
        .multi(True).include_all(True).all_value(".+")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )  # fmt: skip
    age, interval = (
        f"schedule:isofleet_schedule_success_age_seconds:min{{{some}}}",
        f"schedule:isofleet_schedule_interval_seconds:max8d{{{some}}}",
    )
    for panel in (
        number("Schedulers", "Scheduler processes that answer. One is enough; two may run at once.", "short",
              'count(up{role="scheduler"} == 1) or vector(0)', {}, span=8),
        number("Heartbeat", "Time since a scheduler last looked at its schedules.", "s",
              'time() - max(isofleet_scheduler_heartbeat_timestamp_seconds{role="scheduler"})', {300: "red"}, span=8),
        number("Schedules late", "Schedules whose last success is older than two of their intervals.", "short",
              f"count({age} > on (schedule) 2 * {interval}) or vector(0)", {1: "red"}, span=8),
    ):  # fmt: skip
        board.with_panel(panel)
    board.with_panel(rows(
        "Schedules", "Last and next ticks, and how long ago a run last ended within its error budget (or, if none "
        "has, the schedule was first seen).", "schedule", [
            (f"time() - (max by (schedule) (isofleet_schedule_last_tick_timestamp_seconds{{{some}}}) > 0)",
             "Since the last tick", "s"),
            (f"max by (schedule) (isofleet_schedule_next_tick_timestamp_seconds{{{some}}}) - time()",
             "Until the next tick", "s"),
            (age, "Since the last success", "s"),
            (f"{age} / on (schedule) {interval}", "In intervals", "none"),
        ], colours={"In intervals": {1.5: "yellow", 2: "red"}},
    ))  # fmt: skip
    board.with_panel(graph(
        "Age of the last success", "In intervals of the schedule: a healthy one goes from near 0 to a little above 1. "
        "At 2 somebody is woken.", "none", [(f"{age} / on (schedule) {interval}", "{{schedule}}")],
        span=8, steps={2: "red"},
    ))  # fmt: skip
    board.with_panel(graph(
        "Ticks", "What was decided about ticks, within the interval.", "short",
        [(f"sum by (schedule, outcome) (increase(isofleet_schedule_ticks_total{{{some}}}[$__rate_interval]))",
          "{{schedule}} {{outcome}}")], bars=True, span=8,
    ))  # fmt: skip
    board.with_panel(graph(
        "Errors", "Errors of the store or the Ray cluster that the scheduler met, within the interval. It looks again.",
        "short", [(f"sum by (schedule) (increase(isofleet_schedule_errors_total{{{some}}}[$__rate_interval]))",
                   "{{schedule}}")], bars=True, span=8,
    ))  # fmt: skip
    return board.annotation(_firing(f'ALERTS{{alertname=~"Isofleet.+", alertstate="firing", {some}}}'))


def files() -> dict[str, str]:
    """What each file of `dashboards/` holds."""
    return {f"{make.__name__}.json": _text(make()) for make in (run, fleet, schedules)}


def _dashboard(uid: str, title: str, description: str) -> build.Dashboard:
    return (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["isofleet"])
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time("now-3h", "now")
        .refresh("30s")
        .with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(
            build.DashboardLink("Isofleet")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["isofleet"])
            .keep_time(True)
            .include_vars(False)
        )
    )


def _choice(name: str, label: str, query: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": "StandardVariableQuery"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_DESC)  # a run's id begins with its date: the latest comes first
    )


def _firing(expression: str) -> build.AnnotationQuery:
    annotation = build.AnnotationQuery().name("Alerts").datasource(SOURCE).enable(True).icon_color("red")
    return annotation.expr(expression)


def _text(board: build.Dashboard) -> str:
    made = json.loads(JSONEncoder().encode(board.build()))
    made["schemaVersion"] = 38  # Grafana 10's, which the cells' options below follow; the model says an older one
    for place, panel in enumerate(made["panels"], 1):
        panel["id"] = place
        for letter, target in zip(ascii_uppercase, panel.get("targets", ()), strict=False):
            target["refId"] = letter
    for annotation in made["annotations"]["list"]:
        annotation["titleFormat"] = "{{alertname}}"  # of the Prometheus data source's own; the model does not know it
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
