"""What a check found: one sentence, and how bad it is.

Works on: text. Knows nothing about what is checked.
"""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`message` is one sentence that says what is so; unless it is ok, also what to do. A warning is what a run may
    well live with, a failure what it would end with."""

    check: str
    state: State
    message: str


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", message)


def warning(check: str, message: str) -> Finding:
    """A run would go on, but not as it might."""
    return Finding(check, "warning", message)


def failure(check: str, message: str) -> Finding:
    """A run would end, or never begin."""
    return Finding(check, "failure", message)


def sentence(error: BaseException) -> str:
    """An error's message, as a part of a sentence: on one line, and without its final stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
