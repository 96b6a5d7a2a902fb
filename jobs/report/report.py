"""A page on which a run's results are looked at: OUTPUT/report/index.html and files beside it.

Works on: one output, by its record, its manifest, its meshes and its pictures, which may be gone. Knows nothing about
Ray. Memory does not grow with the output: `sample` says which rows are shown.
"""

import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

import pyarrow as pa

from cluster.config import Config
from cluster.errors import RunError
from cluster.store import NotFound, StoreError, Stores, canonical, join
from jobs import manifest, run
from jobs.manifest import Counts
from jobs.report import page, sheets
from jobs.report.sample import COLUMNS, Sample, quotas
from jobs.report.sheets import Made, Sheet
from jobs.report.statistics import STAGES, Statistics, progress
from jobs.status import Status, status
from workers.failure import ErrorCode

LIMIT = 5_000
_READERS = 4  # parts in memory at once: some hundred rows each
# A process takes a second to begin, as long as two sheets take: fewer are made here.
_SHEETS_A_PROCESS = 4


@dataclass(frozen=True, slots=True)
class Report:
    """What was written: `items` of the run's `images` are shown. `missing` counts pictures and meshes that could not
    be, by reason. `sheets_kept` of the sheets lay there already, from the same rows."""

    index: str
    images: int
    items: int
    sheets: int
    sheets_kept: int
    missing: dict[str, int]
    seconds: float


def report(
    output: str,
    config: Config,
    *,
    limit: int = LIMIT,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Write the report of `output`, of at most `limit` of its rows; the progress is told in items.

    A run that goes on is reported as far as it is. What was written before from the same rows stays.

    Raises RequestError where there is no run, RunError where the store fails or a process dies.
    """
    try:
        return _report(output, config, limit, on_progress)
    except StoreError as error:
        raise RunError(f"the report of {output} cannot be written: {error}.") from error
    except BrokenProcessPool as error:
        raise RunError(
            f"the report of {output} cannot be written: a process that draws it was killed, perhaps for "
            "want of memory; the same command goes on where it was."
        ) from error


def _report(output: str, config: Config, limit: int, on_progress: Callable[[int, int], None]) -> Report:
    started = time.monotonic()
    stores = Stores(config.store)
    record = run.read(stores, output)
    now = status(stores, output, datetime.now(UTC))
    total, commits = Counts(), []
    for info, counts in manifest.counted(stores, output):
        total += counts
        commits.append((info.modified or 0.0, counts.images))
    sample, statistics = Sample(quotas(total, limit)), Statistics()
    for part in _parts(stores, output):
        sample.add(part)
        statistics.add(part)
    rows = sample.rows()
    folder, limits = join(canonical(output), "report"), config.images
    work = [
        Sheet(index, rows[start : start + sheets.ROWS], canonical(output), folder, limits.max_bytes, limits.max_pixels)
        for index, start in enumerate(range(0, len(rows), sheets.ROWS))
    ]
    kept, missing, done = 0, Counter[str](), 0
    for made in _made(work, stores):
        kept += made.again
        missing.update(made.missing)
        done += made.items
        on_progress(done, len(rows))
    facts = _facts(record, now, stores, output) | {
        "sheets": len(work), "sheet_rows": sheets.ROWS, "tiles": 1 + len(sheets.AZIMUTHS), "items": len(rows),
        "limit": limit, "statistics": statistics.summary(), "progress": progress(commits), "stages": STAGES,
    }  # fmt: skip
    sheets.write_script(stores, join(folder, "data", "run.js"), "run", facts)
    index = page.write(stores, folder)
    seconds = round(time.monotonic() - started, 3)
    return Report(index, total.images, len(rows), len(work), kept, dict(missing), seconds)


def _parts(stores: Stores, output: str) -> Iterator[pa.Table]:
    """The committed parts by shard without their latents, some read ahead."""
    with ThreadPoolExecutor(_READERS) as readers:
        ahead: deque[Future[pa.Table]] = deque()
        for index in sorted(manifest.committed(stores, output)):
            if len(ahead) >= _READERS:
                yield ahead.popleft().result()
            ahead.append(readers.submit(manifest.read_part, stores, output, index, columns=COLUMNS))
        while ahead:
            yield ahead.popleft().result()


def _made(work: list[Sheet], stores: Stores) -> Iterator[Made]:
    processes = min(len(os.sched_getaffinity(0)), len(work) // _SHEETS_A_PROCESS)
    if processes < 2:
        yield from (sheets.make(sheet, stores) for sheet in work)
        return
    # Not forked: this process may have threads, of Ray or of boto3.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        try:
            yield from pool.map(sheets.make, work, [stores] * len(work))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _facts(record: run.RunRecord, now: Status, stores: Stores, output: str) -> dict[str, Any]:
    uri = join(canonical(output), run.SUCCESS)
    try:
        success = json.loads(stores.open(uri).get(uri, max_bytes=1 << 20).data)
    except (NotFound, ValueError):  # not finished, or by a version that wrote it otherwise
        success = None
    return {
        "status": asdict(now),
        "request": record.request.model_dump(),
        "seconds": success.get("seconds") if isinstance(success, dict) else None,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "written_by": run.code_version(),
        "meanings": {code.value: code.meaning for code in ErrorCode},
    }
