"""The decoder on a GPU: large chunks of points as they come, of several shapes at once.

Works on: a decoder's weights, latents' shares and lattice keys as tensors on one device. Knows nothing about surfaces.

In bfloat16 the product of layer 2, three quarters of the paper's network, is computed in bfloat16 with float32 sums,
and the others in TF32, which rounds eight times as finely: layer 2's rounding moves vertices least (docs/precision.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from workers.grid import Lattice
from workers.products import LEAK
from workers.regions import Prepared

_SAME = 128  # rows that share a shape, and so a bias: it is added by blocks of rows instead of gathered for each


class Chunks:
    """Evaluates a decoder's pre-activation at lattice keys."""

    def __init__(self, prepared: Prepared, shares: list[Tensor], lattice: Lattice, chunk_points: int) -> None:
        """`shares` are those of `Decoder.biases`, of all shapes; `chunk_points` is rounded up to a multiple of 128."""
        shapes = max(len(share) for share in shares)
        self._prepared = prepared
        self._shares = [share.expand(shapes, -1) for share in shares]
        self._lattice = lattice
        self._borders = torch.arange(shapes + 1, device=shares[0].device) * lattice.points
        self._blocks = -(-chunk_points // _SAME)

    def together(self, keys: Tensor) -> Tensor:
        """int64[P]: any points share a chunk as well as others; in their order, those of a shape are together."""
        return keys

    def __call__(self, keys: Tensor, ahead: Tensor | None) -> Tensor:
        """Pre-activation float32[P] at sorted keys int64[P], or `ahead` float32[P, 3] lattice steps from them.

        The host waits for the device once, for how many keys each shape has: not for a chunk.
        """
        counts = torch.searchsorted(keys, self._borders).diff()
        blocks = (counts + _SAME - 1) // _SAME
        number = int(blocks.sum())
        padded = -(-number // self._blocks) * self._blocks
        shape = torch.arange(len(counts), device=keys.device)
        owner = functional.pad(shape.repeat_interleave(blocks, output_size=number), (0, padded - number))
        first = (blocks.cumsum(0) - blocks) * _SAME - (counts.cumsum(0) - counts)
        row = torch.arange(len(keys), device=keys.device) + first.repeat_interleave(counts, output_size=len(keys))
        points = torch.zeros(padded * _SAME, 3, device=keys.device)
        points[row] = self._lattice.positions(keys)
        if ahead is not None:
            points[row] += ahead / self._lattice.resolution
        with _tensor_cores(self._prepared.half and keys.is_cuda):
            chunks = zip(points.split(self._blocks * _SAME), owner.split(self._blocks), strict=True)
            return torch.cat([self._chunk(*chunk) for chunk in chunks])[row]

    def _chunk(self, points: Tensor, owner: Tensor) -> Tensor:
        """Pre-activation float32[R] at `points` float32[R, 3]; block b of rows is of shape `owner[b]`."""
        prepared = self._prepared
        value = torch.mm(points, prepared.first)
        for number, share in enumerate(self._shares):
            if number == 1:
                value = _product(value, prepared.wide)
            elif number:
                value = torch.mm(value, prepared.weights[number - 2].T)
            if number and (point := prepared.points[number - 1]) is not None:
                value.addmm_(points, point)
            value.view(len(owner), _SAME, -1).add_(share[owner][:, None])
            if number < len(self._shares) - 1:
                functional.leaky_relu_(value, LEAK)
        return value.flatten()


def _product(rows: Tensor, weight: Tensor) -> Tensor:
    """`rows` float32 times `weight` transposed, in the weight's precision, with float32 sums and result."""
    if weight.dtype is torch.float32:
        return torch.mm(rows, weight.T)
    rows = rows.to(weight.dtype)
    if rows.is_cuda:
        return torch.mm(rows, weight.T, out_dtype=torch.float32)
    return torch.mm(rows.float(), weight.float().T)  # exact products, as a tensor core makes them


@contextmanager
def _tensor_cores(allowed: bool) -> Iterator[None]:
    """TF32 for float32 products within, where it is allowed."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
