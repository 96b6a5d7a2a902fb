"""How far a run is, and how fast it goes: at the last minute's rate, since work comes in batches and changes its pace.

Works on: moments and counts. Knows nothing about how they come about.
"""

from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows, of the images that are this driver's; `before` were committed when it began. `images`
    is how many are its own, None while the catalog is still being listed."""

    done: int
    failed: int
    images: int | None
    in_flight: int
    before: int = 0


class Pace:
    """The rate of a count that only rises, between now and the last look that is a minute old, or the oldest."""

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window = window_seconds
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, now: float, count: int) -> float | None:
        """The rate in counts a second, None as long as nothing has moved. `now` is in seconds, on any clock."""
        # Looks that come many times a second say nothing new about a minute.
        if len(self._seen) > 1 and now - self._seen[-2][0] < self._window / 100:
            self._seen.pop()
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - self._window:
            self._seen.popleft()
        (then, before), (_, after) = self._seen[0], self._seen[-1]
        return (after - before) / (now - then) if after > before and now > then else None
