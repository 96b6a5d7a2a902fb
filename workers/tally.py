"""Counts of store requests in one process, to be handed to whoever keeps the metrics.

Works on: what a store's observer is told. Knows nothing about Prometheus or actors: an actor returns what it `take`s.
"""

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """`count` requests of one operation with one outcome, and the bytes that they moved."""

    operation: str
    outcome: str
    count: int
    received: int
    sent: int


class Tally:
    """A store's observer that adds up; every request is in exactly one `take`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], tuple[int, int, int]] = {}

    def __call__(self, operation: str, outcome: str, received: int, sent: int) -> None:
        with self._lock:
            count, all_received, all_sent = self._counts.get((operation, outcome), (0, 0, 0))
            self._counts[operation, outcome] = (count + 1, all_received + received, all_sent + sent)

    def take(self) -> tuple[Request, ...]:
        """The requests since the last call."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return tuple(Request(*names, *numbers) for names, numbers in counts.items())
