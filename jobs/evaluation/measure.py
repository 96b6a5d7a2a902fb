"""Every method's shape for every picture, measured: a row for each.

Works on: fields, shapes and truths, in processes of their own beside whoever finds the fields. Knows nothing about
pictures or networks.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import pyarrow as pa

from cluster.errors import RunError
from jobs.evaluation import metrics
from jobs.evaluation.shapes import MEASURES, Body, LatticeTruth, Truth, of_field
from workers.failure import ErrorCode, ItemError
from workers.field import SparseField

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("category", pa.string()),
        ("view", pa.int32()),
        ("method", pa.string()),
        ("status", pa.string()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        *((name, pa.float64()) for name in MEASURES),
        ("pieces", pa.int32()),
        ("vertices", pa.int32()),
        ("faces", pa.int32()),
    ]
)

# What a method says of a picture: a field, a shape, a training shape, or why there is none.
Answer = SparseField | Body | LatticeTruth | ItemError

_ALONE = 16  # tasks: fewer are done before a process has begun
_AHEAD = 4  # tasks a process that wait for it: 1 MiB each


@dataclass(frozen=True, eq=False)
class Task:
    """A picture's truth and the methods' answers. `place` is the example's, and seeds the points that are sampled."""

    place: int
    truth: Truth
    answers: dict[str, Answer]


def processes(tasks: int) -> int:
    """How many are worth it."""
    return 1 if tasks < _ALONE else len(os.sched_getaffinity(0))


def measured(tasks: Iterable[Task], count: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """For each of `count` tasks, in order, its place and a row for each answer. Raises RunError if a process dies."""
    workers = processes(count)
    if workers == 1:
        yield from map(measure, tasks)
        return
    # Not forked: this process has PyTorch's threads, and perhaps a GPU.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting: deque[Future[tuple[int, list[dict[str, Any]]]]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(measure, task))
                if len(waiting) >= _AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise RunError("a process that measures was killed, perhaps for want of memory; try again.") from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def measure(task: Task) -> tuple[int, list[dict[str, Any]]]:
    """The columns of `SCHEMA` that say how good each answer is: of fields all, of what baselines say the IoU alone,
    since distances take a second and it is by their IoU that they are to be beaten."""
    rows, made = [], []
    for method, answer in task.answers.items():
        row = dict.fromkeys(SCHEMA.names) | {"method": method, "status": "ok"}
        rows.append(row)
        try:
            body = _body(answer)
        except ItemError as error:
            row |= {"status": "failed", "error_code": error.code.value, "error_message": error.message}
            continue
        vertices, faces = body.mesh.vertices, body.mesh.faces
        row |= {"iou": task.truth.iou(body), "pieces": metrics.pieces(vertices, faces)}
        row |= {"vertices": len(vertices), "faces": len(faces)}
        if isinstance(answer, SparseField):
            made.append((row, body))
    if made:
        found = task.truth.distances([body for _, body in made], seed=task.place)
        for (row, _), values in zip(made, found, strict=True):
            row.update(values)
    return task.place, rows


def _body(answer: Answer) -> Body:
    match answer:
        case ItemError():
            raise answer
        case SparseField():
            return of_field(answer)
        case LatticeTruth():
            return answer.body()
    if not len(answer.mesh.faces):
        raise ItemError(ErrorCode.NO_SURFACE, "the shape is empty")
    return answer
