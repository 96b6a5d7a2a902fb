"""A collection of shapes as a work list, and what is asked of it.

Works on: what a person says of a source, and the source's entries. Knows nothing about what is made of the shapes, or
who does it.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cluster.config import Config
from cluster.errors import RequestError
from cluster.store import Stores, canonical
from jobs import scratch
from jobs.catalog import Catalog, Item, Position
from jobs.training.dataset import Request
from jobs.training.sources import AXES, KINDS, Options, Source, open_source, recognise
from jobs.training.sources.shapenet import SYNSETS
from workers.failure import ErrorCode


@dataclass(frozen=True)
class Asked:
    """What a person says of a collection. `kind` None recognises it; no `categories` takes all of them."""

    kind: str | None = None
    up: str = "+y"
    front: str = "-z"
    renderings: str | None = None
    categories: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0


def request_for(source_uri: str, config: Config, asked: Asked, stores: Stores) -> Request:
    """What is asked of a collection. Raises RequestError, StoreError."""
    if asked.kind is not None and asked.kind not in KINDS:
        raise RequestError(f"--kind {asked.kind} is none of {', '.join(KINDS)}.")
    for name, axis in (("up", asked.up), ("front", asked.front)):
        if axis not in AXES:
            raise RequestError(f"--{name} {axis} is none of {', '.join(sorted(AXES))}.")
    if asked.up[1:] == asked.front[1:]:
        raise RequestError(f"--up {asked.up} and --front {asked.front} lie along one line; the front is beside up.")
    kind = asked.kind or recognise(source_uri, stores)
    if kind != "meshes" and (asked.up, asked.front) != (Asked.up, Asked.front):
        raise RequestError(f"--up and --front are for a folder of meshes: {kind} has axes of its own.")
    if asked.renderings is not None and not kind.startswith("shapenet"):
        raise RequestError(f"--renderings are pictures of ShapeNet's models, and SOURCE is {kind}; leave them out.")
    return Request(
        source=canonical(source_uri),
        kind=kind,
        up=asked.up,
        front=asked.front,
        renderings=None if asked.renderings is None else canonical(asked.renderings),
        categories=tuple(sorted(SYNSETS.get(name, name) for name in asked.categories)),
        limit=asked.limit,
        shard_size=config.prepare.shard_size,
        max_bytes=config.prepare.max_bytes,
        max_faces=config.prepare.max_faces,
        seed=asked.seed,
    )


def options_of(request: Request) -> Options:
    """What a source needs to know of it."""
    return Options(request.up, request.front, request.renderings, request.max_bytes, request.max_faces)


class Shapes(Catalog):
    """A source's entries as a work list."""

    def __init__(self, request: Request, stores: Stores) -> None:
        super().__init__(request.source, stores, category=None, limit=request.limit)
        self.source: Source = open_source(request.source, request.kind, stores, options_of(request))
        self._categories = request.categories

    def _rows(self, after: Position | None) -> Iterator[tuple[str, Item]]:
        skip, count = after.count if after else 0, 0
        ids = scratch.database("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
        with contextlib.closing(ids) as seen:
            for entry in self.source.entries():
                if self._categories and entry.category not in self._categories:
                    continue
                item = Item(entry.id, entry.address, entry.category, entry.etag, entry.size)
                if not seen.execute("INSERT OR IGNORE INTO ids VALUES (?)", (entry.id,)).rowcount:
                    item = _duplicate(item, count)
                count += 1
                if count > skip:
                    yield "", item

    def _nothing(self) -> str:
        of = f" of the category {' or '.join(self._categories)}" if self._categories else ""
        return f"SOURCE {self.uri} has no shapes{of} in the layout {self.source.kind}; see docs/datasets.md."


def _duplicate(item: Item, number: int) -> Item:
    return replace(
        item,
        item_id=f"{item.item_id.partition('~')[0]}~{number:016x}",  # a name that `item_id_for` never gives
        error_code=ErrorCode.DUPLICATE_ID.value,
        error_message=f"An earlier shape has the id {item.item_id}.",
    )
