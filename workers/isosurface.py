"""The points of a lattice that the surface needs, found by asking for few others.

Works on: lattice keys and a callable that gives the field at them. Knows nothing about decoders, chunks, where
points are evaluated, or triangles.

The field is a real function: positive inside, negative outside, zero on the surface. For a decoder it is the
pre-activation minus the pre-activation of the threshold. The activation is monotone, so the surface is the
same; and it interpolates better than an occupancy that has saturated, and still tells how near the surface is.
Exact zeros are outside.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from workers.failure import ErrorCode, ItemError
from workers.field import OUTSIDE, SparseField
from workers.grid import Lattice

Evaluate = Callable[[Tensor], Tensor]

MAX_REFINE = 8  # steps: in the worst of fields, one that jumps, each of them about halves the error
EXACT_SLAB = 1 << 22  # points asked for at once in an exact extraction: 32 MiB of keys
SIGNS_BYTES = 1 << 29  # that a table of all signs may take, one a point: 16 shapes at 256³ or 3 at 512³, none at 1024³


def extract(
    evaluate: Evaluate,
    lattice: Lattice,
    shapes: int,
    *,
    exact: bool = False,
    refine: int = 0,
    margin: float = 1.0,
    device: torch.device | str = "cpu",
) -> list[SparseField]:
    """Find the surfaces of shapes 0 … `shapes`−1 together.

    `evaluate` maps sorted, unique keys int64[P] on `device`, never of padding, to the field's values float[P] on
    any device. No key is asked for twice. What is found of a shape depends on that shape's values alone.

    The field is sampled on a coarse lattice. Every sign change seen is narrowed to a unit edge, and from there
    the surface is followed in both directions until it closes. Then the lattice is refined around samples that
    are near a surface, judging by their value, of which nothing has been found. Near is: less than `margin` edges
    away, where a cell's centre is 0.87 edges from its corners.
    What can be missed is a part that no sample fell into and no value gives away: isolated, thinner than a coarse
    cell, close to another surface or in a field without slope. `exact` evaluates every sample and misses nothing.

    `refine` steps, 0 to 8, find where the field is zero along each crossed edge that joins two samples, one point a
    step. The points come from a method of `evaluate`, `between(keys, axis, t)`: float[P], the field at `t` float32[P],
    0 … 1, of the way from sorted `keys` to their neighbours along `axis`. It may be absent where `refine` is 0.

    Raises ItemError(INTERNAL_ERROR) when a value is not finite; ValueError for more shapes than keys can name, and for
    a `refine` that is out of range or that `evaluate` has no `between` for.
    """
    if not 0 < shapes <= lattice.max_shapes:
        raise ValueError(f"shapes is {shapes}; resolution {lattice.resolution} allows 1 to {lattice.max_shapes}")
    if not 0 <= refine <= MAX_REFINE:
        raise ValueError(f"refine is {refine}; choose 0 to {MAX_REFINE} steps")
    if refine and getattr(evaluate, "between", None) is None:
        raise ValueError(f"refine is {refine}, and the field cannot be evaluated between samples: it has no `between`")
    samples = _Samples(evaluate, lattice, shapes, torch.device(device))
    if exact:
        fields = [_extract_exactly(samples, shape) for shape in range(shapes)]
    else:
        fields = _collect(samples, shapes, _search(samples, shapes, margin))
    return _refine(samples, fields, refine) if refine else fields


def coarse_stride(resolution: int) -> int:
    """Distance of coarse samples: the largest power of two with 2·stride² ≤ N and more than 8 samples an axis.

    So the coarse lattice grows as N^1.5 where the surface grows as N². 2 at 32, 4 at 64, 8 at 128 and at 256, 16
    beyond: 16 samples an axis up to 128, 32 at 256 and at 512, 64 at 1024.
    """
    stride = 1
    while 8 * stride**2 <= resolution and 16 * stride < resolution:
        stride *= 2
    return stride


class _Samples:
    """Every point evaluated so far: sorted keys and their values."""

    def __init__(self, evaluate: Evaluate, lattice: Lattice, shapes: int, device: torch.device) -> None:
        self.lattice = lattice
        self.keys = torch.empty(0, dtype=torch.int64, device=device)
        self.values = torch.empty(0, dtype=torch.float32, device=device)
        self._evaluate = evaluate
        self._signs: Tensor | None = None  # int8[shapes·M³], as `signs` says them: read 30 times faster than searched
        if shapes * lattice.points <= SIGNS_BYTES:
            grid = torch.ones((shapes, *[lattice.side] * 3), dtype=torch.int8, device=device)
            grid[:, 1:-1, 1:-1, 1:-1] = 0
            self._signs = grid.flatten()

    def ask(self, keys: Tensor) -> Tensor:
        """The field at sorted, unique keys of samples, checked; it is not remembered."""
        return self._checked(self._evaluate(keys), keys)

    def between(self, keys: Tensor, axis: int, t: Tensor) -> Tensor:
        """The field at `t` of the way from sorted, unique keys to their neighbours along `axis`, checked."""
        return self._checked(self._evaluate.between(keys, axis, t), keys)  # type: ignore[attr-defined]

    def _checked(self, found: Tensor, keys: Tensor) -> Tensor:
        values = found.to(self.values)
        if values.shape != keys.shape:
            raise ValueError(f"the field has {tuple(values.shape)} values for {tuple(keys.shape)} keys")
        if not bool(torch.isfinite(values).all()):
            raise ItemError(
                ErrorCode.INTERNAL_ERROR,
                "the decoder returned a value that is not finite; check its weights and the precision it runs in",
            )
        return values

    def add(self, keys: Tensor) -> Tensor:
        """Evaluate those of `keys` that are missing; returns them, sorted."""
        keys = keys[self.signs(keys) == 0].unique()
        if len(keys):
            values = self.ask(keys)
            new = torch.searchsorted(self.keys, keys) + torch.arange(len(keys), device=keys.device)
            old = torch.ones(len(self.keys) + len(keys), dtype=torch.bool, device=keys.device)
            old[new] = False
            self.keys = self.keys.new_empty(len(old)).masked_scatter_(old, self.keys).index_copy_(0, new, keys)
            self.values = self.values.new_empty(len(old)).masked_scatter_(old, self.values).index_copy_(0, new, values)
            if self._signs is not None:
                self._signs[keys] = 1 + (values > 0).to(torch.int8)
        return keys

    def find(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Where keys stand, int64[P], and whether they do, bool[P]."""
        if not len(self.keys):
            return torch.zeros_like(keys), torch.zeros_like(keys, dtype=torch.bool)
        place = torch.searchsorted(self.keys, keys).clamp_(max=len(self.keys) - 1)
        return place, self.keys[place] == keys

    def signs(self, keys: Tensor) -> Tensor:
        """int8[P]: 0 where not evaluated yet, 1 outside and in the padding, 2 inside."""
        if self._signs is not None:
            return self._signs.take(keys)
        values = self.at(keys)
        return (values > 0).to(torch.int8) + ~values.isnan()

    def at(self, keys: Tensor) -> Tensor:
        """Values float32[P]: `OUTSIDE` in the padding, NaN where not evaluated yet."""
        place, known = self.find(keys)
        values = torch.full(keys.shape, torch.nan, device=keys.device)
        values[known] = self.values[place[known]]
        values[~known] = values[~known].masked_fill(self.lattice.is_padding(keys[~known]), OUTSIDE)
        return values

    def crossed_cells(self, keys: Tensor) -> Tensor:
        """The cells around the unit edges at `keys` that change sign between known points: their lowest corners."""
        other_sign, cells = 3 - self.signs(keys), [keys[:0]]
        for axis, step in enumerate(self.lattice.steps):
            a, b = (other for n, other in enumerate(self.lattice.steps) if n != axis)
            around = torch.tensor([0, a, b, a + b], device=keys.device)
            for low, other in ((keys, keys + step), (keys - step, keys - step)):
                low = low[self.signs(other) == other_sign]
                cells.append((low - around[:, None]).flatten())
        return torch.cat(cells).unique()

    def corners(self, cells: Tensor) -> Tensor:
        """Keys int64[8, C] of the corners of cells."""
        x, y, z = self.lattice.steps
        corners = torch.tensor([0, z, y, y + z, x, x + z, x + y, x + y + z], device=cells.device)
        return cells + corners[:, None]


def _search(samples: _Samples, shapes: int, margin: float) -> Tensor:
    """The lowest corners of the crossed cells, int64[C], found from a coarse lattice: see `extract`."""
    lattice = samples.lattice
    stride = coarse_stride(lattice.resolution)
    level, slope = _sample_coarsely(samples, shapes, stride)
    # Looking along all three axes spares long walks; for completeness z suffices (see SparseField).
    gaps = [_gaps(samples, level.movedim(1 + axis, -1).flatten(), axis) for axis in range(3)]
    seeds, level = _narrow(samples, torch.cat(gaps, dim=1)), level.flatten()
    cells = _follow(samples, torch.cat([level, seeds]))
    while stride > 1:
        level = _unexplained(samples, level, stride, margin * stride, slope, cells)
        stride //= 2
        level = _around(lattice, level, stride)
        cells = torch.cat([cells, _follow(samples, samples.add(level))]).unique()
    return cells


def _sample_coarsely(samples: _Samples, shapes: int, stride: int) -> tuple[Tensor, Tensor]:
    """Evaluate every `stride`-th sample: their keys int64[S, n, n, n], and each shape's slope, float32[S].

    The slope is what the field typically changes by in a unit step near the surface: the median over the coarse
    edges that it crosses, zero where it crosses none. A coarse step counts for 0.75 of a typical |value| at most, or
    a field with plateaus would be near its surface everywhere.
    """
    lattice, device = samples.lattice, samples.keys.device
    axis = torch.arange(0, lattice.resolution, stride, device=device)
    grid = torch.cartesian_prod(axis, axis, axis)
    keys = samples.add(lattice.keys(torch.arange(shapes, device=device)[:, None], grid).flatten())
    values = samples.values.reshape(shapes, len(axis), len(axis), len(axis))
    changes = [values.diff(dim=d).abs().where((values > 0).diff(dim=d), torch.nan).flatten(1) for d in (1, 2, 3)]
    slope = torch.cat(changes, dim=1).nanmedian(dim=1).values.nan_to_num(0)
    return keys.view(values.shape), slope.minimum(0.75 * values.abs().flatten(1).median(dim=1).values) / stride


def _unexplained(samples: _Samples, keys: Tensor, stride: int, reach: float, slope: Tensor, cells: Tensor) -> Tensor:
    """Those samples whose value puts a surface less than `reach` steps away, where no crossed cell is that near.

    The distance is the value over the slope: along each axis the steeper difference to the samples `stride` away (the
    mean of both would vanish on the crest over a thin part), squared and added up, and not less than is typical of
    the shape, since a part can stand in a field that has been cut off.
    Cells are sought a quarter farther than that, as no field keeps its slope, by bricks of a quarter of the stride, in
    the cube of bricks that holds the distance.
    """
    lattice, values = samples.lattice, samples.at(keys)
    shape, ijk = lattice.split(keys)
    steepest = torch.zeros_like(values)
    for axis, step in enumerate(lattice.steps):
        change = torch.zeros_like(values)
        for move in (-stride, stride):
            there = (ijk[:, axis] + move >= 0) & (ijk[:, axis] + move < lattice.resolution)
            change = change.fmax((samples.at(keys + move * step * there) - values).abs())
        steepest += change**2
    distance = values.abs() / (steepest.sqrt() / stride).maximum(slope[shape])
    near = distance < reach
    keys, distance, shape, ijk = keys[near], distance[near], shape[near], ijk[near]
    brick, far = max(1, stride // 4), 1.25 * distance + 1  # a cell's name is up to one step below it
    radius = (far / brick).ceil().long()
    farthest = math.ceil((1.25 * reach + 1) / brick)
    side = (lattice.resolution - 1) // brick + 1 + 2 * farthest  # so wide that no cube reaches into the next row
    steps = torch.tensor([side**2, side, 1], device=keys.device)
    at = shape * side**3 + ((ijk // brick + farthest) * steps).sum(dim=1)
    shape, ijk = lattice.split(cells)
    bricks = (shape * side**3 + ((ijk // brick + farthest) * steps).sum(dim=1)).unique()
    bricks = torch.cat([bricks, bricks.new_full((1,), torch.iinfo(torch.int64).max)])
    offset = torch.arange(-farthest, farthest + 1, device=keys.device)
    rows = torch.cartesian_prod(offset, offset)
    explained = torch.zeros_like(keys, dtype=torch.bool)
    for ring in range(farthest + 1):  # rows of bricks, the nearest first, as most samples need no others
        left = (~explained & (radius >= ring)).nonzero().squeeze(1)
        row = (rows[rows.abs().amax(dim=1) == ring] * steps[:2]).sum(dim=1)
        first = at[left] - radius[left] + row[:, None]
        found = bricks.take(torch.searchsorted(bricks, first)) <= first + 2 * radius[left]
        explained[left] = found.any(dim=0)
    return keys[~explained]


def _around(lattice: Lattice, keys: Tensor, distance: int) -> Tensor:
    """The samples at `keys` and at ±`distance` from them along any of the three axes: sorted, unique."""
    offset = torch.tensor([-distance, 0, distance], device=keys.device)
    for axis, step in enumerate(lattice.steps):
        index = lattice.split(keys)[1][:, axis, None] + offset
        keys = (keys[:, None] + offset * step)[(index >= 0) & (index < lattice.resolution)].unique()
    return keys


def _gaps(samples: _Samples, keys: Tensor, axis: int) -> Tensor:
    """Where a row along `axis` changes sign between known points with unknown ones between: int64[3, G].

    `keys` are known points, row by row. The result is the keys of both ends, lower first, and the key's step along the
    row. Rows begin and end in padding.
    """
    step, side = samples.lattice.steps[axis], samples.lattice.side
    inside = pad(samples.signs(keys) == 2, (1, 1))
    keys = torch.cat([keys[:1] - step * side, keys, keys[-1:] + step * side])  # these are of other rows
    near = ((inside[1:] | inside[:-1]) & (keys[1:] - keys[:-1] != step)).nonzero().squeeze(1)
    near = torch.stack([near, near + 1])
    keys, inside = keys[near], inside[near]
    row = keys - keys // step % side * step
    apart = row[0] != row[1]  # then one row ends after the first of the two, and one begins before the second
    low = torch.cat([row[1].where(apart, keys[0]), keys[0][apart]])
    high = torch.cat([keys[1], (row[0] + (side - 1) * step)[apart]])
    changes = torch.cat([inside[1] != (inside[0] & ~apart), inside[0][apart]])
    wide = changes & (high - low > step)
    return torch.stack([low[wide], high[wide], torch.full_like(low[wide], step)])


def _narrow(samples: _Samples, gaps: Tensor) -> Tensor:
    """Bisect each gap until its sign changes across a unit edge. The samples that this took, int64[P]."""
    low, high, step = gaps
    inside, added = samples.at(low) > 0, [low[:0]]
    while len(low):
        middle = low + (high - low) // step // 2 * step
        added.append(samples.add(middle))
        same = (samples.at(middle) > 0) == inside
        low, high = middle.where(same, low), high.where(same, middle)
        wide = high - low > step
        low, high, step, inside = low[wide], high[wide], step[wide], inside[wide]
    return torch.cat(added)


def _follow(samples: _Samples, fresh: Tensor) -> Tensor:
    """Evaluate the corners of all cells that are crossed near `fresh` samples, and so on until none is new.

    Returns the lowest corners of these cells, int64[C]: sorted, unique.
    """
    cells = [fresh[:0]]
    while len(fresh):
        while len(fresh):
            cells.append(samples.crossed_cells(fresh))
            fresh = samples.add(samples.corners(cells[-1]).flatten())
        fresh = _narrow(samples, _gaps(samples, samples.keys, 2))  # a gap that is left shows a part missed so far
    return torch.cat(cells).unique()


def _collect(samples: _Samples, shapes: int, cells: Tensor) -> list[SparseField]:
    """Keep the corners of crossed cells, padding included, and share them out to the shapes."""
    lattice, keys = samples.lattice, samples.keys
    needed = torch.zeros(len(keys), dtype=torch.bool, device=keys.device)
    padding = keys[:0]
    for corner in samples.corners(cells):
        place, known = samples.find(corner)
        needed[place[known]] = True
        padding = torch.cat([padding, corner[~known]]).unique()
    found, order = torch.cat([keys[needed], padding]).sort()
    values = torch.cat([samples.values[needed], torch.full(padding.shape, OUTSIDE, device=keys.device)])[order]
    borders = torch.arange(shapes + 1, device=keys.device) * lattice.points
    evaluated = torch.searchsorted(keys, borders).diff().tolist()
    ends = torch.searchsorted(found, borders).tolist()
    return [
        _sparse(lattice, found[a:b] - shape * lattice.points, values[a:b], evaluated[shape])
        for shape, (a, b) in enumerate(pairwise(ends))
    ]


def _sparse(lattice: Lattice, indices: Tensor, values: Tensor, evaluated: int) -> SparseField:
    # Copies, so that a field that is kept or sent does not hold on to the arrays of all shapes.
    return SparseField(lattice.resolution, _array(indices, np.int32), _array(values, np.float32), evaluated)


def _array(tensor: Tensor, dtype: type) -> np.ndarray:
    return np.array(tensor.cpu().numpy(), dtype=dtype, order="C")


def _refine(samples: _Samples, fields: list[SparseField], steps: int) -> list[SparseField]:
    """The fields with `crossings`, which took `steps` more points for each edge between samples.

    An edge that ends in the padding, where there is no field, keeps its linear crossing.
    """
    lattice, device = samples.lattice, samples.keys.device
    keys = [torch.from_numpy(field.indices).long() + shape * lattice.points for shape, field in enumerate(fields)]
    key, value = torch.cat(keys).to(device), torch.cat([torch.from_numpy(field.values) for field in fields]).to(device)
    names, found = [], []
    points = torch.zeros(len(fields), dtype=torch.int64, device=device)
    for axis, step in enumerate(lattice.steps):
        after = torch.searchsorted(key, key + step).clamp_(max=len(key) - 1)
        crossed = (key[after] == key + step) & ((value[after] > 0) != (value > 0))
        low, ends = key[crossed], torch.stack([value[crossed], value[after[crossed]]]).double()
        t = ends[0] / (ends[0] - ends[1])
        inner = ~(lattice.is_padding(low) | lattice.is_padding(low + step))
        if inner.any():  # in the order of their keys, as edges of one axis are
            t[inner] = _root(partial(samples.between, low[inner], axis), ends[:, inner], steps)
        found.append(t)
        shape, ijk = lattice.split(low)
        x, y, z = (2 * (ijk + 1) + (torch.arange(3, device=device) == axis)).unbind(dim=1)
        names.append(((shape * 2 * lattice.side + x) * 2 * lattice.side + y) * 2 * lattice.side + z)
        points += steps * torch.bincount(shape[inner], minlength=len(fields))
    name, order = torch.cat(names).sort()
    crossings = torch.cat(found)[order]
    ends_of = torch.searchsorted(name, torch.arange(len(fields) + 1, device=device) * 8 * lattice.points).tolist()
    return [
        replace(field, crossings=_array(crossings[a:b], np.float32), points_evaluated=field.points_evaluated + more)
        for field, (a, b), more in zip(fields, pairwise(ends_of), points.tolist(), strict=True)
    ]


def _root(field: Callable[[Tensor], Tensor], values: Tensor, steps: int) -> Tensor:
    """Where the field is zero on E edges: float64[E], 0 at the lower end, 1 at the other.

    `field` gives it at t float32[E]; `values` float64[2, E] are those at the ends, of which one is positive. The
    Illinois method: regula falsi, but an end that stays a second time counts half, since a curved field would hold it
    for ever (Dahlquist & Björck, "Numerical Methods", 1974, pp. 231-232).
    """
    ends = torch.zeros_like(values)
    ends[1] = 1
    edge = torch.arange(values.shape[1], device=values.device)
    before = torch.full_like(edge, -1)
    for _ in range(steps):
        t = _zero(ends, values).float()
        value = field(t).double()
        side = ((value > 0) != (values[0] > 0)).long()  # the end that has the new point's sign, and gives way to it
        values[1 - side, edge] *= torch.where(side == before, 0.5, 1.0)
        ends[side, edge], values[side, edge] = t.double(), value
        before = side
    return _zero(ends, values)


def _zero(ends: Tensor, values: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * values[0] / (values[0] - values[1])


def _extract_exactly(samples: _Samples, shape: int) -> SparseField:
    """Evaluate every sample of `shape`, by slabs of planes along x, and keep the corners of crossed cells."""
    lattice, n, m = samples.lattice, samples.lattice.resolution, samples.lattice.side
    axis = torch.arange(n, device=samples.keys.device)
    last = torch.full((1, m, m), OUTSIDE, device=samples.keys.device)
    last_needed = torch.zeros_like(last, dtype=torch.bool)
    indices, values = [], []
    planes = max(1, EXACT_SLAB // n**2)
    for start in range(0, n + 1, planes):  # the plane n is padding
        slab = torch.full((min(planes, n + 1 - start) + 1, m, m), OUTSIDE, device=samples.keys.device)
        slab[:1] = last
        grid = axis[start : start + planes]
        if len(grid):
            keys = lattice.keys(shape, torch.cartesian_prod(grid, axis, axis))
            slab[1 : len(grid) + 1, 1:-1, 1:-1] = samples.ask(keys).reshape(-1, n, n)
        needed = _crossed_corners(slab > 0)
        needed[:1] |= last_needed
        final = start + planes > n
        keep = slice(None) if final else slice(-1)
        ijk = needed[keep].nonzero()
        indices.append(((ijk[:, 0] + start) * m + ijk[:, 1]) * m + ijk[:, 2])
        values.append(slab[keep][needed[keep]])
        last, last_needed = slab[-1:], needed[-1:]
    return _sparse(lattice, torch.cat(indices), torch.cat(values), n**3)


def _crossed_corners(inside: Tensor) -> Tensor:
    """Which points of bool[X, Y, Z] are corners of a cell whose corners differ."""
    some, every = inside, inside
    for axis in range(3):
        count = inside.shape[axis] - 1
        some = some.narrow(axis, 0, count) | some.narrow(axis, 1, count)
        every = every.narrow(axis, 0, count) & every.narrow(axis, 1, count)
    needed = some & ~every
    for axis in range(3):
        low, high = [0, 0] * 3, [0, 0] * 3
        low[5 - 2 * axis], high[4 - 2 * axis] = 1, 1  # `pad` counts axes from the last
        needed = pad(needed, low) | pad(needed, high)
    return needed
