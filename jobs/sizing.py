"""How many actors a run starts, and what each reserves.

Works on: settings and a cluster's resources. Knows nothing about what the actors do.
"""

from collections.abc import Mapping

from cluster.config import ActorSettings
from cluster.errors import RequestError
from cluster.session import ActorNeed

_DECODING_SHARE = 0.75  # of a cluster's CPUs without a GPU; measured at 64³: decoding takes longer than meshing


def check_explicit(actors: ActorSettings) -> None:
    """Raises RequestError unless the settings say how many actors to start, whatever nodes there are now."""
    keys = ("reconstructors", "gpus_per_reconstructor", "meshers")
    missing = [f"actors.{key}" for key in keys if getattr(actors, key) is None]
    if missing:
        raise RequestError(
            f"ray.wait_for_nodes_seconds needs {' and '.join(missing)} to be set: nodes that are yet to come do not "
            "say how many actors they hold"
        )


def actor_needs(actors: ActorSettings, resources: Mapping[str, float]) -> tuple[ActorNeed, ActorNeed]:
    """How many reconstructors and meshers: as configured, else as many as the cluster's resources hold."""
    gpus = actors.gpus_per_reconstructor
    if gpus is None:
        gpus = 1.0 if resources["GPU"] >= 1 else 0.0
    if actors.reconstructors:
        count = actors.reconstructors
    elif gpus:
        count = max(1, int(resources["GPU"] / gpus))
    else:
        count = max(1, int(resources["CPU"] * _DECODING_SHARE / max(actors.cpus_per_reconstructor, 0.01)))
    left = resources["CPU"] - count * actors.cpus_per_reconstructor
    meshers = actors.meshers or max(1, int(left / max(actors.cpus_per_mesher, 0.01)))
    # On a single CPU that the reconstructor has taken, a mesher shares it.
    cpus = actors.cpus_per_mesher if actors.meshers else min(actors.cpus_per_mesher, max(0.0, left))
    return (
        ActorNeed("reconstructors", count, actors.cpus_per_reconstructor, gpus),
        ActorNeed("meshers", meshers, cpus, 0),
    )
