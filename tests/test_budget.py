"""The error budget on real runs: a catalog that is bad through and through is not paid for to its end."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Run

from cluster.config import ReconstructSettings, StoreSettings, load
from cluster.errors import RunError
from cluster.store import Stores
from jobs import budget, manifest
from jobs.reconstruct import Result, reconstruct

pytestmark = pytest.mark.usefixtures("ray_session")
STORES = Stores(StoreSettings())


def convert(catalog: Path, output: Path, settings: dict[str, Any]) -> Result:
    return reconstruct(str(catalog), str(output), load(None, {}, settings))


@pytest.fixture(scope="module")
def rotten(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """Two pictures, then 198 empty files."""
    folder = tmp_path_factory.mktemp("rotten") / "photos"
    folder.mkdir()
    for number, picture in enumerate(sorted((pictures / "chair").iterdir())[:2]):
        shutil.copy(picture, folder / f"a-{number}.png")
    for number in range(198):
        (folder / f"b-{number:03d}.png").touch()
    return folder


def test_a_run_stops_where_the_sample_is_large_enough(rotten: Path, small: dict[str, Any], tmp_path: Path) -> None:
    settings = small | {"reconstruct.max_failed_percent": 50.0, "reconstruct.budget_sample": 20}
    with pytest.raises(RunError, match=r"the error budget is exceeded: .* empty_file \(\d+\)\. What") as error:
        convert(rotten, tmp_path, settings)
    assert "reconstruct.max_failed_percent is 50" in str(error.value)
    begun = manifest.summary(STORES, str(tmp_path))
    assert 0 < begun.images < 200
    assert not (tmp_path / "_SUCCESS.json").exists()
    # Nothing is lost by it: with a wider budget the same output goes on.
    result = convert(rotten, tmp_path, settings | {"reconstruct.max_failed_percent": None})
    assert (result.ok, result.failed, result.within_budget) == (2, 198, True)
    assert result.shards_resumed == begun.shards
    assert json.loads((tmp_path / "_SUCCESS.json").read_text())["failed"] == 198


def test_a_number_of_failures_stops_a_run_at_once(rotten: Path, small: dict[str, Any], tmp_path: Path) -> None:
    settings = small | {"reconstruct.max_failed_percent": None, "reconstruct.max_failed": 7}
    with pytest.raises(RunError, match=r"images failed, and reconstruct\.max_failed is 7;"):
        convert(rotten, tmp_path, settings)
    assert manifest.summary(STORES, str(tmp_path)).images < 200


def test_below_the_sample_a_share_is_judged_at_the_end_alone(undisturbed: Run) -> None:
    settings = ReconstructSettings(max_failed_percent=10.0, budget_sample=100)
    assert budget.hopeless(settings, 99, 99) is None
    assert budget.hopeless(settings, 10, 100) is None
    assert budget.hopeless(settings, 11, 100) == (
        "11 of 100 images failed (11 %), and reconstruct.max_failed_percent is 10"
    )
    assert budget.exceeded(settings, 5, undisturbed.result.images) is not None
    assert budget.exceeded(ReconstructSettings(max_failed_percent=None), 5, 5) is None
