"""A pool that lends its idle actors to its busy ones, with real processes that really die."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from test_pool import run

from cluster.pool import ASIDE, ActorPool, Finished, Task, wait

pytestmark = pytest.mark.usefixtures("ray_session")


class Worker:
    """Leads or helps, and waits where it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lent: list[Any] = []
        self.told = threading.Condition()

    def assist(self, helpers: list[Any]) -> None:
        with self.told:
            self.lent = helpers
            self.told.notify_all()

    def work(self, items: tuple[str, ...]) -> list[int]:
        """The processes that are lent to this one, once they are as many as the item's name ends with."""
        (item,) = items
        _, number, then = item.split("-")
        if then == "poison" and (self.folder / "dead").exists():  # by now it is a suspect
            time.sleep(0.5)
            return [len(self.lent)]
        with self.told:
            assert self.told.wait_for(lambda: len(self.lent) == int(number), timeout=60)
            helpers = list(self.lent)
        found = ray.get([actor.pid.options(concurrency_group=ASIDE).remote() for actor in helpers])
        if then == "poison":
            (self.folder / "dead").touch()
            os._exit(1)
        if then == "kill":
            os.kill(found[0], signal.SIGKILL)
            with self.told:  # the one that helped it into death is taken away, and so is the other
                assert self.told.wait_for(lambda: not self.lent, timeout=60)
        return found

    def pid(self) -> int:
        return os.getpid()


@pytest.fixture(scope="module")
def lenders(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ActorPool[str], list[str]]]:
    """A pool of four that lends, and the deaths in it."""
    deaths: list[str] = []
    pool: ActorPool[str] = ActorPool(
        "test", Worker, (tmp_path_factory.mktemp("pool"),), 4, cpus=0.5, gpus=0, item_timeout_seconds=60, key=str,
        assist="assist", on_restart=deaths.append,
    )  # fmt: skip
    pool.lending = True
    yield pool, deaths
    pool.close()


@pytest.fixture
def pool(lenders: tuple[ActorPool[str], list[str]]) -> ActorPool[str]:
    pool, deaths = lenders
    deaths.clear()
    while pool.ready < 4:
        wait([pool], 0.1)
    return pool


@pytest.fixture
def deaths(lenders: tuple[ActorPool[str], list[str]]) -> list[str]:
    return lenders[1]


def test_idle_actors_are_lent_evenly_and_again_when_their_leader_is_done(pool: ActorPool[str]) -> None:
    # Two are idle: one for each of two leaders. The leader that is done first, and its helper, go to the other.
    outcomes = run(pool, [Task("work", ("a-1-well",)), Task("work", ("b-3-well",))])
    first, second = (outcome.value for outcome in outcomes if isinstance(outcome, Finished))
    assert (len(set(first)), len(set(second))) == (1, 3)
    # A new task takes its actor back.
    (outcome,) = run(pool, [Task("work", ("c-3-well",))])
    assert isinstance(outcome, Finished)


def test_a_helper_that_dies_is_replaced_and_charged_to_nobody(pool: ActorPool[str], deaths: list[str]) -> None:
    (outcome,) = run(pool, [Task("work", ("d-3-kill",))])
    assert isinstance(outcome, Finished)
    assert (outcome.deaths, deaths) == (0, ["died"])
    (outcome,) = run(pool, [Task("work", ("e-3-well",))])  # the call was over, and with it the wariness
    assert isinstance(outcome, Finished)


def test_a_suspect_runs_without_help(pool: ActorPool[str], deaths: list[str]) -> None:
    (outcome,) = run(pool, [Task("work", ("f-3-poison",))])
    assert isinstance(outcome, Finished)
    assert (outcome.value, outcome.deaths, deaths) == ([0], 1, ["died"])
