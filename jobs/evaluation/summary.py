"""Rows in, means out: by method and category, and how much better one method is than another.

Works on: rows as `measure` makes them. Knows nothing about shapes or pages.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jobs.evaluation.shapes import MEASURES

MEAN = "mean"  # over the categories, each counting alike, as in the papers' tables
_WORST = {"iou": 0.0, "f_score": 0.0}  # what a failure counts as; a distance has no worst, and leaves it out

Row = dict[str, Any]


def summary(rows: Sequence[Row], categories: Sequence[str]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """For each method, for each category that it has rows of and for `MEAN`: `pictures`, `failed`, the mean of each of
    the measures, and `whole`, the share of its pictures that became a mesh of one piece."""
    found = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = {}
        for category in categories:
            mine = [row for row in rows if row["method"] == method and row["category"] == category]
            if mine:
                cells[category] = _cell(mine)
        cells[MEAN] = _mean(list(cells.values()))
        found[method] = cells
    return found


def by_object(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, float]]:
    """The mean IoU of each object's pictures by method; objects are named by category and id."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        scores = found.setdefault((row["category"], row["id"]), {})
        scores.setdefault(row["method"], []).append(_score(row, "iou") or 0.0)
    return {key: {name: float(np.mean(scores)) for name, scores in each.items()} for key, each in found.items()}


def gains(rows: Sequence[Row], method: str, other: str, categories: Sequence[str]) -> dict[str, dict[str, float]]:
    """By how much the IoU of `method` exceeds that of `other` on the same pictures: for each category `gain` and its
    standard `error`, of the differences picture by picture; for `MEAN`, of the categories' mean."""
    scores = {
        (row["method"], row["category"], row["id"], row["view"]): _score(row, "iou") or 0.0
        for row in rows
        if row["method"] in (method, other)
    }
    found = {}
    for category in categories:
        pairs = [
            (score, scores[other, *key])
            for (name, *key), score in scores.items()
            if name == method and key[0] == category and (other, *key) in scores
        ]
        if pairs:
            difference = np.array([first - second for first, second in pairs], np.float64)
            error = difference.std(ddof=1) / len(pairs) ** 0.5 if len(pairs) > 1 else 0.0
            found[category] = {"gain": float(difference.mean()), "error": float(error)}
    if found:
        both = np.array([[cell["gain"], cell["error"]] for cell in found.values()])
        error = float(np.sqrt((both[:, 1] ** 2).sum()) / len(both))
        found[MEAN] = {"gain": float(both[:, 0].mean()), "error": error}
    return found


def extremes(rows: Iterable[Row], method: str, category: str) -> list[tuple[str, Row]]:
    """The best, the median and the worst by IoU of a method's meshes of a category, each named; fewer where there are
    fewer."""
    mine = [row for row in rows if row["method"] == method and row["category"] == category and row["status"] == "ok"]
    mine.sort(key=lambda row: (-row["iou"], row["id"], row["view"]))
    if not mine:
        return []
    places = {"best": 0, "median": len(mine) // 2, "worst": len(mine) - 1}
    shown: dict[int, str] = {}
    for name, place in places.items():
        shown.setdefault(place, name)
    return [(name, mine[place]) for place, name in shown.items()]


def _cell(rows: Sequence[Row]) -> dict[str, float | int | None]:
    cell: dict[str, float | int | None] = {"pictures": len(rows), "failed": sum(row["status"] != "ok" for row in rows)}
    for name in MEASURES:
        # Where not one mesh has it, it is not measured here; that IoU is always.
        measured = name == "iou" or any(row[name] is not None for row in rows)
        values = [value for row in rows if (value := _score(row, name)) is not None]
        cell[name] = float(np.mean(values)) if measured and values else None
    cell["whole"] = sum(row["pieces"] == 1 for row in rows) / len(rows)
    return cell


def _score(row: Row, name: str) -> float | None:
    return _WORST.get(name) if row["status"] != "ok" else row[name]


def _mean(cells: Sequence[dict[str, float | int | None]]) -> dict[str, float | int | None]:
    mean: dict[str, float | int | None] = {
        name: sum(cell[name] or 0 for cell in cells) for name in ("pictures", "failed")
    }
    for name in (*MEASURES, "whole"):
        values = [value for cell in cells if (value := cell[name]) is not None]
        mean[name] = float(np.mean(values)) if values else None
    return mean
