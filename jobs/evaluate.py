"""Evaluation as a command: a bundle in; measures, a row for each picture and a page to look at out.

Works on: bundles, examples and an output's address. Knows nothing about formulas or HTML. What is measured is what a
run gives: the same encoder calls, extraction, threshold and checks.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.config import Config
from cluster.errors import RequestError, RunError
from cluster.store import StoreError, Stores, canonical, join
from jobs import parquet
from jobs.evaluation import autoencoder, baselines, examples, measure, page, summary
from jobs.evaluation.examples import OBJECTS, PROCEDURAL, Examples, Made, Training, prepared
from jobs.evaluation.measure import Answer, Task
from jobs.evaluation.renderings import renderings
from jobs.run import code_version
from jobs.training import dataset
from jobs.training.collection import VOXELS
from jobs.training.procedural import CATEGORIES
from workers.failure import ItemError
from workers.mesh import Mesh
from workers.model import Model, load_model
from workers.weights import cache_folder

_MOST_OBJECTS = 50  # that the page lists one by one
TRAINING = 1024  # objects that the baselines are made of
# The methods, as the rows call them.
BUNDLE, AGAINST, AUTOENCODER, MEAN_SHAPE, NEAREST = "bundle", "against", "autoencoder", "mean_shape", "nearest"


@dataclass(frozen=True, eq=False)
class _Seen:
    """A model and what it made of each picture: a latent, or why there is none."""

    model: Model
    latents: list[NDArray[np.float32] | ItemError]

    def answer(self, place: int) -> Answer:
        latent = self.latents[place]
        if isinstance(latent, ItemError):
            return latent
        try:
            return self.model.surface(latent, resolution=VOXELS)
        except ItemError as error:
            return error

    def mesh(self, place: int) -> Mesh | None:
        """To look at."""
        latent = self.latents[place]
        try:
            return None if isinstance(latent, ItemError) else self.model.mesh(latent, resolution=VOXELS).mesh
        except ItemError:
            return None


@dataclass(frozen=True, eq=False)
class _Known:
    """The baselines: mean shapes by category, and for each picture the training object nearest to it."""

    training: Training
    means: dict[str, baselines.MeanShape]
    nearest: list[int | None]


def evaluate(
    bundle: str,
    output: str,
    config: Config,
    *,
    data: str = PROCEDURAL,
    against: str | None = None,
    categories: Sequence[str] = (),
    objects: int | None = None,
    training: int = TRAINING,
    checkpoints: str | None = None,
    report: Callable[[str], None] = lambda line: None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure `bundle`, and on the same pictures the bundle `against` and the baselines, of `training` objects (0: no
    baselines). Writes items.parquet, metrics.json and index.html below `output`, and returns what metrics.json holds.

    `checkpoints` are those of the training, whose autoencoder is measured as well.
    `data` is `procedural`, a dataset of `isofleet prepare`, or a folder with pictures and voxels; `objects` are at most
    so many.
    Raises RequestError, RunError.
    """
    started, stores = time.monotonic(), Stores(config.store)
    root = canonical(output)
    models = {BUNDLE: load_model(bundle, store=config.store)}
    if against is not None:
        models[AGAINST] = load_model(against, store=config.store)
    trained = None if checkpoints is None else autoencoder.load(checkpoints, config)
    shown = _examples(data, config, list(models.values()), categories, objects)
    report(shown.about)
    seen = {name: _Seen(model, _latents(model, shown)) for name, model in models.items()}
    if trained:
        seen[AUTOENCODER] = _autoencoded(trained, shown)
    known = _known(training, shown, seen[BUNDLE]) if training else None
    if known:
        report(f"baselines from {len(known.training.truths)} {known.training.about}")

    rows: list[dict[str, Any]] = []
    tasks = (_task(place, shown, seen, known) for place in range(len(shown.examples)))
    for place, found in measure.measured(tasks, len(shown.examples)):
        example = shown.examples[place]
        where = {"id": example.id, "category": example.category, "view": example.view}
        rows += [row | where for row in found]
        on_progress(place + 1, len(shown.examples))

    means = summary.summary(rows, shown.categories)
    facts: dict[str, Any] = {
        "bundle": _described(bundle, models[BUNDLE]),
        "against": _described(against, models[AGAINST]) if against is not None else None,
        "data": shown.about,
        "baselines": _facts(known) if known else None,
        "methods": means,
        "gains": {
            other: summary.gains(rows, BUNDLE, other, shown.categories)
            for other in (AGAINST, MEAN_SHAPE, NEAREST)
            if other in means
        },
        "resolution": VOXELS,
        "device": models[BUNDLE].device,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_version": code_version(),
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=measure.SCHEMA)
    single = summary.by_object(rows) if any(row["view"] for row in rows) else {}
    looks = list(_looks(rows, shown, seen))
    text = page.html(facts, looks, single if len(single) <= _MOST_OBJECTS else None)
    try:
        for name, content, kind in (
            ("items.parquet", parquet.to_bytes(table), "application/vnd.apache.parquet"),
            ("metrics.json", (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode(), "application/json"),
            ("index.html", text.encode(), "text/html; charset=utf-8"),
        ):
            uri = join(root, name)
            stores.open(uri).put(uri, content, content_type=kind)
    except StoreError as error:
        raise RunError(f"{output}: the evaluation cannot be written: {error}.") from error
    return facts


def _examples(
    data: str, config: Config, models: list[Model], categories: Sequence[str], objects: int | None
) -> Examples:
    made, framing = Made(models[0].device, measure.processes), models[0].bundle.config.framing
    if data != PROCEDURAL:
        stores = Stores(config.store)
        if _is_dataset(data, stores):
            return prepared(data, stores, cache_folder().with_name("datasets"), objects, categories, framing)
        found = renderings(data, config, objects, categories, made)
        if found is None:
            raise RequestError(
                f"--data {data}: is no dataset of isofleet prepare, and holds no CATEGORY/ID/model.binvox with "
                "pictures beside it."
            )
        return found
    chosen = list(categories) or [
        name for name in CATEGORIES if all(name in model.bundle.config.categories for model in models)
    ]
    if unknown := [name for name in chosen if name not in CATEGORIES]:
        raise RequestError(f"--category {unknown[0]}: made-up objects are of {', '.join(CATEGORIES)}.")
    if not chosen:
        raise RequestError(
            f"made-up objects are of {', '.join(CATEGORIES)}, and the weights were trained on none of them: name "
            "some with --category, or other pictures with --data."
        )
    return made.examples(chosen, OBJECTS if objects is None else objects, framing)


def _is_dataset(uri: str, stores: Stores) -> bool:
    try:
        return dataset.exists(stores, uri)
    except StoreError as error:
        raise RequestError(f"--data {uri}: cannot be read: {error}.") from error


def _latents(model: Model, shown: Examples) -> list[NDArray[np.float32] | ItemError]:
    pictures = shown.pictures(model.bundle.config.framing)
    usable = [picture for picture in pictures if not isinstance(picture, ItemError)]
    latents = iter(model.encode_prepared(np.stack(usable)) if usable else ())
    return [picture if isinstance(picture, ItemError) else next(latents) for picture in pictures]


def _autoencoded(known: autoencoder.Autoencoder, shown: Examples) -> _Seen:
    truths = [example.truth.body().inside for example in shown.examples]
    return _Seen(known.model, list(known.latents(truths)))


def _known(count: int, shown: Examples, seen: _Seen) -> _Known | None:
    """The baselines of at most `count` training objects of the examples' categories."""
    training = shown.training(shown.categories, count, seen.model.bundle.config.framing)
    if training is None:
        return None
    latents = seen.model.encode_prepared(examples.inks(training.collection))
    rows: list[int | None] = [None] * len(seen.latents)
    for place, latent in enumerate(seen.latents):
        if not isinstance(latent, ItemError):
            rows[place] = int(baselines.nearest(latents, latent[None])[0])
    return _Known(training, baselines.mean_shapes(training.collection), rows)


def _task(place: int, shown: Examples, seen: dict[str, _Seen], known: _Known | None) -> Task:
    example = shown.examples[place]
    answers: dict[str, Answer] = {name: one.answer(place) for name, one in seen.items()}
    if known and example.category in known.means:
        answers[MEAN_SHAPE] = known.means[example.category].body
    if known and (row := known.nearest[place]) is not None:
        answers[NEAREST] = known.training.truths[row]
    return Task(place, example.truth, answers)


def _looks(rows: list[dict[str, Any]], shown: Examples, seen: dict[str, _Seen]) -> Iterator[page.Look]:
    """Pictures of the best, the median and the worst of each category."""
    places = {(one.id, one.category, one.view): place for place, one in enumerate(shown.examples)}
    pictures = shown.pictures(seen[BUNDLE].model.bundle.config.framing)
    for category in shown.categories:
        for name, row in summary.extremes(rows, BUNDLE, category):
            place = places[row["id"], row["category"], row["view"]]
            picture = pictures[place]
            assert not isinstance(picture, ItemError), "it has a mesh"
            made = {method: one.mesh(place) for method, one in seen.items() if method != AUTOENCODER}
            yield page.Look(name, row, picture, made, shown.examples[place].truth.body().mesh)


def _described(uri: str, model: Model) -> dict[str, Any]:
    config = model.bundle.config
    return {"uri": uri, "name": config.name, "digest": model.bundle.digest, "categories": list(config.categories)}


def _facts(known: _Known) -> dict[str, Any]:
    levels = {name: {"level": mean.level, "training_iou": round(mean.iou, 4)} for name, mean in known.means.items()}
    training = known.training
    return {"training_objects": len(training.truths), "data": training.about, "mean_shapes": levels}
