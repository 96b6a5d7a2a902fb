"""Counts of store requests in one process, to be handed to whoever keeps the metrics.

Works on: what a store's observer is told. Knows nothing about Prometheus or actors: an actor returns what it `take`s.
"""

import threading
from dataclasses import dataclass
from operator import add


@dataclass(frozen=True, slots=True)
class Request:
    """`count` requests of one operation with one outcome, the bytes that they moved, and the repetitions."""

    operation: str
    outcome: str
    count: int
    received: int
    sent: int
    retries: int


class Tally:
    """A store's observer that adds up; every request is in exactly one `take`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], tuple[int, ...]] = {}

    def __call__(self, operation: str, outcome: str, received: int, sent: int, retries: int) -> None:
        with self._lock:
            before = self._counts.get((operation, outcome), (0, 0, 0, 0))
            self._counts[operation, outcome] = tuple(map(add, before, (1, received, sent, retries)))

    def take(self) -> tuple[Request, ...]:
        """The requests since the last call."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return tuple(Request(*names, *numbers) for names, numbers in counts.items())
