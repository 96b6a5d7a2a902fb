"""What is evaluated: pictures of objects whose shape is known, and what a network may have been trained on.

Works on: collections of examples, made up or prepared. Knows nothing about networks or measures.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.errors import RequestError
from cluster.store import Stores
from jobs.evaluation.shapes import LatticeTruth, Truth
from jobs.training import dataset
from jobs.training.collection import Collection, collect
from jobs.training.plan import HELD_OUT
from jobs.training.procedural import CATEGORIES
from workers.failure import ItemError
from workers.images import Framing

PROCEDURAL: Final = "procedural"
SEED = HELD_OUT + HELD_OUT // 5  # validation begins at HELD_OUT, the demo's pictures at twice that
OBJECTS = 256


@dataclass(frozen=True, eq=False)
class Example:
    """One picture of an object; `view` counts those of the same object."""

    id: str
    category: str
    view: int
    truth: Truth


@dataclass(frozen=True, eq=False)
class Training:
    """Objects that a network may have been trained on: one view each, and their shapes. `about` says what they are."""

    about: str
    collection: Collection
    truths: list[LatticeTruth]


# What a framing makes of each picture: float32[128, 128], or why it is none.
Pictures = Callable[[Framing], "list[NDArray[np.float32] | ItemError]"]
# At most so many training objects of some categories, framed; None where there is none.
MakeTraining = Callable[[Sequence[str], int, Framing], Training | None]


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples and their pictures, in one order. `about` is a sentence that says what they are."""

    about: str
    examples: list[Example]
    pictures: Pictures
    training: MakeTraining

    @property
    def categories(self) -> list[str]:
        """In order of appearance."""
        return list(dict.fromkeys(example.category for example in self.examples))


@dataclass(frozen=True)
class Made:
    """Made-up objects, made on `device` or by so many processes."""

    device: str
    processes: Callable[[int], int]  # for so many objects

    def examples(self, categories: Sequence[str], objects: int, framing: Framing) -> Examples:
        """Objects with seeds that training never sees, of the categories in turn, drawn for `framing`, and again for
        another one that is asked for."""
        about = f"{objects} made-up objects with seeds from {SEED:,} on, which training never sees, one view of each"
        seeds = range(SEED, SEED + objects)
        return _examples(about, lambda wanted: self._collect(categories, seeds, wanted), framing, seeds, self.training)

    def training(self, categories: Sequence[str], count: int, framing: Framing) -> Training | None:
        """Those with seeds from 0 on, of the categories that there are."""
        names = [name for name in categories if name in CATEGORIES]
        if not names:
            return None
        collection = self._collect(names, range(count), framing)
        return Training("made-up objects with seeds from 0 on", collection, _truths(collection, range(count)))

    def _collect(self, categories: Sequence[str], seeds: range, framing: Framing) -> Collection:
        count = len(seeds)
        return collect(
            categories, count, 1, framing, seed=seeds.start, device=self.device, processes=self.processes(count)
        )  # fmt: skip


def prepared(
    uri: str, stores: Stores, scratch: Path, objects: int | None, categories: Sequence[str], framing: Framing
) -> Examples:
    """The test split of a dataset that `isofleet prepare` wrote: at most `objects`, of the categories in turn; of
    `categories`, if there are any. Raises RequestError, RunError."""

    def split(name: dataset.Split, names: Sequence[str], count: int | None, wanted: Framing) -> Collection:
        loaded = dataset.load(uri, name, wanted, stores, scratch)
        if unknown := set(names) - set(loaded.names):
            raise RequestError(f"--category {min(unknown)}: {uri} has {', '.join(loaded.names)}.")
        return _some(loaded, names or loaded.names, count)

    def training(names: Sequence[str], count: int, wanted: Framing) -> Training:
        collection = split("train", names, count, wanted)
        return Training(f"objects of the training split of {uri}", collection, _truths(collection, None))

    first = split("test", categories, objects, framing)
    about = f"{len(first)} objects of the test split of {uri}, the first view of each"
    return _examples(about, lambda wanted: split("test", categories, objects, wanted), framing, None, training)


def inks(collection: Collection) -> NDArray[np.float32]:
    """float32[count, 128, 128]: the first view of each object as a network takes it."""
    return collection.views[:, 0].numpy().astype(np.float32) / np.float32(255)


def in_turn(categories: Sequence[str], count: int | None) -> list[int]:
    """The places of at most `count` of so many things, whose categories these are, one category after the other."""
    by_category: dict[str, list[int]] = defaultdict(list)
    for place, category in enumerate(categories):
        by_category[category].append(place)
    turns = chain(*zip_longest(*by_category.values()))
    return [place for place in turns if place is not None][:count]


def _examples(
    about: str,
    made: Callable[[Framing], Collection],
    framing: Framing,
    seeds: Sequence[int] | None,
    training: MakeTraining,
) -> Examples:
    """The first view of every object; `seeds` are those of made-up ones."""
    first = made(framing)

    def pictures(wanted: Framing) -> list[NDArray[np.float32] | ItemError]:
        return list(inks(first if wanted == framing else made(wanted)))

    names = [first.names[index] for index in first.categories.tolist()]
    examples = [
        Example(name, category, 0, truth)
        for name, category, truth in zip(first.ids, names, _truths(first, seeds), strict=True)
    ]
    return Examples(about, examples, pictures, training)


def _truths(collection: Collection, seeds: Sequence[int] | None) -> list[LatticeTruth]:
    """The shape of each object; with the `seeds` of made-up ones, their exact surfaces."""
    made: list[tuple[str, int] | None] = [None] * len(collection)
    if seeds is not None:
        names = [collection.names[index] for index in collection.categories.tolist()]
        made = list(zip(names, seeds, strict=True))
    return [LatticeTruth(voxels.numpy(), one) for voxels, one in zip(collection.voxels, made, strict=True)]


def _some(collection: Collection, names: Sequence[str], count: int | None) -> Collection:
    """At most `count` objects of some categories in turn, with one view each and without their points."""
    mine = [place for place, index in enumerate(collection.categories.tolist()) if collection.names[index] in names]
    turns = in_turn([collection.names[int(collection.categories[place])] for place in mine], count)
    rows = torch.tensor([mine[place] for place in turns])
    return replace(
        collection, views=collection.views[rows, :1], voxels=collection.voxels[rows],
        points=collection.points[:0], inside=collection.inside[:0],
        categories=collection.categories[rows], ids=tuple(collection.ids[row] for row in rows.tolist()),
    )  # fmt: skip
