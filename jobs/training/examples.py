"""The collections that a plan learns from and is validated with.

Works on: plans. Knows nothing about how a collection becomes batches.
"""

import os
import sys

from jobs.training.batches import Source
from jobs.training.collection import Collection, collect
from jobs.training.plan import HELD_OUT, Plan


def examples(plan: Plan, device: str, share: float = 1.0) -> tuple[Source, Collection]:
    """The collection of each epoch, and the one to validate with, made with a `share` of this machine's processors.

    Validation's objects have seeds that are never trained on. With `fresh` each epoch has objects of its own.
    """
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
