"""The text of docs/metrics.md: every series with type, labels, meaning and role, and how to query them.

Works on: the series that the processes' registries declare. Knows nothing about their values.
`python -m cluster.manual` writes it.
"""

from pathlib import Path

from cluster.exporter import NodeMetrics
from cluster.metrics import STAGE_BUCKETS, DriverMetrics, Metrics, SchedulerMetrics

_TEXT = """# Metrics

<!-- Written by `python -m cluster.manual`: edit cluster/metrics.py, exporter.py or manual.py instead. -->

Three kinds of process tell Prometheus something. No series has a label that grows with the catalog; which `run`,
`node` and `role` it comes from is a label of the target, given by service discovery.

## The driver of a run (`role="driver"`)

{driver}

The buckets of `isofleet_stage_seconds` end at {buckets} s.

## One exporter on each Ray node (`role="node"`)

{node}

## The scheduler (`role="scheduler"`)

{scheduler}
"""


def markdown() -> str:
    """The text of docs/metrics.md."""
    return _TEXT.format(
        driver=_table(DriverMetrics()),
        node=_table(NodeMetrics(actors=())),
        scheduler=_table(SchedulerMetrics()),
        buckets=", ".join(f"{bound:g}" for bound in STAGE_BUCKETS),
    )


def _table(metrics: Metrics) -> str:
    lines = ["| series | type | labels | meaning |", "|---|---|---|---|"]
    for series in metrics.series:
        labels = "<br>".join(f"`{label}`: {values}" for label, values in series.labels.items())
        lines.append(f"| `{series.name}` | {series.kind} | {labels} | {series.meaning} |")
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).parent.parent.joinpath("docs", "metrics.md").write_text(markdown(), encoding="utf-8")
