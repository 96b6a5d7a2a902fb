"""The collections that a plan learns from and is validated with.

Works on: plans, and datasets of `isofleet prepare`. Knows nothing about how a collection becomes batches.
"""

import os
import sys

from cluster.errors import RequestError
from cluster.store import Stores
from jobs.training import dataset
from jobs.training.batches import Source
from jobs.training.collection import Collection, collect
from jobs.training.plan import HELD_OUT, PROCEDURAL, Plan
from workers.weights import cache_folder


def examples(plan: Plan, stores: Stores, device: str, share: float = 1.0) -> tuple[Source, Collection]:
    """The collection of each epoch, and the one to validate with, made with a `share` of this machine's processors.

    A dataset's splits, mapped from files that this node keeps in its cache. Of made-up objects, validation's have seeds
    that are never trained on; with `fresh` each epoch has objects of its own. Raises RequestError, RunError.
    """
    if plan.data != PROCEDURAL:
        return _stored(plan, stores)
    # A process is started anew, not forked, where another thread of ours (Ray's) may hold a lock.
    cores = max(1, int(len(os.sched_getaffinity(0)) * share)) if sys.platform == "linux" else 1

    def make(count: int, views: int, seed: int) -> Collection:
        processes = 1 if count < 64 else cores
        return collect(plan.categories, count, views, plan.framing, seed=seed, device=device, processes=processes)

    held_out = make(plan.validation_objects, 1, HELD_OUT)
    if plan.fresh:
        epochs = HELD_OUT // plan.objects  # so many have objects of their own; then the first's come again
        return lambda epoch: make(plan.objects, plan.views, epoch % epochs * plan.objects), held_out
    training = make(plan.objects, plan.views, 0)
    return lambda epoch: training, held_out


def _stored(plan: Plan, stores: Stores) -> tuple[Source, Collection]:
    kept = cache_folder().parent / "datasets"
    training = dataset.load(plan.data, "train", plan.framing, stores, kept)
    if len(training) < plan.schedule.batch:
        raise RequestError(
            f"{plan.data} has {len(training)} shapes to learn from; lower schedule.batch, {plan.schedule.batch}."
        )
    return lambda epoch: training, dataset.load(plan.data, "validation", plan.framing, stores, kept)
