"""One field, evaluated by several actors at once: what a single image needs when nothing else is left to do.

Works on: a callable that gives a field at keys, and handles of actors that can evaluate the same field. Knows nothing
about decoders, or about who lends the actors. Whoever calls waits for nobody: what a helper does not give back in
time, it evaluates itself.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayError
from torch import Tensor

from cluster.pool import ASIDE

LEAST_SECONDS = 0.01  # of work in a call: a call itself takes 0.5 ms of both actors
_LEAST_CHUNKS = 4  # in a call; measured on a CPU with the paper's decoder: one costs 1.4 times as much as many together
_OWN_SECONDS = 0.05  # of own work at most, until helpers are given more: less than their two calls take
_CALLS = 2  # that a helper holds: it must not wait for the next while its last is on the way
_REST_SECONDS = 0.25  # until an actor is asked again that was busy or late
# A helper is late when its calls take so many times what they would take here, and so much more.
_PATIENCE, _GRACE_SECONDS = 3.0, 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Which field a helper is to evaluate: that of `latents` float32[S, latent_size] with the weights of this digest.

    `name` is another for each field. `kind` says on what it is evaluated: anything else may round otherwise.
    """

    name: str
    kind: str
    weights_digest: str
    latents: np.ndarray


@dataclass(eq=False)
class _Helper:
    actor: Any
    points: int = 0  # that it was asked for and has not given back
    calls: int = 0
    rests_until: float = 0.0  # on time.monotonic's clock


@dataclass(frozen=True, slots=True)
class _Part:
    """The keys from `start` to `end`, which a helper should have evaluated when they are `due`."""

    helper: _Helper
    start: int
    end: int
    due: float


class FanOut:
    """`field`, evaluated here and by helpers: the same values, since each of them depends on its key alone.

    Keys are shared out in runs of whole chunks that are evaluated well together: large ones first and smaller ones
    towards the end, so that all are done at about the same time. A run that comes back without values (its actor is
    busy, or dead, or of another kind) or not in time is shared out again. Nothing is shared while there is less to do
    than is worth a call.
    """

    def __init__(
        self,
        field: Callable[[Tensor], Tensor],
        together: Callable[[Tensor], Tensor],
        asked: Asked,
        chunk_points: int,
        helpers: Callable[[], Sequence[Any]],
    ) -> None:
        """`together` gives a number int64[P] for each of some keys: near ones are evaluated well together, and in that
        order the field takes keys that are not sorted. `helpers` gives the actors that are lent at the moment, another
        sequence whenever they are others. They have a method `evaluate(asked, keys)`: float32[P], or None when they are
        busy."""
        self._field = field
        self._together = together
        self._asked = asked
        self._chunk = chunk_points
        self._lent = helpers
        self._known: Sequence[Any] = ()
        self._helpers: list[_Helper] = []
        self._seconds = 0.0  # that one point takes here; 0 while that is not known
        self.shared = 0  # points that helpers evaluated
        self.between: Any = getattr(field, "between", None)  # for refinement, whose points are all evaluated here

    def __call__(self, keys: Tensor) -> Tensor:
        """Field float32[P] at `keys` int64[P], sorted."""
        little = 0 < len(keys) * self._seconds < 2 * LEAST_SECONDS
        if little or not self._crew():
            return self._field(keys)
        return self._share(keys)

    def _crew(self) -> list[_Helper]:
        """The helpers that can be asked now."""
        lent = self._lent()
        if lent is not self._known:
            self._known, self._helpers = lent, [_Helper(actor) for actor in lent]
        return [helper for helper in self._helpers if helper.rests_until <= time.monotonic()]

    def _share(self, keys: Tensor) -> Tensor:
        order = self._together(keys).argsort(stable=True)
        keys = keys[order]
        host = keys.cpu().numpy()
        values = torch.empty(len(keys), dtype=torch.float32)
        work = deque([(0, len(keys))])  # runs that nobody has
        out: dict[ray.ObjectRef, _Part] = {}
        while work or out:
            if self._seconds:
                self._hand_out(host, work, out)
            if work:
                start, end = self._take(work, self._own(work), first=True)
                began = time.perf_counter()
                values[start:end] = self._field(keys[start:end]).cpu()  # which waits for the device
                took = (time.perf_counter() - began) / (end - start)
                self._seconds = (self._seconds + took) / 2 if self._seconds else took
            self._collect(values, work, out)
        return torch.empty_like(values).index_copy_(0, order.cpu(), values)

    def _own(self, work: deque[tuple[int, int]]) -> int:
        """How many points to evaluate here before helpers are looked after again."""
        if not self._seconds:
            return self._chunk
        share = sum(end - start for start, end in work) // (2 * (len(self._helpers) + 1))
        return max(self._least(), min(share, int(_OWN_SECONDS / self._seconds)))

    def _least(self) -> int:
        """The smallest run that is worth a call, in points."""
        return self._chunk * max(_LEAST_CHUNKS, math.ceil(LEAST_SECONDS / (self._seconds * self._chunk)))

    def _take(self, work: deque[tuple[int, int]], points: int, *, first: bool) -> tuple[int, int]:
        """Take about so many points, whole chunks, from the front or the back of what nobody has."""
        start, end = work.popleft() if first else work.pop()
        points = self._chunk * math.ceil(points / self._chunk)
        if end - start <= points:
            return start, end
        if first:
            work.appendleft((start + points, end))
            return start, start + points
        # Runs begin at multiples of a chunk, so that only the last one of all is padded.
        cut = start + (end - start - points) // self._chunk * self._chunk
        if cut > start:
            work.append((start, cut))
        return cut, end

    def _hand_out(self, host: np.ndarray, work: deque[tuple[int, int]], out: dict[ray.ObjectRef, _Part]) -> None:
        least, crew = self._least(), self._crew()
        for calls in range(_CALLS):
            for helper in crew:
                left = sum(end - start for start, end in work)
                if left < 2 * least:  # the rest is done sooner than it is sent
                    return
                if helper.calls > calls:
                    continue
                start, end = self._take(work, max(least, left // (2 * (len(crew) + 1))), first=False)
                evaluate = helper.actor.evaluate.options(concurrency_group=ASIDE)
                ref = evaluate.remote(self._asked, host[start:end])
                helper.calls, helper.points = helper.calls + 1, helper.points + end - start
                due = time.monotonic() + _GRACE_SECONDS + _PATIENCE * self._seconds * helper.points
                out[ref] = _Part(helper, start, end, due)

    def _collect(self, values: Tensor, work: deque[tuple[int, int]], out: dict[ray.ObjectRef, _Part]) -> None:
        """Take in what helpers have done. With nothing left to do here, wait for it, but for none that is late."""
        if not out:
            return
        refs = list(out)
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        if not ready and not work:
            patience = max(0.0, min(part.due for part in out.values()) - time.monotonic())
            ready, _ = ray.wait(refs, num_returns=1, timeout=patience)
        now = time.monotonic()
        late = [] if work else [ref for ref in refs if ref not in ready and out[ref].due <= now]
        for ref in [*ready, *late]:
            part = out.pop(ref)
            part.helper.calls, part.helper.points = part.helper.calls - 1, part.helper.points - (part.end - part.start)
            found = None
            if ref in ready:
                try:
                    found = ray.get(ref)
                except RayError:  # dead, or something that will be found out here if it is not the actor's own
                    part.helper.rests_until = math.inf
            if found is None:
                part.helper.rests_until = max(part.helper.rests_until, now + _REST_SECONDS)
                work.append((part.start, part.end))
            else:
                values[part.start : part.end] = torch.tensor(found)
                self.shared += part.end - part.start
