"""Actors that answer as the real ones do, and sleep instead of working: what is left is the driver.

Works on: the driver's calls. Knows nothing about pictures. They import no PyTorch: 64 of them fit a small machine.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from workers.field import SparseField
from workers.mesh import MeshReport
from workers.mesher import Meshed, Order, Shipment
from workers.messages import Batch, Reading, Reconstruction, Source

SECONDS = 0.06  # a picture's share of a decoder
LATENT = tuple(float(number) / 128 for number in range(128))
FIELD = SparseField(64, np.arange(100, dtype=np.int32), np.ones(100, np.float32), 100)
REPORT = MeshReport(100, 200, True, True, 0.1, (0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 2)


class Reconstructor:
    """Finds the same small surface in everything, in `SECONDS` a picture.

    Two calls run at once, as in the real one: one fetches while the other has the device, which is one at a time.
    """

    def __init__(self, *_: Any) -> None:
        self._computing = threading.Lock()

    def reconstruct(self, sources: tuple[Source, ...]) -> tuple[Batch, list[SparseField]]:
        with self._computing:
            time.sleep(SECONDS * len(sources))
        reading = Reading("etag", 20_000, 640, 480, 1.0)
        results = tuple(
            Reconstruction(source.item_id, reading, LATENT, 30_000, 1.0, SECONDS * 1000, "float32", number)
            for number, source in enumerate(sources)
        )
        return Batch(results, (), "sleep", 0), [FIELD] * len(sources)

    def assist(self, helpers: Sequence[Any]) -> None:
        """There is nothing to share: sleeping is not."""


class Mesher:
    """Says that it made a mesh."""

    def __init__(self, *_: Any) -> None:
        pass

    def mesh(self, orders: tuple[Order, ...], fields: list[SparseField]) -> Shipment:
        return Shipment(
            tuple(Meshed(order.item_id, REPORT, None, 100_000, "0" * 64, (), 1.0, 1.0) for order in orders), ()
        )
