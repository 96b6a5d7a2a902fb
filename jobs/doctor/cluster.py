"""Ray: whether a run's could start here or be joined, whether its actors fit, and whether its nodes can do the work.

Works on: a configuration and, for the nodes, the addresses of a catalog and an output. Knows nothing about how a run
uses its actors. Runs in a process apart, because Ray may hang and may end the process that it is in.
"""

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.config import Config
from cluster.errors import RequestError, RunError
from cluster.session import Session, session
from jobs.doctor import machine
from jobs.doctor.finding import Finding, failure, ok, sentence, warning
from jobs.sizing import actor_needs, check_explicit

_NODE_SECONDS = 90.0  # a node's first worker imports PyTorch from a disk that is cold


def look(config: dict[str, Any], catalog: str | None, output: str | None) -> list[Finding]:
    """Ray, room for the actors, and each node."""
    chosen = Config.model_validate(config)
    try:
        with session(chosen.ray) as cluster:
            resources = cluster.resources()
            has = f"{resources['CPU']:g} CPUs and {resources['GPU']:g} GPUs"
            if chosen.ray.address == "local":
                return [ok("ray", f"Ray {ray.__version__} starts here with {has}"), _room(cluster, chosen)]
            nodes = [node for node in ray.nodes() if node["Alive"]]
            count = f"{len(nodes)} node{'s' * (len(nodes) > 1)}"
            there = ok("ray", f"{chosen.ray.address} has {count} with {has}, Ray {ray.__version__} as here")
            return [there, _room(cluster, chosen), *_nodes(nodes, chosen, catalog, output)]
    except (RequestError, RunError) as error:
        return [failure("ray", sentence(error))]


def _room(cluster: Session, config: Config) -> Finding:
    """Whether the actors that the configuration asks for fit on the nodes, all at once."""
    try:
        if config.ray.wait_for_nodes_seconds:
            check_explicit(config.actors)
            needs = actor_needs(config.actors, cluster.resources())
            wanted = " and ".join(map(str, needs))
            return ok("actors", f"{wanted}, for which a run waits up to {config.ray.wait_for_nodes_seconds:g} s")
        needs = actor_needs(config.actors, cluster.resources())
        cluster.require(needs)
    except RequestError as error:
        return failure("actors", sentence(error))
    return ok("actors", f"{' and '.join(map(str, needs))} fit")


def _nodes(nodes: Sequence[dict[str, Any]], config: Config, catalog: str | None, output: str | None) -> list[Finding]:
    """What each node finds of itself, all at the same time."""
    task: Any = ray.remote(_on_node)
    asked = {}
    for node in nodes:
        where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        options = task.options(num_cpus=0, max_retries=0, scheduling_strategy=where)
        asked[options.remote(config.model_dump(), catalog, output)] = f"node {node['NodeManagerHostname']}"
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_NODE_SECONDS)
    findings = []
    for ref, name in asked.items():
        try:
            findings.append(_summary(name, ray.get(ref, timeout=0) if ref in ready else None))
        except (RayError, GetTimeoutError, ImportError) as error:
            cure = "install isofleet there, or use isofleet submit, which brings its code"
            last = str(error).strip().splitlines()[-1].rstrip(".")
            findings.append(failure(name, f"it cannot run isofleet's code ({last}): {cure}"))
    return findings


def _summary(name: str, found: Sequence[Finding] | None) -> Finding:
    if found is None:
        return failure(name, f"it gave no answer within {_NODE_SECONDS:g} s; look at Ray's logs on it")
    for state in ("failure", "warning"):
        bad = [f"{one.check}: {one.message}" for one in found if one.state == state]
        if bad:
            return (failure if state == "failure" else warning)(name, "; ".join(bad))
    return ok(name, f"{', '.join(one.check for one in found)} are well there too")


def _on_node(config: dict[str, Any], catalog: str | None, output: str | None) -> list[Finding]:
    """What a node finds: the same checks as on this machine, where the actors will be."""
    from jobs.doctor import model, stores

    chosen = Config.model_validate(config)
    findings = [machine.versions(), machine.temporary_folder(), *model.look(config)]
    if catalog is not None:
        findings += stores.catalog(catalog, chosen)
    if output is not None:
        findings += stores.output(output, chosen)
    return findings
