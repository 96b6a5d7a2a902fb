"""A wish to stop, made by SIGTERM or Ctrl-C, as something that a loop can look at.

Works on: the signals of this process. Knows nothing about what is being stopped.
A preempted machine, `ray job stop`, systemd and Kubernetes all send SIGTERM first and SIGKILL some seconds later.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """`by` names the signal that asked to stop, once there was one while the wish was watched for.

    Where nobody watches, a signal raises KeyboardInterrupt at once; so does every further one.
    """

    def __init__(self) -> None:
        self.by: str | None = None
        self._watched = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT ask to stop. For the main thread alone, as Python has it (ValueError)."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within this, somebody looks at `by` often enough for a signal to wait."""
        self._watched = True
        try:
            yield
        finally:
            self._watched = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self._watched or self.by is not None:
            raise KeyboardInterrupt
        self.by = signal.Signals(number).name
