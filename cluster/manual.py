"""The text of docs/reference/metrics.md: every series with type, labels, meaning and role, and how to query them.

Works on: the series that the processes' registries declare. Knows nothing about their values.
`python -m jobs.manual` writes it.
"""

from cluster.exporter import NodeMetrics
from cluster.metrics import STAGE_BUCKETS, DriverMetrics, Metrics, SchedulerMetrics

_TEXT = """# Metrics

<!-- Written by `make docs`: edit cluster/metrics.py, exporter.py or manual.py instead. -->

Three kinds of process tell Prometheus something. No series has a label that grows with the catalog; which `run`,
`node` and `role` it comes from is a label of the target, given by service discovery.

## The driver of a run (`role="driver"`)

{driver}

The buckets of `isofleet_stage_seconds` end at {buckets} s.

## One exporter on each Ray node (`role="node"`)

{node}

## The scheduler (`role="scheduler"`)

{scheduler}

## Let Prometheus find a run

A driver serves `/metrics` and `/discovery` at one address while it runs. `/discovery` lists the driver and the
exporter of every node of its cluster, for Prometheus's `http_sd_configs`; the list follows nodes that come and go
within some ten seconds. Everything listens on loopback. For a Prometheus on another machine:

```yaml
# ray_config.yaml of the runs
metrics:
  host: 0.0.0.0 # or one address of a machine that is a cluster by itself
  port: 9410 # several drivers on one machine take 9410, 9411, … up to port_tries of them
  pushgateway: http://pushgateway:9091
```

<!-- not run: it is Prometheus's file; tests/test_discovery.py has a Prometheus read such a one -->
```yaml
# prometheus.yml
scrape_configs:
  - job_name: isofleet
    http_sd_configs: # one for each port that a driver may have, on the machine where drivers run (a cluster's head)
      - {{url: "http://head:9410/discovery", refresh_interval: 15s}}
      - {{url: "http://head:9411/discovery", refresh_interval: 15s}}
  - job_name: isofleet-pushgateway
    honor_labels: true # the group's `run` and `job`, not the gateway's
    static_configs:
      - targets: ["pushgateway:9091"]
```

The targets in the list are scraped at `/metrics/RUN`, which another run answers with 404: Prometheus goes on scraping a
port for a while when the next run has taken it. `/metrics` has the same series, for people and static configurations.

Nothing here is encrypted or asks who reads: open the ports to Prometheus alone. An address that listens everywhere is
advertised as the node's own address in Ray. The label `node` is the name given to `ray start --node-name`, else the
host's name; of several nodes with the same name, all but one get a part of Ray's node id appended.

**When a driver has ended** nobody answers at its `/discovery`, and Prometheus keeps the last list until another driver
takes the port: the driver, and its exporters if it was killed, are then down. So an exporter is missed only while its
run goes on:
`up{{role="node"}} == 0 and on (run) up{{role="driver"}} == 1`.

**The last values.** A driver that ends, however it ends short of SIGKILL, gives its series to the Pushgateway, under
`job="isofleet"` and `run`. There they stand until somebody deletes the group; they carry no `node` and no `role`.

## Ask after totals

A run may have several drivers: one that was killed and the one that resumed it, or two at once; and its last values
may stand in the Pushgateway too. Each of them counts every row of the manifest, so their totals are not to be added.
What they say together is the largest:

```promql
max by (run, outcome) (isofleet_images_total)                                   # while Prometheus still scrapes them
max by (run, outcome) (max_over_time(isofleet_images_total[1d]))                # the drivers of the last day
```

At a run's end these equal the manifest: `ok` + `failed` + `carried` are its rows, `carried` being those of status
`ok` whose `carried_from` is not null. A driver that resumes begins at what stands in the store, so `rate()` shows no
jump: Prometheus takes no increase from a series' first sample.

Seconds by stage, decoder points, actor restarts, store requests and bytes are work, not results: each driver counts
its own from 0, and work that was lost with a killed actor or driver was done all the same. Add them up:
`sum by (run) (increase(isofleet_decoder_points_total{{role="driver"}}[1h]))`.

The GPU's series come from NVML and are absent where there is no NVIDIA driver; those that a GPU does not tell, such as
the utilisation of one that is split (MIG), are absent too. CPU and memory are the machine's, not a container's share.
"""


def markdown() -> str:
    """The text of docs/reference/metrics.md."""
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
