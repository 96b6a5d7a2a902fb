"""The actor pool against a real Ray: processes really die, hang, lose objects and are preempted."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray_fixtures import ray_session  # noqa: F401

from cluster.errors import RunError
from cluster.pool import ActorPool, Failed, Finished, InputLost, Outcome, Raised, Task, wait

pytestmark = pytest.mark.usefixtures("ray_session")


class Worker:
    """Does to itself what an item's name says, and leaves one file for every execution it begins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / f"pid-{os.getpid()}").touch()

    def work(self, items: tuple[str, ...], *args: Any) -> list[str]:
        for item in items:
            before = executions(self.folder, item)
            (self.folder / f"{item}@{uuid.uuid4().hex}").touch()
            if item.startswith("poison") or (item.startswith("fickle") and not before):
                os._exit(1)
            if item.startswith("segfault"):
                os.kill(os.getpid(), signal.SIGSEGV)
            if item.startswith(("hang", "fickle")):
                time.sleep(600)
            if item.startswith("slow"):
                time.sleep(0.3)
            if item.startswith("brisk"):
                time.sleep(0.01)
            if item.startswith("greedy"):
                np.ones(400 << 20, np.uint8)
            if item.startswith("wrong"):
                raise ValueError(f"{item} is wrong")
        return list(items)

    def pid(self, items: tuple[str, ...]) -> int:
        return os.getpid()

    def two(self, items: tuple[str, ...], size: int) -> tuple[int, np.ndarray]:
        return size, np.ones(size)

    def total(self, items: tuple[str, ...], array: np.ndarray) -> float:
        return float(array.sum())

    def owned(self, items: tuple[str, ...]) -> list[ray.ObjectRef]:
        return [ray.put(np.ones(10**6))]


class SlowConstructor:
    def __init__(self) -> None:
        time.sleep(1.5)

    def work(self, items: tuple[str, ...]) -> None: ...


class BadConstructor:
    def __init__(self) -> None:
        raise FileNotFoundError("no weights at nowhere/model.safetensors")

    def work(self, items: tuple[str, ...]) -> None: ...


class CrashingConstructor:
    def __init__(self) -> None:
        os._exit(1)

    def work(self, items: tuple[str, ...]) -> None: ...


def executions(folder: Path, item: str) -> int:
    return len(list(folder.glob(f"{item}@*")))


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[Callable[..., ActorPool[str]]]:
    """Pools of Worker over `tmp_path`; `pool.deaths` lists what on_restart was told."""
    pools = []

    def make(count: int = 1, actor: type = Worker, **options: Any) -> ActorPool[str]:
        deaths: list[str] = []
        settings = {"cpus": 0.5, "gpus": 0, "item_timeout_seconds": 60.0} | options
        arguments = (tmp_path,) if actor is Worker else ()
        pool = ActorPool("test", actor, arguments, count, key=lambda item: item, on_restart=deaths.append, **settings)
        pool.deaths = deaths  # type: ignore[attr-defined]
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close()


def run(
    pool: ActorPool[str], tasks: list[Task[str]], meanwhile: Callable[[], None] | None = None
) -> list[Outcome[str]]:
    """Feed every task to the pool and collect the outcomes, as a driver does."""
    waiting, outcomes = list(tasks), []
    end = time.monotonic() + 120
    while waiting or not pool.idle:
        assert time.monotonic() < end, f"stuck with {pool.in_flight} tasks in flight"
        while waiting and pool.free:
            pool.submit(waiting.pop(0))
        outcomes += [outcome for _, outcome in wait([pool], 1.0)]
        if meanwhile:
            meanwhile()
    return outcomes


def batch(*items: str, tag: Any = None) -> Task[str]:
    return Task("work", items, tag=tag)


def ends(outcomes: list[Outcome[str]]) -> dict[str, str]:
    """How each item ended; fails if an item ended more than once."""
    pairs = [
        (item, outcome.reason if isinstance(outcome, Failed) else type(outcome).__name__)
        for outcome in outcomes
        for item in (outcome.items if isinstance(outcome, Failed) else outcome.task.items)
    ]
    assert max(Counter(item for item, _ in pairs).values()) == 1
    return dict(pairs)


def test_healthy_tasks_run_once_with_their_tag_and_value(make_pool, tmp_path):
    pool = make_pool(2)
    tasks = [batch(f"a{i}", f"b{i}", tag=i) for i in range(20)]
    outcomes = run(pool, tasks)
    assert all(isinstance(outcome, Finished) for outcome in outcomes)
    assert {o.task.tag: o.value for o in outcomes} == {i: [f"a{i}", f"b{i}"] for i in range(20)}
    assert all(executions(tmp_path, item) == 1 for task in tasks for item in task.items)
    assert pool.idle
    assert pool.alive == 2
    assert pool.deaths == []
    assert wait([pool], 5) == []  # at once: nothing is under way


def test_the_first_value_comes_and_the_others_stay_references(make_pool):
    [finished] = run(make_pool(), [Task("two", ("a",), args=(1000,), num_returns=2)])
    assert finished.value == 1000
    [array] = finished.refs
    [total] = run(make_pool(), [Task("total", ("a",), args=(array,))])
    assert (total.value, total.refs) == (1000.0, ())


@pytest.mark.parametrize(("count", "poison"), [(1, "segfault"), (2, "poison")])
def test_a_poison_item_ends_after_three_deaths_and_harms_no_neighbour(make_pool, tmp_path, count, poison):
    pool = make_pool(count)
    good = [f"good{i}" for i in range(7)]
    outcomes = run(pool, [batch(*good[:3], poison, *good[3:], tag="t"), batch("other1"), batch("other2")])
    others = dict.fromkeys([*good, "other1", "other2"], "Finished")
    assert ends(outcomes) == others | {poison: "killed_worker"}
    [failed] = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert failed.task == batch(poison, tag="t")
    assert failed.message.startswith("The actor that worked on it was lost 3 times")
    assert executions(tmp_path, poison) == 3
    assert pool.deaths == ["died"] * 3
    assert pool.alive == count


def test_two_poison_items_in_a_row_do_not_cost_a_lone_actor(make_pool, tmp_path):
    pool = make_pool(1)
    outcomes = run(pool, [batch("poison1"), batch("poison2"), batch("good")])
    assert ends(outcomes) == {"poison1": "killed_worker", "poison2": "killed_worker", "good": "Finished"}
    assert [executions(tmp_path, item) for item in ("poison1", "poison2")] == [3, 3]
    assert pool.alive == 1


def test_a_queued_call_is_not_charged_for_the_one_before_it(make_pool, tmp_path):
    pool = make_pool(1, queue_depth=3, max_deaths_per_item=1, max_consecutive_deaths=2)
    outcomes = run(pool, [batch("poison"), batch("a1", "a2"), batch("b1")])
    assert ends(outcomes) == {"poison": "killed_worker", "a1": "Finished", "a2": "Finished", "b1": "Finished"}
    # A charged batch would have been split into its items.
    assert {o.task.items for o in outcomes} == {("poison",), ("a1", "a2"), ("b1",)}
    assert executions(tmp_path, "poison") == 1


def test_concurrent_calls_are_all_charged_and_only_the_guilty_one_fails(make_pool, tmp_path):
    pool = make_pool(1, concurrency=2, queue_depth=4)
    outcomes = run(pool, [batch("slow1", "slow2"), batch("poison"), batch("late1", "late2"), batch("late3")])
    assert ends(outcomes).pop("poison") == "killed_worker"
    assert sum(end == "Finished" for end in ends(outcomes).values()) == 5
    assert executions(tmp_path, "poison") == 3
    # The two behind the running ones were requeued whole.
    assert {("late1", "late2"), ("late3",), ("slow1",), ("slow2",)} <= {o.task.items for o in outcomes}


def test_an_actor_killed_from_outside_is_replaced_and_everything_finishes(make_pool, tmp_path):
    pool = make_pool(2)
    killed = []

    def kill_once() -> None:
        if not killed and executions(tmp_path, "slow3"):
            killed.append(int(next(tmp_path.glob("pid-*")).name.removeprefix("pid-")))
            os.kill(killed[0], signal.SIGKILL)

    outcomes = run(pool, [batch(f"slow{i}") for i in range(10)], kill_once)
    assert killed
    assert set(ends(outcomes).values()) == {"Finished"}
    assert len(outcomes) == 10
    assert pool.deaths == ["died"]


def test_a_hanging_item_is_stopped_twice_and_named(make_pool, tmp_path):
    pool = make_pool(2, item_timeout_seconds=1)
    outcomes = run(pool, [batch("good1", "hang", "good2"), *(batch(f"other{i}") for i in range(5))])
    others = dict.fromkeys(["good1", "good2", *(f"other{i}" for i in range(5))], "Finished")
    assert ends(outcomes) == others | {"hang": "timed_out"}
    assert executions(tmp_path, "hang") == 2
    assert pool.deaths == ["timed_out"] * 2
    [failed] = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert failed.message == "It was stopped 2 times, the last time after 1 s."


def test_a_death_and_a_timeout_count_together(make_pool, tmp_path):
    pool = make_pool(1, item_timeout_seconds=1)
    assert ends(run(pool, [batch("fickle", "good")])) == {"fickle": "timed_out", "good": "Finished"}
    assert executions(tmp_path, "fickle") == 2
    assert pool.deaths == ["died", "timed_out"]


def test_an_item_that_fills_its_actor_is_stopped_and_its_neighbours_finish(make_pool, tmp_path):
    pool = make_pool(1, concurrency=2, memory_limit_bytes=300 << 20)
    outcomes = run(pool, [batch("good1", "greedy", "good2"), batch("slow1", "slow2"), batch("good3")])
    others = dict.fromkeys(["good1", "good2", "good3", "slow1", "slow2"], "Finished")
    assert ends(outcomes) == others | {"greedy": "out_of_memory"}
    assert executions(tmp_path, "greedy") == 2
    assert pool.deaths == ["memory_limit"] * 2
    [failed] = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert failed.message == "It was stopped 2 times, the last time because its actor had no memory left for it."


def test_a_slow_constructor_is_not_a_slow_call(make_pool):
    pool = make_pool(1, SlowConstructor, item_timeout_seconds=1)
    assert ends(run(pool, [batch("a"), batch("b")])) == {"a": "Finished", "b": "Finished"}
    assert pool.deaths == []


def test_a_failing_constructor_ends_the_run_with_its_message(make_pool):
    pool = make_pool(1, BadConstructor)
    pool.submit(batch("a"))
    with pytest.raises(RunError, match=r"test actor can start: FileNotFoundError: no weights at nowhere"):
        wait([pool], 20)
    with pytest.raises(RunError):
        pool.submit(batch("b"))
    assert pool.deaths == ["died"]


def test_a_crashing_constructor_ends_the_run_after_four_deaths(make_pool):
    pool = make_pool(1, CrashingConstructor)
    pool.submit(batch("a"))
    with pytest.raises(RunError, match="4 deaths in a row, with 1 tasks unfinished"):
        wait([pool], 30)
    assert pool.deaths == ["died"] * 4


def test_actors_that_die_of_everything_are_given_up(make_pool):
    pool = make_pool(1, max_deaths_per_item=2, max_consecutive_deaths=3)
    tasks = [batch(f"poison{i}") for i in range(20)]
    with pytest.raises(RunError, match="Every test actor was given up after 3 deaths in a row"):
        run(pool, tasks)
    assert pool.alive == pool.free == 0
    assert pool.in_flight  # what has no outcome is still counted
    assert len(pool.deaths) <= 5


def test_an_application_exception_is_returned_and_costs_no_actor(make_pool, tmp_path):
    pool = make_pool()
    outcomes = run(pool, [batch("wrong"), batch("good")])
    assert ends(outcomes) == {"wrong": "Raised", "good": "Finished"}
    [raised] = [outcome for outcome in outcomes if isinstance(outcome, Raised)]
    assert type(raised.error) is ValueError
    assert str(raised.error) == "wrong is wrong"
    assert pool.deaths == []
    assert len(list(tmp_path.glob("pid-*"))) == 1


def test_a_lost_input_is_told_from_a_death(make_pool, tmp_path):
    producers, consumers = make_pool(), make_pool()
    [owned] = run(producers, [Task("owned", ("a",))])
    producers.close()  # the owner of the object dies, of which Ray learns in its own time
    task = Task("total", ("a",), args=(owned.value[0],), tag=7)
    end = time.monotonic() + 20
    while isinstance((outcome := run(consumers, [task])[0]), Finished) and time.monotonic() < end:
        time.sleep(0.1)
    assert outcome == InputLost(task)
    # A producer's death reaches the consumer as an argument that is an error.
    dying = ray.remote(Worker).remote(tmp_path)
    task = Task("total", ("a",), args=(dying.work.remote(("poison",)),))
    assert run(consumers, [task]) == [InputLost(task)]
    assert consumers.deaths == []
    assert ends(run(consumers, [batch("good")])) == {"good": "Finished"}


def test_a_pool_takes_no_more_than_it_has_places_for(make_pool, tmp_path):
    pool = make_pool(2, queue_depth=2)
    assert pool.free == 4
    for i in range(4):
        pool.submit(batch(f"slow{i}"))
    assert (pool.free, pool.in_flight) == (0, 4)
    with pytest.raises(RuntimeError, match="full"):
        pool.submit(batch("late"))
    outcomes = []
    while not pool.idle:
        assert pool.free + pool.in_flight == 4
        outcomes += wait([pool], 10)
    assert len(outcomes) == 4
    with pytest.raises(ValueError, match="no items"):
        pool.submit(Task("work", ()))
    with pytest.raises(AssertionError, match="poison item"):
        make_pool(max_deaths_per_item=4, max_consecutive_deaths=4)


def test_one_loop_feeds_a_pipeline_of_two_pools(make_pool):
    makers, users = make_pool(1), make_pool(2)
    waiting = [Task("two", (f"x{i}",), args=(i,), num_returns=2) for i in range(8)]
    totals: dict[str, float] = {}
    made: list[Task[str]] = []
    while waiting or made or not (makers.idle and users.idle):
        while waiting and makers.free:
            makers.submit(waiting.pop())
        while made and users.free:
            users.submit(made.pop())
        for pool, outcome in wait([makers, users], 10):
            assert isinstance(outcome, Finished)
            if pool is makers:
                made.append(Task("total", outcome.task.items, args=outcome.refs))
            else:
                totals[outcome.task.items[0]] = outcome.value
    assert totals == {f"x{i}": float(i) for i in range(8)}


def test_wait_returns_after_its_timeout(make_pool):
    pool = make_pool()
    run(pool, [batch("a")])
    pool.submit(batch("hang"))
    start = time.monotonic()
    assert wait([pool], 0.2) == []
    assert 0.2 <= time.monotonic() - start < 5


def test_an_actor_that_finds_no_node_holds_up_nobody(make_pool):
    pool = make_pool(5, cpus=1.0)  # the fifth of four CPUs
    outcomes = run(pool, [batch(f"brisk{i}") for i in range(40)])
    assert ends(outcomes) == {f"brisk{i}": "Finished" for i in range(40)}
    assert pool.alive == 5
    assert 1 <= pool.ready <= 4
    assert not pool.deaths


def test_a_pool_whose_first_actor_finds_no_node_in_time_fails(make_pool):
    pool = make_pool(2, cpus=1000.0, first_ready_seconds=0.5)
    pool.submit(batch("a"))
    start = time.monotonic()
    with pytest.raises(RunError, match=r"^No test actor was ready within 0.5 s: the cluster brought no node"):
        wait([pool], None)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("seed", [1, 2])
def test_under_random_kills_every_item_ends_exactly_once(make_pool, tmp_path, seed):
    chance = random.Random(seed)
    concurrency = chance.choice([1, 2])
    pool = make_pool(3, cpus=0.25, concurrency=concurrency, queue_depth=3, max_consecutive_deaths=20)
    items = [f"brisk{i}" for i in range(150)]
    for name in ("poison", "wrong"):
        items.insert(chance.randrange(len(items)), name)
    tasks, start = [], 0
    while start < len(items):
        size = chance.randint(1, 8)
        tasks.append(batch(*items[start : start + size]))
        start += size
    killed: set[int] = set()

    def kill_sometimes() -> None:
        pids = {int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")}
        living = sorted(pid for pid in pids - killed if Path(f"/proc/{pid}").exists())
        if living and len(killed) < 4 and chance.random() < 0.4:
            pid = chance.choice(living)
            killed.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    outcomes = run(pool, tasks, kill_sometimes)
    end_of = ends(outcomes)
    assert set(end_of) == set(items)
    assert len(killed) == 4
    assert end_of["poison"] == "killed_worker"
    for item in set(items) - {"poison"}:
        # A good item may have been killed three times by chance, or have shared the call of "wrong".
        assert end_of[item] in ("Finished", "Raised") or executions(tmp_path, item) >= 3
    assert pool.alive == 3


# A cluster of its own, in a process of its own: a node that offers no CPU, and two that offer one each.
TWO_NODES = """
import json, subprocess, sys, time
import ray
from ray.cluster_utils import Cluster
from cluster.pool import ActorPool, Task, wait

class Worker:
    def node(self, items, doomed):
        here = ray.get_runtime_context().get_node_id()
        time.sleep(60 if here == doomed else 0)
        return here

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
ray.init(address=cluster.address, log_to_driver=False)
deaths, ends = [], []
pool = ActorPool("test", Worker, (), 1, cpus=1, gpus=0, max_deaths_per_item=1, max_consecutive_deaths=3,
                 item_timeout_seconds=60, key=str, on_restart=deaths.append)
for preempted in (True, False):
    pool.submit(Task("node", ("where",), (None,)))
    [(_, outcome)] = wait([pool], 90)
    node = next(node for node in nodes if node.node_id == outcome.value)
    pool.submit(Task("node", ("slow",), (node.node_id,)))
    if preempted:
        drain = f"drain-node --address {cluster.address} --node-id {node.node_id} --reason-message spot "
        drain += "--reason DRAIN_NODE_REASON_PREEMPTION --deadline-remaining-seconds 1"
        subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *drain.split()], check=True)
        time.sleep(1.5)  # a node that goes before its deadline was not preempted
    cluster.remove_node(node, allow_graceful=True)
    ends += [getattr(outcome, "reason", "finished") for _, outcome in wait([pool], 90)]
print(json.dumps({"deaths": deaths, "ends": ends}))
pool.close()
ray.shutdown()
cluster.shutdown()
"""


def test_a_preempted_node_is_free_and_a_lost_one_is_charged():
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # short: Ray puts sockets in it
        environment = os.environ | {"RAY_TMPDIR": folder}
        done = subprocess.run(
            [sys.executable, "-c", TWO_NODES], env=environment, capture_output=True, text=True, timeout=240
        )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result == {"deaths": ["preempted", "node_died"], "ends": ["finished", "killed_worker"]}
