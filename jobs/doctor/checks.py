"""Which checks there are, and how long each may take.

Works on: a configuration and the addresses that were given. Knows nothing about what a check does.
"""

import os
from threading import Event

from cluster.config import Config
from jobs.doctor import apart, machine, stores
from jobs.doctor.examine import Check
from jobs.doctor.finding import Finding

_QUICK_SECONDS = 15.0
_STORE_SECONDS = 60.0
_APART_SECONDS = 180.0  # of imports from a cold disk, of weights from afar, of a cluster's nodes


def checks(config: Config, catalog: str | None, output: str | None) -> list[Check]:
    """All that a run with this configuration, from `catalog` to `output`, would rely on."""
    given = config.model_dump(mode="json")
    found = [
        *machine_checks(),
        Check("ports", lambda stop: machine.ports(config), _QUICK_SECONDS),
    ]
    if gateway := config.metrics.pushgateway:
        found.append(Check("pushgateway", lambda stop: [machine.pushgateway(gateway)], _QUICK_SECONDS))
    if catalog is not None:
        found.append(Check("catalog", lambda stop: stores.catalog(catalog, config), _STORE_SECONDS))
    if output is not None:
        found.append(Check("output", lambda stop: stores.output(output, config, stop), _STORE_SECONDS))
    found.append(_apart("weights", "model", {"config": given}))
    found.append(_apart("ray", "cluster", {"config": given, "catalog": catalog, "output": output}))
    if config.submit.address or os.environ.get("RAY_API_SERVER_ADDRESS"):
        found.append(_apart("jobs api", "jobs_api", {"config": given}))
    return found


def machine_checks() -> list[Check]:
    """Those that need no configuration."""
    return [
        Check("versions", lambda stop: [machine.versions()], _QUICK_SECONDS),
        Check("processor", lambda stop: [machine.processor()], _QUICK_SECONDS),
        Check("memory", lambda stop: [machine.memory()], _QUICK_SECONDS),
        Check("temporary files", lambda stop: [machine.temporary_folder()], _QUICK_SECONDS),
    ]


def _apart(name: str, module: str, given: dict[str, object]) -> Check:
    def look(stop: Event) -> list[Finding]:
        return list(apart.run(f"jobs.doctor.{module}", name, given, _APART_SECONDS, stop))

    return Check(name, look, _APART_SECONDS + _QUICK_SECONDS)
