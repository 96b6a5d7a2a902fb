"""The error budget: how many items may fail before a run has failed, and when that is plain before its end.

Works on: counts of rows, without those of items that a run could not try. Knows nothing about why one failed.
"""

from typing import TypeAlias

from cluster.config import PrepareSettings, ReconstructSettings

Bounds: TypeAlias = ReconstructSettings | PrepareSettings
_ITEMS = {"reconstruct": "images", "prepare": "shapes"}


def exceeded(settings: Bounds, failed: int, items: int) -> str | None:
    """Which bound `failed` of all `items` are over, as half a sentence; None within the budget."""
    section = settings.section
    share = f"{failed} of {items} {_ITEMS[section]} failed"
    if settings.max_failed is not None and failed > settings.max_failed:
        return f"{share}, and {section}.max_failed is {settings.max_failed}"
    percent = 100 * failed / max(items, 1)
    if settings.max_failed_percent is not None and percent > settings.max_failed_percent:
        return f"{share} ({percent:.3g} %), and {section}.max_failed_percent is {settings.max_failed_percent:g}"
    return None


def hopeless(settings: Bounds, failed: int, so_far: int) -> str | None:
    """The same in the middle of a run: an absolute bound counts at once, a share only over a minimum sample, since
    a catalog's first folder may be its worst."""
    if so_far < settings.budget_sample:
        settings = settings.model_copy(update={"max_failed_percent": None})
    return exceeded(settings, failed, so_far)
