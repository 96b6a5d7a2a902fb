"""Runs checks side by side, and tells what they found in the order in which they were given.

Works on: functions that give findings, and bounds in time. Knows nothing about what they check.
"""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from jobs.doctor.finding import Finding, failure, sentence

_TIDY_SECONDS = 15.0  # for checks that are told to stop to take back what they have made


@dataclass(frozen=True)
class Check:
    """`look` is given an event that is set when it had better come to an end, at the latest after `seconds`."""

    name: str
    look: Callable[[threading.Event], Sequence[Finding]]
    seconds: float


@dataclass
class _Running:
    check: Check
    stop: threading.Event = field(default_factory=threading.Event)
    findings: Sequence[Finding] = ()
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._look, name=self.check.name, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        try:
            self.findings = self.check.look(self.stop)
        except Exception as error:  # a check that fails is a finding too
            self.findings = [failure(self.check.name, f"cannot be checked ({type(error).__name__}: {sentence(error)})")]


def examine(
    checks: Sequence[Check], on_wait: Callable[[str], None] = lambda name: None
) -> Generator[Finding, None, None]:
    """What `checks` found, each check's findings as soon as it and those before it have ended or run out of time.

    `on_wait` is told which one is waited for. When the iterator is closed, by Ctrl-C for instance, all checks are
    told to stop, and have some seconds to take back what they have written.
    """
    started, running = time.monotonic(), [_Running(check) for check in checks]
    try:
        for one in running:
            on_wait(one.check.name)
            one.thread.join(max(0.0, started + one.check.seconds - time.monotonic()))
            if one.thread.is_alive():
                one.stop.set()
                yield failure(one.check.name, f"gave no answer within {one.check.seconds:g} s; find out what hangs")
            else:
                yield from one.findings
    finally:
        end = time.monotonic() + _TIDY_SECONDS
        for one in running:
            one.stop.set()
        for one in running:
            one.thread.join(max(0.0, end - time.monotonic()))
