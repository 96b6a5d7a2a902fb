"""Servers of Debian's that tests start, where they are installed."""

import os
import shutil

import pytest


def require(*programs: str) -> None:
    """Skip where a program is not installed; fail where ISOFLEET_REQUIRE_SERVERS says that it must be."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        reason = f"not installed: {', '.join(missing)}"
        if os.environ.get("ISOFLEET_REQUIRE_SERVERS"):
            pytest.fail(reason)
        pytest.skip(reason)
