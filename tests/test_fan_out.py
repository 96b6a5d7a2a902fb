"""One image, several actors: idle ones are lent to busy ones, and the result is the same. Real actors, real deaths."""

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from conftest import Run
from test_pool import run
from test_reconstruct import content, convert, rows_of, sample

from cluster.config import ImageSettings, StoreSettings
from cluster.metrics import DriverMetrics
from cluster.pool import ASIDE, ActorPool, Finished, Outcome, Task, wait
from cluster.store import Stores
from workers import weights
from workers.fan_out import LEAST_SECONDS, Asked, FanOut
from workers.messages import CALLS_AT_ONCE, Recipe, Source
from workers.reconstructor import Reconstructor

pytestmark = pytest.mark.usefixtures("ray_session")
CHUNK = 8
NOTHING = Asked("", "", "", np.empty(0, np.float32))


class Helper:
    """Evaluates keys + ½, in the way that it is told. What it was asked for it tells."""

    def behave(self, way: str) -> None:
        self.way = way
        self.runs: list[tuple[int, int, int]] = []

    def evaluate(self, asked: Asked, keys: np.ndarray) -> np.ndarray | None:
        self.runs.append((int(keys[0]), len(keys), int(keys[-1])))
        match self.way:
            case "busy":
                return None
            case "dies":
                os._exit(1)
            case "raises":
                raise ValueError("no")
            case "hangs":
                time.sleep(600)
            case "slow":
                time.sleep(0.002 * len(keys))
        return keys.astype(np.float32) + 0.5

    def asked(self) -> list[tuple[int, int, int]]:
        return self.runs


@pytest.fixture(scope="module")
def helpers(ray_session: None) -> Iterator[list[Any]]:
    kind = ray.remote(concurrency_groups={ASIDE: 1})(Helper).options(num_cpus=0)
    made = [kind.remote() for _ in range(2)]
    ray.get([actor.behave.remote("well") for actor in made])  # one that is still starting would count as late
    yield made
    for actor in made:
        ray.kill(actor)


def together(keys: torch.Tensor) -> torch.Tensor:
    return keys % 2  # even keys, then odd ones


class Local:
    """The same field here; a point takes as long as 1/20 of the least work that is shared."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def __call__(self, keys: torch.Tensor) -> torch.Tensor:
        self.lengths.append(len(keys))
        time.sleep(LEAST_SECONDS / 20 * len(keys))
        return keys.to(torch.float32) + 0.5


def test_keys_are_shared_out_in_whole_chunks_each_once(helpers: list[Any]) -> None:
    ray.get([actor.behave.remote("well") for actor in helpers])
    local = Local()
    field = FanOut(local, together, NOTHING, CHUNK, lambda: helpers)
    keys = torch.arange(0, 3 * 1003, 3)
    assert torch.equal(field(keys), keys + 0.5)
    runs = ray.get([actor.asked.remote() for actor in helpers])
    assert all(len(one) > 2 for one in runs)
    assert field.shared == sum(length for one in runs for _, length, _ in one)
    assert field.shared + sum(local.lengths) == len(keys)
    places = {int(key): place for place, key in enumerate(torch.cat([keys[::2], keys[1::2]]))}
    for first, length, last in runs[0] + runs[1]:
        assert places[first] % CHUNK == 0  # padding is at the very end alone
        assert places[last] == places[first] + length - 1
        assert length * LEAST_SECONDS / 20 > 0.5 * LEAST_SECONDS
    # Too little to be worth a call is done here.
    assert torch.equal(field(keys[:10]), keys[:10] + 0.5)
    assert ray.get([actor.asked.remote() for actor in helpers]) == runs


@pytest.mark.parametrize("way", ["busy", "raises", "slow", "hangs", "dies"])
def test_what_does_not_come_back_is_evaluated_here(helpers: list[Any], way: str) -> None:
    """One of the two helpers hangs from then on, and in the end the other one dies."""
    ways = (way, "well" if way == "hangs" else way)
    ray.get([actor.behave.remote(one) for actor, one in zip(helpers, ways, strict=True)])
    if way != "dies":  # what the test before did not wait for must not make calls of this one late
        ray.get([actor.asked.options(concurrency_group=ASIDE).remote() for actor in helpers])
    field = FanOut(Local(), together, NOTHING, CHUNK, lambda: helpers)
    keys = torch.arange(800)
    started = time.monotonic()
    assert torch.equal(field(keys), keys + 0.5)
    assert time.monotonic() - started < 60  # it hangs for ten minutes
    if way not in ("slow", "hangs"):
        assert field.shared == 0
        return
    while field.shared == 0 and time.monotonic() - started < 60:  # on a busy machine all may come too late
        assert torch.equal(field(keys), keys + 0.5)
    assert field.shared > 0


class Fleet:
    """A pool of real reconstructors, and what they make of pictures."""

    def __init__(self, bundle: Path, count: int) -> None:
        self.digest = weights.digest(str(bundle), Stores(StoreSettings()))
        # Everything is evaluated, in chunks of few points: some hundred milliseconds of work for an image.
        recipe = Recipe(48, exact=True, format="glb", batch_size=1, chunk_points=64)
        held = (StoreSettings(), ImageSettings(), {self.digest: str(bundle)}, recipe, 1)
        self.deaths: list[str] = []
        self.pool: ActorPool[Source] = ActorPool(
            "reconstructor", Reconstructor, held, count, cpus=0.5, gpus=0, concurrency=CALLS_AT_ONCE,
            item_timeout_seconds=120, key=lambda source: source.item_id, assist="assist", on_restart=self.deaths.append,
        )  # fmt: skip
        while self.pool.ready < count:
            wait([self.pool], 0.1)
        self.pool.lending = True

    def task(self, picture: Path) -> Task[Source]:
        source = Source(picture.name, str(picture), None, self.digest, "")
        return Task("reconstruct", (source,), num_returns=2)

    def take(self, outcome: Outcome[Source]) -> tuple[str, str, int]:
        """Which picture it was, a digest of its field, and how many points others evaluated."""
        assert isinstance(outcome, Finished)
        assert outcome.deaths == 0
        ((field,),) = ray.get(list(outcome.refs))
        assert field.points_evaluated == 48**3
        digest = hashlib.sha256(field.indices.tobytes() + field.values.tobytes()).hexdigest()
        return outcome.task.items[0].item_id, digest, outcome.value.points_shared

    def run(self, pictures: list[Path], meanwhile: Callable[[], None] | None = None) -> dict[str, tuple[str, int]]:
        taken = [self.take(outcome) for outcome in run(self.pool, [self.task(one) for one in pictures], meanwhile)]
        return {name: (digest, shared) for name, digest, shared in taken}


@contextlib.contextmanager
def fleet(bundle: Path, count: int) -> Iterator[Fleet]:
    made = Fleet(bundle, count)
    try:
        yield made
    finally:
        made.pool.close()


def test_the_surface_is_the_same_with_help_without_it_and_when_helpers_die(pictures: Path, bundle: Path) -> None:
    chosen = sorted((pictures / "chair").iterdir())[:3]
    with fleet(bundle, 1) as one:
        alone = one.run(chosen)
        assert {shared for _, shared in alone.values()} == {0}
    with fleet(bundle, 3) as three:
        shared, end = 0, time.monotonic() + 120
        while shared < 48**3 / 4:  # the others must load the weights first
            assert time.monotonic() < end
            (digest, shared) = three.run(chosen[:1])[chosen[0].name]
            assert digest == alone[chosen[0].name][0]
        # More images while one is helped: the helpers have their own, and then help again.
        assert {name: digest for name, (digest, _) in three.run(chosen).items()} == {
            name: digest for name, (digest, _) in alone.items()
        }
        # A helper is killed in the middle of its work.
        three.pool.submit(three.task(chosen[0]))
        time.sleep(0.1)
        helper = next(slot for slot in three.pool._slots if slot.lent_to)
        os.kill(ray.get(helper.actor.__ray_call__.remote(lambda actor: os.getpid())), signal.SIGKILL)
        ((_, outcome),) = wait([three.pool], 60)
        assert three.take(outcome)[1] == alone[chosen[0].name][0]
        while not three.deaths:
            wait([three.pool], 0.1)
        assert three.deaths == ["died"]


def test_a_run_of_one_image_is_the_same_with_several_actors(
    catalog: Path, undisturbed: Run, small: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "photos" / "chair").mkdir(parents=True)
    picture = sorted((catalog / "chair").iterdir())[0]
    (tmp_path / "photos" / "chair" / picture.name).write_bytes(picture.read_bytes())
    settings = small | {"reconstruct.resolution": 48, "reconstruct.exact": True, "reconstruct.chunk_points": 64}
    rows, shared = [], []
    for count in (1, 3):
        metrics = DriverMetrics()
        convert(
            tmp_path / "photos", tmp_path / str(count), settings | {"actors.reconstructors": count}, metrics=metrics
        )
        rows += rows_of(tmp_path / str(count)).values()
        shared.append(sample(metrics, "isofleet_decoder_points_shared_total"))
        assert sample(metrics, "isofleet_decoder_points_total") == 48**3
    assert content(rows[0]) == content(rows[1])
    assert shared[0] == 0
