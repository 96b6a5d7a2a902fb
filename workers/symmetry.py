"""A field made equal to its mirror image: what one picture shows of the left side, it shows of the right one as well.

Works on: a callable that gives a field at lattice keys. Knows nothing about decoders or surfaces. The mirror is the
plane x = 0 of the frame; sample i of that axis stands for sample N − 1 − i on the other side.
"""

from typing import Protocol

import torch
from torch import Tensor

from workers.grid import Lattice


class Field(Protocol):
    """A field at keys, and between them."""

    def __call__(self, keys: Tensor) -> Tensor: ...

    def between(self, keys: Tensor, axis: int, t: Tensor) -> Tensor: ...


class Mirrored:
    """The mean of a field and its mirror image: equal, to the last bit, at x and −x.

    The mean keeps what either side shows: on embedded weights it changes volumes by less than 2 %, where the union of
    both sides adds up to 13 %.
    """

    def __init__(self, field: Field, lattice: Lattice, device: torch.device | str = "cpu") -> None:
        self._field = field
        self._lattice = lattice
        self._pairs = torch.empty(
            0, dtype=torch.int64, device=device
        )  # the lower key of each that was evaluated, sorted
        self._values = torch.empty(0, device=device)

    def __call__(self, keys: Tensor) -> Tensor:
        """Field float32[P] at `keys` int64[P], sorted. A pair is evaluated when one of the two is asked first."""
        low = torch.minimum(keys, self._mirror(keys))
        fresh = low[~torch.isin(low, self._pairs)].unique()
        if len(fresh):
            both = torch.cat([fresh, self._mirror(fresh)]).unique()  # the plane itself is its own image
            values = self._field(both)
            one, other = (values[torch.searchsorted(both, end)] for end in (fresh, self._mirror(fresh)))
            self._pairs, order = torch.cat([self._pairs, fresh]).sort()
            self._values = torch.cat([self._values, (one + other) / 2])[order]
        return self._values[torch.searchsorted(self._pairs, low)]

    def between(self, keys: Tensor, axis: int, t: Tensor) -> Tensor:
        """Field float32[P] at `t` float32[P], 0 … 1, of the way from `keys` to their neighbours along `axis`."""
        here = self._field.between(keys, axis, t)
        if axis:
            order = self._mirror(keys).argsort()
            there = self._field.between(self._mirror(keys)[order], axis, t[order])
        else:
            ends = self._mirror(keys + self._lattice.steps[0])
            order = ends.argsort()
            there = self._field.between(ends[order], axis, 1 - t[order])
        return (here + torch.empty_like(there).index_copy_(0, order, there)) / 2

    def _mirror(self, keys: Tensor) -> Tensor:
        step, side = self._lattice.steps[0], self._lattice.side
        i = keys // step % side
        return keys + (side - 1 - 2 * i) * step
