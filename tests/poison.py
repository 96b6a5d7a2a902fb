"""Pictures that harm the process that decodes them, and the reconstructor that lets them.

No decoder that ships does this: a test hands `PoisonedReconstructor` to the driver in place of the real one, which it
is in all else. The harm is real: a segmentation fault, a leak, a sleep that no Python thread can interrupt.
"""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from workers import reconstructor
from workers.images import Picture, decode
from workers.reconstructor import Reconstructor

POISONS = ("segfault", "leak", "hang")
_MARK = b"poison: "  # behind the end of an otherwise good PNG, where no decoder looks

_leaked: list[np.ndarray] = []


def poisonous(picture: Path, poison: str) -> bytes:
    """The bytes of a good picture with a poison in them."""
    assert poison in POISONS
    return picture.read_bytes() + _MARK + poison.encode()


class PoisonedReconstructor(Reconstructor):
    """A Reconstructor whose decoder falls for the poisons."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        reconstructor.decode = _decode  # type: ignore[assignment]  # in this actor's process alone


def _decode(data: bytes, *, max_pixels: int) -> Picture:
    match data.partition(_MARK)[2]:
        case b"segfault":
            ctypes.string_at(0)
        case b"leak":
            while True:
                _leaked.append(np.empty(1 << 28, np.uint8))  # not touched: as soon done on a machine that is busy
        case b"hang":
            ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the lock that every other Python thread waits for
    return decode(data, max_pixels=max_pixels)
