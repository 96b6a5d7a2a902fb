"""Programs of Debian's and files of npm's that tests need, where they are installed."""

import os
import shutil
from pathlib import Path

import pytest


def require(*programs: str) -> None:
    """Skip where a program is not installed; fail where ISOFLEET_REQUIRE_SERVERS says that it must be."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        _without(f"not installed: {', '.join(missing)}")


def require_file(path: Path, command: str) -> None:
    """The same for a file that a command brings."""
    if not path.exists():
        _without(f"there is no {path}: run `{command}`")


def _without(reason: str) -> None:
    if os.environ.get("ISOFLEET_REQUIRE_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)
