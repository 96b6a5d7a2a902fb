"""The decoder on a CPU: most of its largest product is spared, because layer 1 is linear almost everywhere.

Works on: a decoder, latents' shares and lattice keys as tensors on the CPU. Knows nothing about surfaces.

Layer 1 sees the point alone, so a hidden unit of it changes sign only across one plane. In a small cube of the
lattice, a *region*, most planes are elsewhere: there a unit is a linear function of the point, its LeakyReLU included,
and so is what it adds to layer 2. All these units together are one vector and one 3 × width matrix a region. Left of
its product, three quarters of the paper's network, are the *active* units, whose plane may meet the region: a
fifth to a third of them, and of those the part that is not linear. Nothing is approximated. (That a ReLU network is
linear by regions: Montúfar et al., "On the Number of Linear Regions of Deep Neural Networks", NIPS 2014.)

In bfloat16 the large products see only differences to the region's centre, which itself is evaluated in float32:
rounding is relative, so what is small is rounded finely. Sums, biases and the point's own share stay in float32.

Products always have the same number of rows, all of one region. So a point's value is a function of its key and its
shape, whatever else is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from workers.grid import Lattice
from workers.precision import Precision
from workers.products import LEAK, add_linear, linear

if TYPE_CHECKING:
    from workers.decoder import Decoder

TILE = 64  # points of one region in a product of layer 2: measured, more leaves more rows empty than it gains
_TOGETHER = 16  # regions prepared at a time: enough rows for a product to be fast
_AT_ONCE = 1 << 20  # keys laid out at a time, which bounds memory
_MOST = 4096  # regions remembered, each 20 to 50 kB: all of 8 shapes at any resolution above 64
_COLUMNS = 32  # active units are padded to a multiple of this, so that there are few shapes of products


def region_side(resolution: int) -> int:
    """Samples along an edge of a region: the smallest power of two that is at least N/8, and at least 16.

    Measured: half of it leaves too few points in a region to fill a product, twice as much too many active units.
    """
    side = 16
    while 8 * side < resolution:
        side *= 2
    return side


class Prepared:
    """A decoder's weights as the products want them: made once, used for every batch."""

    @torch.inference_mode()
    def __init__(self, decoder: "Decoder", precision: Precision = "float32") -> None:
        self.precision = precision
        self.half = precision == "bfloat16"
        dtype = torch.bfloat16 if self.half else torch.float32
        hidden, weights, points = 0, [], []
        for layer in decoder.layers:
            weight = layer.weight.detach()
            weights.append(weight[:, :hidden].contiguous())
            conditioned = layer.in_features != hidden
            points.append(weight[:, hidden : hidden + 3].T.contiguous() if conditioned else None)
            hidden = layer.out_features
        assert points[0] is not None
        self.first = points[0]  # float32[3, width of layer 1]
        self.reach = self.first.abs().sum(dim=0)  # what a unit changes by, at most, in a step of 1 along each axis
        self.second = weights[1]
        self.wide = self.second.to(dtype)
        # What an active unit adds beyond its linear part is (1 − LEAK)·relu(±h): see `_Region`.
        self.active = ((1 - LEAK) * self.second.T).contiguous().to(dtype)
        self.weights = weights[2:]  # of layers 3 …
        self.products = [weight.to(dtype) for weight in self.weights[:-1]]
        self.points = points[1:]  # of layers 2 …: float32[3, width], or None


@dataclass(frozen=True, slots=True)
class _Region:
    """What all points of a region have in common. K active units, padded; layer 2 has N units.

    With `p` = (x, y, z, 1) relative to the region's centre, the pre-activation of layer 2 is
    p @ linear + relu(p @ planes) @ (the `units` of Prepared.active).
    """

    units: Tensor  # int64[K]
    planes: Tensor  # float32[4, K]: each unit's pre-activation, turned so that it is negative at the centre
    linear: Tensor  # float32[4, N]
    starts: tuple[Tensor, ...]  # layers 3 …: the bias (float32), or the pre-activation at the centre (bfloat16)
    centres: tuple[Tensor, ...]  # layers 2 …: the activation at the centre (bfloat16 only)


class Regions:
    """Evaluates a decoder's pre-activation at lattice keys."""

    def __init__(self, prepared: Prepared, shares: list[Tensor], lattice: Lattice, chunk_points: int) -> None:
        """`shares` are those of `Decoder.biases`, of all shapes; `chunk_points` is rounded up to whole tiles."""
        self._prepared = prepared
        self._shares = [share.expand(max(len(s) for s in shares), -1) for share in shares]
        self._lattice = lattice
        self._tiles = -(-chunk_points // TILE)  # a chunk
        self._side = region_side(lattice.resolution)
        self._axis = -(-lattice.resolution // self._side)  # regions along an axis
        self._known: dict[int, _Region] = {}

    def together(self, keys: Tensor) -> Tensor:
        """The region int64[P] of each key: fewer rows are empty where all of a region are asked for at once."""
        shape, ijk = self._lattice.split(keys)
        cell = ijk // self._side
        return ((shape * self._axis + cell[:, 0]) * self._axis + cell[:, 1]) * self._axis + cell[:, 2]

    def __call__(self, keys: Tensor, ahead: Tensor | None) -> Tensor:
        """Pre-activation float32[P] at keys int64[P], or at `ahead` float32[P, 3] lattice steps (0 … 1) from them."""
        aheads = [None] * (len(keys) // _AT_ONCE + 1) if ahead is None else ahead.split(_AT_ONCE)
        parts = [self._evaluate(part, a) for part, a in zip(keys.split(_AT_ONCE), aheads, strict=False)]
        return torch.cat(parts)

    def _evaluate(self, keys: Tensor, ahead: Tensor | None) -> Tensor:
        n, side = self._lattice.resolution, self._side
        steps = (2 * (self._lattice.split(keys)[1] % side) + 1 - side).to(torch.float32) / 2
        if ahead is not None:
            steps = steps + ahead
        names, order = self.together(keys).sort()
        names, counts = names.unique_consecutive(return_counts=True)
        tiles = (counts + TILE - 1) // TILE
        # A region's points fill the rows of its own tiles; what is left over, and the last chunk, is centres.
        first = (tiles.cumsum(0) - tiles) * TILE - (counts.cumsum(0) - counts)
        row = torch.arange(len(keys)) + first.repeat_interleave(counts)
        points = torch.zeros(-(-int(tiles.sum()) // self._tiles) * self._tiles, TILE, 4)
        points[..., 3] = 1
        points.view(-1, 4)[row, :3] = steps[order] / n
        found: list[Tensor] = []
        ready: list[tuple[_Region, Tensor]] = []  # tiles of the chunk that is being filled
        for region, number in zip(self._regions(names), tiles.tolist(), strict=True):
            active = self._prepared.active.index_select(0, region.units)
            for _ in range(number):
                place = len(found) * self._tiles + len(ready)
                ready.append((region, self._second(region, active, points[place])))
                if len(ready) == self._tiles:
                    found.append(self._rest(ready, points[place + 1 - self._tiles : place + 1]))
                    ready = []
        if ready:
            ready += ready[-1:] * (self._tiles - len(ready))
            found.append(self._rest(ready, points[-self._tiles :]))
        values = torch.empty(len(keys))
        values[order] = torch.cat(found)[row]
        return values

    def _second(self, region: _Region, active: Tensor, points: Tensor) -> Tensor:
        """Pre-activation of layer 2, float32[TILE, N], at `points` float32[TILE, 4] of one region."""
        linear, beyond = torch.mm(points, region.linear), torch.mm(points, region.planes)
        if self._prepared.half:
            return linear.add_(torch.mm(beyond.to(torch.bfloat16).relu_(), active))
        return add_linear(linear, beyond.relu_(), active.T)

    def _rest(self, tiles: list[tuple[_Region, Tensor]], points: Tensor) -> Tensor:
        """Pre-activation float32[chunk] from that of layer 2 in a chunk's tiles; `points` float32[tiles, TILE, 4]."""
        prepared = self._prepared
        regions = [region for region, _ in tiles]
        flat = points.view(-1, 4)[:, :3]
        value = functional.leaky_relu_(torch.cat([second for _, second in tiles]), LEAK)
        for number, (weight, share) in enumerate(zip(prepared.products, prepared.points[1:-1], strict=True)):
            start = torch.stack([region.starts[number] for region in regions])[:, None]
            if prepared.half:
                centre = torch.stack([region.centres[number] for region in regions])[:, None]
                difference = value.view(len(tiles), TILE, -1).sub_(centre).to(torch.bfloat16).flatten(0, 1)
                value = torch.mm(difference, weight.T).to(torch.float32)
                if share is not None:
                    value.addmm_(flat, share)
                value.view(len(tiles), TILE, -1).add_(start)
            else:
                sums = flat.new_zeros(len(flat), start.shape[2]) if share is None else torch.mm(flat, share)
                sums.view(len(tiles), TILE, -1).add_(start)
                value = add_linear(sums, value, weight)
            functional.leaky_relu_(value, LEAK)
        last = torch.cat([region.starts[-1] for region in regions])[:, None]
        return torch.mv(value, prepared.weights[-1][0]).view(len(tiles), TILE).add_(last).flatten()

    def _regions(self, names: Tensor) -> Iterator[_Region]:
        """The regions of that name, in order."""
        for part in names.split(_MOST // 2):
            missing = [name for name in part.tolist() if name not in self._known]
            for start in range(0, len(missing), _TOGETHER):
                self._prepare(missing[start : start + _TOGETHER])
            yield from [self._known[name] for name in part.tolist()]
            while len(self._known) > _MOST // 2:
                del self._known[next(iter(self._known))]

    def _prepare(self, names: list[int]) -> None:
        prepared, resolution = self._prepared, self._lattice.resolution
        padded = torch.tensor(names + names[-1:] * (_TOGETHER - len(names)))
        axis = self._axis
        shape = padded // axis**3
        cell = torch.stack([padded // axis**2 % axis, padded // axis % axis, padded % axis], dim=1)
        centre = (2 * cell * self._side + self._side - resolution).to(torch.float32) / (2 * resolution)
        own = [share[shape] for share in self._shares]
        for number, point in enumerate(prepared.points, start=1):
            if point is not None:
                own[number] = own[number] + centre @ point
        first = own[0] + centre @ prepared.first
        slope = torch.where(first > 0, 1.0, LEAK)
        # Half a region, and half a step more on each side for points between samples; the last factor is for rounding.
        is_active = first.abs() < prepared.reach * ((self._side + 1) / (2 * resolution) * 1.0001)
        rows = torch.cat([slope * prepared.first[axis] for axis in range(3)] + [slope * first])
        second = linear(rows, prepared.second).reshape(4, _TOGETHER, -1)
        second[3] += own[1]
        if prepared.points[0] is not None:
            second[:3] += prepared.points[0][:, None]
        starts, centres = self._centres(second[3], own) if prepared.half else (own[2:], [])
        for place, name in enumerate(names):
            units = is_active[place].nonzero()[:, 0]
            turned = torch.cat([prepared.first[:, units], first[place, units][None]])
            turned *= torch.where(first[place, units] > 0, -1.0, 1.0)
            padding = -len(units) % _COLUMNS  # a unit that is always zero
            self._known[name] = _Region(
                functional.pad(units, (0, padding)),
                functional.pad(turned, (0, padding)),
                second[:, place].contiguous(),
                tuple(start[place].clone() for start in starts),
                tuple(value[place].clone() for value in centres),
            )

    def _centres(self, second: Tensor, own: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """At regions' centres, in float32: pre-activations of layers 3 … and activations of layers 2 …."""
        value = functional.leaky_relu(second, LEAK)
        starts, centres = [], [value]
        for weight, share in zip(self._prepared.weights[:-1], own[2:-1], strict=True):
            starts.append(linear(value, weight) + share)
            value = functional.leaky_relu(starts[-1], LEAK)
            centres.append(value)
        return [*starts, own[-1]], centres
