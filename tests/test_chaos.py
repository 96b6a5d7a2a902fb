"""The chaos run in small: one of each way to lose a process, a node or an answer. `tests/chaos.py` is the long one."""

import os
from pathlib import Path

import pytest
from chaos import prepared
from radosgw import Gateway


def test_nothing_is_lost_whatever_is_taken_away(
    radosgw: Gateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    radosgw.sign_in(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    with prepared(radosgw, tmp_path, images=160) as chaos:
        strikes = ("kill_reconstructor", "kill_driver", "second_driver", "reset_after", "kill_mesher", "kill_node")
        report = chaos.run(3, strikes)
    assert report.problems == []
    assert set(report.strikes) == set(strikes)
    assert report.rows == 160
    assert report.failed == 8
    assert report.drivers >= 3
