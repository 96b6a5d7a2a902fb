"""A check in a process of its own, which may take long, crash or be killed without harm.

Works on: the name of a function, and what it is given as JSON. Knows nothing about what it checks.
`python -m jobs.doctor.apart MODULE` calls MODULE's `look` with what it reads, and writes its findings.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.doctor.finding import Finding, failure, sentence

_POLL_SECONDS = 0.05
_ROOT = Path(__file__).resolve().parents[2]


def run(module: str, check: str, given: dict[str, Any], seconds: float, stop: threading.Event) -> Sequence[Finding]:
    """The findings of `module`'s `look(**given)`. `check` is what it is called should it give none."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.doctor.apart", module],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C at the terminal is ours to pass on, and what it starts ends with it
    )
    said: list[str] = []
    talk = threading.Thread(target=lambda: said.extend(process.communicate(json.dumps(given))), daemon=True)
    talk.start()
    end = time.monotonic() + seconds
    while talk.is_alive() and not stop.is_set() and time.monotonic() < end:
        talk.join(_POLL_SECONDS)
    if talk.is_alive():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        talk.join()
        return [failure(check, f"gave no answer within {seconds:g} s; find out what hangs")]
    lines = said[0].strip().splitlines()
    if process.returncode == 0 and lines:
        return [Finding(**found) for found in json.loads(lines[-1])]
    last = (said[1].strip().splitlines() or ["it said nothing"])[-1]
    how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit status {process.returncode}"
    return [failure(check, f"the process that looked ended with {how} ({last}); reinstall what it names")]


def main() -> None:
    """The process apart."""
    look = importlib.import_module(sys.argv[1]).look
    given = json.load(sys.stdin)
    print(json.dumps([asdict(found) for found in look(**given)]))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {sentence(error)}")
