"""Pictures that kill, block or fill their process, in the real job on real actors: each is named, none harms others."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from poison import POISONS, PoisonedReconstructor, poisonous
from test_reconstruct import content, convert, rows_of, sample

from cluster.metrics import DriverMetrics
from jobs import driver

CODES = {"segfault": "killed_worker", "leak": "out_of_memory", "hang": "timed_out"}


@pytest.fixture
def mixed(pictures: Path, tmp_path: Path) -> Path:
    """Eight pictures under the names that they have in `catalog`, and three poisons among them."""
    folder = tmp_path / "photos" / "chair"
    folder.mkdir(parents=True)
    good = sorted((pictures / "chair").iterdir())
    for picture in good:
        (folder / picture.name).write_bytes(picture.read_bytes())
    for picture, poison in zip(good, POISONS, strict=False):
        (folder / f"{picture.stem}-{poison}.png").write_bytes(poisonous(picture, poison))
    return folder.parent


def test_a_poison_is_named_and_harms_no_neighbour(
    undisturbed: Run,
    mixed: Path,
    small: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(driver, "Reconstructor", PoisonedReconstructor)
    metrics = DriverMetrics()
    settings = small | {
        "reconstruct.batch_size": 3,
        "reconstruct.item_timeout_seconds": 8.0,
        "actors.memory_limit_bytes": 1 << 30,
    }
    result = convert(mixed, tmp_path / "out", settings, metrics=metrics)
    rows = rows_of(tmp_path / "out")
    assert (result.images, result.ok, result.failed) == (11, 8, 3)
    poisoned = {Path(row["source_uri"]).stem.partition("-")[2]: row for row in rows.values() if row["error_code"]}
    assert {poison: row["error_code"] for poison, row in poisoned.items()} == CODES
    assert "lost 3 times" in poisoned["segfault"]["error_message"]
    assert "stopped" in poisoned["hang"]["error_message"]
    assert "no memory left" in poisoned["leak"]["error_message"]
    assert max(row["attempts"] for row in rows.values()) <= 4

    before = rows_of(undisturbed.output)
    apart = ("attempts", "shard", "source_uri", "etag")
    for item_id, row in rows.items():
        if row["status"] == "ok":
            assert content(row, *apart) == content(before[item_id], *apart)
    assert sample(metrics, "isofleet_actor_restarts_total") <= 3 + 2 + 2
    assert "Traceback" not in capfd.readouterr().err
    text = metrics.render()
    assert 'isofleet_actor_restarts_total{reason="memory_limit"}' in text
    assert 'isofleet_actor_restarts_total{reason="timed_out"}' in text
