"""A bounded pool of Ray actors that outlives the deaths of its actors and finds the item that causes them.

Works on: calls of an actor's methods, the items that a call carries, and what became of each call. Knows
nothing about what an item is or what a method does. `wait` is the one place where a caller sleeps; it serves
any number of pools, so that one loop can feed a pipeline of them.

Who is to blame for a death? The calls that were running. Their items become suspects and run again one by one
on an actor that runs nothing else, so a second death names its item and harms no neighbour. An item is run
again until it finishes or has died too often: calls must be safe to repeat.

Why a fresh actor for a dead one, and not Ray's `max_restarts=-1`? Measured with Ray 2.60: with it every death
(crash, out of memory, lost node, preemption) arrives as the same ActorUnavailableError, 1 to 2 s late, and an
actor that crashes in its constructor is restarted for ever while its calls neither finish nor fail. An actor
that stays dead tells the cause, at once.
"""

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from cluster import memory
from cluster.errors import RunError

Item = TypeVar("Item")
Reason = Literal["died", "preempted", "timed_out", "node_died", "out_of_memory", "memory_limit"]

# The last three are no RayActorErrors, although they end actors' calls too.
DEATH_ERRORS = (RayActorError, NodeDiedError, WorkerCrashedError, OutOfMemoryError)

# The group of threads in which actors of a pool that lends them are spoken to beside their calls. One of its two
# threads waits for the actor's death, the other answers: it must not be blocked for long.
ASIDE = "aside"
_ABSENCE_SECONDS = 60.0  # without any actor, until that is said, and again after as long

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task(Generic[Item]):
    """One call, `actor.method(items, *args)`, still to be made.

    After a death it may be made again for each item alone, with the same `args`, which must suit that.
    ObjectRefs in `args` reach the method as their values. With `num_returns` > 1 the first value should be
    small, because only that one is brought to the caller; the others stay where they are.
    """

    method: str
    items: tuple[Item, ...]
    args: tuple[Any, ...] = ()
    num_returns: int = 1
    tag: Any = None


@dataclass(frozen=True)
class Finished(Generic[Item]):
    """The call returned: its first value, and references to its other values.

    `deaths` is how many were charged to the item of a call that was made alone, before this one finished.
    """

    task: Task[Item]
    value: Any
    refs: tuple[ray.ObjectRef, ...]
    deaths: int = 0


@dataclass(frozen=True)
class Failed(Generic[Item]):
    """These items kill, block or fill every process that they run in. `message` is one sentence."""

    task: Task[Item]
    items: tuple[Item, ...]
    reason: Literal["killed_worker", "timed_out", "out_of_memory"]
    message: str
    deaths: int


@dataclass(frozen=True)
class Raised(Generic[Item]):
    """The method raised `error`, which does not say that memory ran out; its actor lives on."""

    task: Task[Item]
    error: Exception


@dataclass(frozen=True)
class InputLost(Generic[Item]):
    """An ObjectRef among the arguments has no value any more: run its producer again, then this task."""

    task: Task[Item]


Outcome: TypeAlias = Finished[Item] | Failed[Item] | Raised[Item] | InputLost[Item]


@dataclass(frozen=True)
class _Death:
    reason: Reason
    message: str
    in_constructor: bool = False


@dataclass(eq=False)
class _Slot:
    """A place for one actor, and the calls that it holds, oldest first."""

    actor: Any
    ready: bool = False
    calls: list["_Call"] = field(default_factory=list)
    deaths: int = 0  # since a call last finished here
    culprits: int = 0  # items found guilty here since then
    lent_to: "_Slot | None" = None
    helpers: list[Any] = field(default_factory=list)  # the actors that this one was told are lent to it
    wary: bool = False  # an actor died while it was lent to this one, which gets none until a call finishes


@dataclass(eq=False)
class _Call:
    task: Task[Any]
    slot: _Slot
    alone: bool
    ref: ray.ObjectRef
    refs: tuple[ray.ObjectRef, ...]
    deadline: float = math.inf  # on time.monotonic's clock; finite once the call runs


class ActorPool(Generic[Item]):
    """`count` actors of one class, each holding at most max(`queue_depth`, `concurrency`) calls.

    Args:
        name: what messages call the actors.
        actor_class: a plain class; `constructor_args` must hold no ObjectRef, or no actor could be replaced
            once the object is lost.
        cpus, gpus: what each actor reserves.
        concurrency: calls that an actor runs at once, in threads.
        max_deaths_per_item: an item ends as Failed at this many deaths, unless it finishes before.
        max_consecutive_deaths: an actor is given up at this many deaths with no call finished in between. The
            deaths of an item found guilty count as one.
        item_timeout_seconds: how long a call may run for each item it carries; its actor is killed then. An
            item that runs out of time alone, having been a suspect, ends as Failed.
        memory_limit_bytes: what an actor's process may allocate beyond what it holds when it starts. An actor in
            which memory runs out is replaced, since it may have leaked; an item in whose call that happens alone
            ends as Failed.
        first_ready_seconds: how long the first actor may wait for a node and start; the pool fails then. Later on
            an actor whose node went away waits for another node as long as it takes, and the others go on.
        key: what identifies an item; its deaths are counted under it.
        assist: a method `(actors)` that tells a busy actor which idle ones are lent to it, always all of them; None
            lends none. It and whatever the actors call of each other runs in the concurrency group `ASIDE`. The
            death of a lent actor is charged to no item. While an item runs alone no actor is lent to it.
        on_restart: called once with the reason for every death of an actor.
    """

    def __init__(
        self,
        name: str,
        actor_class: type,
        constructor_args: tuple[Any, ...],
        count: int,
        *,
        cpus: float,
        gpus: float,
        concurrency: int = 1,
        queue_depth: int = 2,
        max_deaths_per_item: int = 3,
        max_consecutive_deaths: int = 4,
        item_timeout_seconds: float,
        memory_limit_bytes: int | None = None,
        first_ready_seconds: float = math.inf,
        key: Callable[[Item], Hashable],
        assist: str | None = None,
        on_restart: Callable[[Reason], None],
    ) -> None:
        assert max_consecutive_deaths > max_deaths_per_item > 0, (
            "a poison item must be found guilty before the actor that it kills is given up"
        )
        assert count > 0
        assert concurrency > 0
        self.name = name
        self.lending = False  # to be set when no tasks follow that idle actors could run
        self._constructor_args = constructor_args
        grouped: Any = ray.remote
        if assist:
            grouped = grouped(concurrency_groups={ASIDE: 2})
        self._remote_class: Any = grouped(actor_class).options(
            num_cpus=cpus, num_gpus=gpus, max_concurrency=concurrency, max_restarts=0, max_task_retries=0
        )
        self._concurrency = concurrency
        self._depth = max(queue_depth, concurrency)
        self._max_deaths_per_item = max_deaths_per_item
        self._max_consecutive_deaths = max_consecutive_deaths
        self._item_timeout_seconds = item_timeout_seconds
        self._memory_limit_bytes = memory_limit_bytes
        self._first_ready_seconds = first_ready_seconds
        self._key = key
        self._assist = assist
        self._on_restart = on_restart

        self._queue: deque[Task[Item]] = deque()
        self._suspects: deque[Task[Item]] = deque()  # one item each
        self._deaths: dict[Hashable, int] = {}  # of items that are suspects
        self._calls: dict[ray.ObjectRef, _Call] = {}  # by their first return
        self._starting: dict[ray.ObjectRef, _Slot] = {}
        self._watched: dict[ray.ObjectRef, _Slot] = {}  # calls that end with their actor; of actors that were lent
        self._cell: _Slot | None = None  # the slot that is kept for suspects
        self._ever_ready = False
        self._ready_by = time.monotonic() + first_ready_seconds
        self._warn_at = math.inf  # finite while no actor is ready that once was
        self._failure: RunError | None = None
        self._slots: list[_Slot] = []
        for _ in range(count):
            slot = _Slot(actor=None)
            self._slots.append(slot)
            self._start(slot)

    @property
    def alive(self) -> int:
        """Actors that have not been given up, whether they are ready or still starting."""
        return len(self._slots)

    @property
    def ready(self) -> int:
        """Actors that take calls now: those that wait for a node, or still start, are not among them."""
        return sum(slot.ready for slot in self._slots)

    @property
    def in_flight(self) -> int:
        """Tasks without an outcome yet. A task that was split into suspects counts once per item."""
        return len(self._queue) + len(self._suspects) + len(self._calls)

    @property
    def items(self) -> int:
        """Items of the tasks without an outcome yet."""
        tasks = [*self._queue, *self._suspects, *(call.task for call in self._calls.values())]
        return sum(len(task.items) for task in tasks)

    @property
    def idle(self) -> bool:
        """True when every task has had its outcome."""
        return not self.in_flight

    @property
    def free(self) -> int:
        """How many more tasks `submit` takes now."""
        places = sum(self._depth - len(slot.calls) for slot in self._slots if slot is not self._cell)
        return max(0, places - len(self._queue))

    def submit(self, task: Task[Item]) -> None:
        """Take `task`, to be run as soon as an actor has a place for it.

        Raises:
            RunError: the pool has no actor left.
            ValueError: the task carries no item.
            RuntimeError: the pool is full; look at `free` first.
        """
        if self._failure:
            raise self._failure
        if not task.items:
            raise ValueError(f"a task for the {self.name} pool has no items: a death could not be charged")
        if not self.free:
            raise RuntimeError(f"the {self.name} pool is full: submit only while free > 0")
        if self._deaths and any(self._key(item) in self._deaths for item in task.items):
            self._suspects.extend(replace(task, items=(item,)) for item in task.items)
        else:
            self._queue.append(task)
        self._dispatch()

    def close(self) -> None:
        """Kill the actors and forget every task."""
        for slot in self._slots:
            ray.kill(slot.actor)
        for held in (self._slots, self._queue, self._suspects, self._calls, self._starting, self._watched):
            held.clear()
        self._cell = None

    def _start(self, slot: _Slot) -> None:
        slot.actor = self._remote_class.remote(*self._constructor_args)
        slot.ready = False
        self._starting[slot.actor.__ray_call__.remote(_begin, self._memory_limit_bytes)] = slot

    def _dispatch(self) -> None:
        """Send what waits to the actors that have a place for it."""
        if self._suspects and self._cell is None:
            # An actor that dies of everything must not testify: take the one with the cleanest record.
            ready = (slot for slot in self._slots if slot.ready)
            self._cell = min(ready, key=lambda slot: (slot.deaths, len(slot.calls)), default=None)
        if self._cell and not self._cell.calls:
            if self._suspects:
                self._send(self._cell, self._suspects.popleft(), alone=True)
            else:
                self._cell = None
        while self._queue:
            open_slots = (slot for slot in self._slots if slot.ready and slot is not self._cell)
            places = (slot for slot in open_slots if len(slot.calls) < self._depth)
            slot = min(places, key=lambda slot: len(slot.calls), default=None)
            if slot is None:
                return
            self._send(slot, self._queue.popleft(), alone=False)
        if self.lending and self._assist:
            self._lend()

    def _lend(self) -> None:
        """Share the idle actors out among the busy ones, and tell these of any change."""
        busy = [
            slot for slot in self._slots if slot.calls and not slot.wary and not any(call.alone for call in slot.calls)
        ]
        lent = dict.fromkeys(busy, 0)
        idle = [slot for slot in self._slots if slot.ready and not slot.calls]
        most = math.ceil(len(idle) / max(1, len(busy)))
        for slot in self._slots:  # those that help already stay where they are, as long as that is fair
            if slot.lent_to and slot in idle and lent.get(slot.lent_to, most) < most:
                lent[slot.lent_to] += 1
            else:
                slot.lent_to = None
        for slot in idle if busy else []:
            if slot.lent_to:
                continue
            slot.lent_to = min(busy, key=lambda leader: lent[leader])
            lent[slot.lent_to] += 1
            if slot not in self._watched.values():
                ref = slot.actor.__ray_call__.options(concurrency_group=ASIDE).remote(_stay)
                self._watched[ref] = slot
        helpers: dict[_Slot, list[Any]] = {slot: [] for slot in self._slots}
        for slot in self._slots:
            if slot.lent_to:
                helpers[slot.lent_to].append(slot.actor)
        for slot, actors in helpers.items():
            if actors != slot.helpers:
                slot.helpers = actors
                getattr(slot.actor, self._assist or "").options(concurrency_group=ASIDE).remote(actors)

    def _send(self, slot: _Slot, task: Task[Item], alone: bool) -> None:
        method = getattr(slot.actor, task.method)
        if task.num_returns == 1:
            first, rest = method.remote(task.items, *task.args), ()
        else:
            first, *rest = method.options(num_returns=task.num_returns).remote(task.items, *task.args)
        call = _Call(task, slot, alone, first, tuple(rest))
        self._calls[first] = call
        slot.calls.append(call)
        self._watch(slot)

    def _watch(self, slot: _Slot) -> None:
        """Start the clock of the calls that the actor runs now: it takes them in order."""
        for call in slot.calls[: self._concurrency]:
            if call.deadline == math.inf:
                seconds = self._item_timeout_seconds * len(call.task.items)
                call.deadline = time.monotonic() + seconds

    def _collect(self, ref: ray.ObjectRef) -> list[Outcome[Item]]:
        """What follows from `ref` being ready: a call's outcome, a death's outcomes, or none."""
        if slot := self._starting.pop(ref, None):
            try:
                ray.get(ref)
            except RayError as error:
                return self._bury(slot, _death(error))
            slot.ready = self._ever_ready = True
            return []
        if slot := self._watched.pop(ref, None):
            try:
                ray.get(ref)
            except RayError as error:
                return self._bury(slot, _death(error))
        call = self._calls.get(ref)
        if call is None:  # its actor died, and an earlier reference of this round said so
            return []
        end = _end(call)
        return self._bury(call.slot, end) if isinstance(end, _Death) else [self._settle(call, end)]

    def _settle(self, call: _Call, outcome: Outcome[Item]) -> Outcome[Item]:
        self._forget(call)
        call.slot.wary = False
        if not isinstance(outcome, InputLost):
            call.slot.deaths = call.slot.culprits = 0
            if call.alone:
                deaths = self._deaths.pop(self._key(call.task.items[0]), 0)
                if isinstance(outcome, Finished):
                    outcome = replace(outcome, deaths=deaths)
        self._watch(call.slot)
        return outcome

    def _forget(self, call: _Call) -> None:
        del self._calls[call.ref]
        call.slot.calls.remove(call)

    def _bury(self, slot: _Slot, death: _Death) -> list[Outcome[Item]]:
        """Settle the calls of an actor that is dead, or must die, and replace it."""
        ray.kill(slot.actor)  # it may be merely unreachable, and would go on beside its replacement
        refs = [call.ref for call in slot.calls]
        done = set(ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)[0]) if refs else set()
        outcomes: list[Outcome[Item]] = []
        lost = []
        for call in list(slot.calls):
            end = _end(call) if call.ref in done else death
            if isinstance(end, _Death):
                lost.append(call)
            else:
                outcomes.append(self._settle(call, end))
        for call in lost:
            self._forget(call)
        self._starting = {ref: other for ref, other in self._starting.items() if other is not slot}
        self._watched = {ref: other for ref, other in self._watched.items() if other is not slot}
        if slot.lent_to and death.reason not in ("preempted", "node_died"):
            slot.lent_to.wary = True  # what it asks for may be what kills
        slot.lent_to, slot.helpers, slot.wary = None, [], False
        if self._cell is slot:
            self._cell = None

        free = death.reason == "preempted"
        charged = [] if free else lost[: self._concurrency]
        for call in reversed(lost[len(charged) :]):
            (self._suspects if call.alone else self._queue).appendleft(call.task)
        slot.deaths += not free
        sole = len(charged) == 1 and len(charged[0].task.items) == 1
        for call in reversed(charged):
            for item in reversed(call.task.items):
                task = replace(call.task, items=(item,))
                if failed := self._charge(task, death, sole, call.alone):
                    outcomes.append(failed)
                    slot.culprits += 1
                    slot.deaths = slot.culprits  # what the item did is not the actor's fault
                else:
                    self._suspects.appendleft(task)
        self._replace(slot, death)
        return outcomes

    def _charge(self, task: Task[Item], death: _Death, sole: bool, alone: bool) -> Failed[Item] | None:
        """Count a death against the one item of `task`; the verdict, if it is guilty."""
        item_key = self._key(task.items[0])
        deaths = self._deaths[item_key] = self._deaths.get(item_key, 0) + 1
        own_doing = death.reason in ("timed_out", "memory_limit")  # and it would be so again
        if not sole or (deaths < self._max_deaths_per_item and not (own_doing and alone)):
            return None
        del self._deaths[item_key]
        tries = f"{deaths} time" if deaths == 1 else f"{deaths} times"
        if death.reason == "timed_out":
            message = f"It was stopped {tries}, the last time after {self._item_timeout_seconds:g} s."
            return Failed(task, task.items, "timed_out", message, deaths)
        if death.reason == "memory_limit":
            message = f"It was stopped {tries}, the last time because its actor had no memory left for it."
            return Failed(task, task.items, "out_of_memory", message, deaths)
        message = f"The actor that worked on it was lost {tries}; the last time {death.message}."
        return Failed(task, task.items, "killed_worker", message, deaths)

    def _replace(self, slot: _Slot, death: _Death) -> None:
        logger.warning("A %s actor was lost: %s.", self.name, death.message)
        self._on_restart(death.reason)
        if death.in_constructor and not self._ever_ready:
            self._slots.remove(slot)  # the constructor has never worked, so trying again will not help
            self._failure = RunError(f"No {self.name} actor can start: {death.message}.")
        elif slot.deaths < self._max_consecutive_deaths:
            self._start(slot)
        else:
            self._slots.remove(slot)
            if not self._slots:
                self._failure = RunError(
                    f"Every {self.name} actor was given up after {slot.deaths} deaths in a row, with "
                    f"{self.in_flight} tasks unfinished; the last time {death.message}."
                )

    def _next_expiry(self) -> _Call | None:
        """The running call that runs out of time first."""
        running = (call for slot in self._slots for call in slot.calls[: self._concurrency])
        return min(running, key=lambda call: call.deadline, default=None)

    def _expire(self) -> list[Outcome[Item]]:
        outcomes: list[Outcome[Item]] = []
        while (call := self._next_expiry()) and call.deadline <= time.monotonic():
            outcomes += self._bury(call.slot, _Death("timed_out", "a call took too long"))
        return outcomes

    def _look_at_absence(self) -> None:
        """Fail if the first actor is overdue; say so, from time to time, when all actors wait for nodes."""
        if self._failure or not self._slots:
            return
        now = time.monotonic()
        if self.ready:
            self._warn_at = math.inf
        elif self._ever_ready:
            if self._warn_at <= now:
                logger.warning("No %s actor is ready: it goes on once one has found a node and started.", self.name)
            if self._warn_at <= now or self._warn_at == math.inf:
                self._warn_at = now + _ABSENCE_SECONDS
        elif self._ready_by <= now:
            self._failure = RunError(
                f"No {self.name} actor was ready within {self._first_ready_seconds:g} s: the cluster brought no node "
                "that has room for one, or it starts too slowly."
            )

    @property
    def _next_look(self) -> float:
        """When `_look_at_absence` has something to do next, on time.monotonic's clock."""
        return self._warn_at if self._ever_ready else self._ready_by


def wait(pools: Sequence[ActorPool[Any]], timeout: float | None) -> list[tuple[ActorPool[Any], Outcome[Any]]]:
    """Sleep until a task of one of `pools` has its outcome; every outcome there is then, with its pool.

    Returns an empty list after `timeout` seconds (None: no bound), or at once when nothing is under way.

    Raises:
        RunError: a pool has no actor left, or its constructor does not work. Never while there are outcomes
            to return: they are returned first.
    """
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        for pool in pools:
            if pool._failure:
                raise pool._failure
        owners = {ref: pool for pool in pools for refs in (pool._starting, pool._calls) for ref in refs}
        if not owners:
            return []
        owners |= {ref: pool for pool in pools for ref in pool._watched}
        refs = list(owners)
        # Two kinds of wait, because one for "at least one" returns no more than one. Nothing is fetched.
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        if not ready:
            moments = [call.deadline for pool in pools if (call := pool._next_expiry())]
            moments += [pool._next_look for pool in pools if pool._next_look < math.inf]
            moments += [] if end is None else [end]
            seconds = max(0.0, min(moments) - time.monotonic()) if moments else None
            ready, _ = ray.wait(refs, num_returns=1, timeout=seconds, fetch_local=False)
        outcomes = [(owners[ref], outcome) for ref in ready for outcome in owners[ref]._collect(ref)]
        for pool in pools:
            outcomes += [(pool, outcome) for outcome in pool._expire()]
            pool._look_at_absence()
            pool._dispatch()
        if outcomes or (end is not None and time.monotonic() >= end):
            return outcomes


def _begin(actor: Any, memory_limit_bytes: int | None) -> None:
    """The first call that an actor runs: it answers once the actor is there."""
    if memory_limit_bytes is not None:
        memory.limit(memory_limit_bytes)


def _stay(actor: Any) -> None:
    """A call that ends with its actor's process: so the death of one that has no other calls is known at once."""
    threading.Event().wait()


def _end(call: _Call) -> Outcome[Any] | _Death:
    """How a call ended whose first return is ready; _Death also for an actor that had better be replaced."""
    try:
        return Finished(call.task, ray.get(call.ref), call.refs)
    except RayTaskError as error:
        for ref in call.refs:  # every return holds the exception, and Ray prints a traceback for each that nobody took
            with contextlib.suppress(Exception):
                ray.get(ref, timeout=0)
        # Raised while the method ran or its arguments were fetched. A death in here is that of an argument's
        # producer, never of the actor itself: that one comes unwrapped.
        if isinstance(error.cause, (ObjectLostError, *DEATH_ERRORS)):
            return InputLost(call.task)
        if memory.exhausted(error.cause):
            return _Death("memory_limit", "it ran out of the memory that it may take")
        return Raised(call.task, error.cause)
    except ObjectLostError:
        return InputLost(call.task)
    except DEATH_ERRORS as error:
        return _death(error)
    except RayError as error:
        return Raised(call.task, error)


def _death(error: RayError) -> _Death:
    if getattr(error, "preempted", False):
        return _Death("preempted", "its node was preempted")
    if getattr(error, "actor_init_failed", False):
        # Ray has only the traceback, as text; its last line is the exception.
        return _Death("died", str(error).strip().splitlines()[-1].strip().rstrip("."), in_constructor=True)
    if isinstance(error, OutOfMemoryError):
        return _Death("out_of_memory", "its node ran out of memory")
    # An ActorDiedError tells it in its text only.
    if isinstance(error, NodeDiedError) or "its node has died" in str(error):
        return _Death("node_died", "its node was lost")
    return _Death("died", "its process ended unexpectedly")
