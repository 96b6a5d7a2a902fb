"""Many objects as one batched field of signed distance.

Works on: programs of solids, and points as tensors on any torch device. Knows nothing about what a chair is, about
pictures or about networks.

The field is negative inside and 1-Lipschitz: |d(a) − d(b)| ≤ |a − b|. So |d| never exceeds the true distance, and
within a ball nothing further off than its nearest solid by a diameter can matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jobs.training.shape import Shape

_CHUNK = 1 << 16  # numbers a tensor on a CPU: a few of them stay in its cache
_CHUNK_DEVICE = 1 << 24
_FAR = 1e9
_TIP = 6e-4  # object units: an eighth of a pixel; the field's rounding is some 1e-7
_TETRAHEDRON = ((1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class _Group:
    """All solids of one kind: `numbers` [count, 12 + n], the place (frame and offset) and what the formula takes."""

    key: tuple[Any, ...]
    numbers: Tensor

    def distance(self, which: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """float32[n, P]: of solid `which` int64[n] at points [n, P] of the object's frame."""
        numbers = self.numbers.index_select(0, which)
        local = []
        for row in range(3):
            a, b, c, offset = (numbers[:, n : n + 1] for n in range(4 * row, 4 * row + 4))
            local.append((x * a).add_(y * b).add_(z * c).add_(offset))
        result: Tensor = self.key[0].distance(*local, numbers[:, 12:], self.key[1])
        return result


class Fields:
    """Many shapes as tensors on one device, so that their distances are one batched query.

    A shape's solids are its slots: `present` bool[shapes, slots], `color` float32[shapes, slots, 3], `blend` and `cut`
    as in `Solid`; `group` and `index` int64 say which of the `groups` has its numbers, and where.
    """

    def __init__(self, shapes: "Sequence[Shape]", device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        rows, slots = len(shapes), max(len(shape.solids) for shape in shapes)
        grouped: dict[tuple[Any, ...], list[list[float]]] = {}
        group, index = np.full((rows, slots), -1), np.zeros((rows, slots), np.int64)
        blend, cut = np.zeros((rows, slots), np.float32), np.zeros((rows, slots), bool)
        color = np.zeros((rows, slots, 3), np.float32)
        for row, shape in enumerate(shapes):
            for slot, solid in enumerate(shape.solids):
                place = np.concatenate([solid.frame, -(solid.frame @ solid.center)[:, None]], axis=1)
                key = (type(solid.form), solid.form.key)
                members = grouped.setdefault(key, [])
                group[row, slot], index[row, slot] = list(grouped).index(key), len(members)
                members.append([*place.ravel(), *solid.form.parameters()])
                blend[row, slot], cut[row, slot], color[row, slot] = solid.blend, solid.cut, solid.color
        self.groups = [
            _Group(key, torch.tensor(numbers, dtype=torch.float32, device=self.device))
            for key, numbers in grouped.items()
        ]
        self.group, self.index, self.blend, self.cut, self.color = (
            torch.from_numpy(table).to(self.device) for table in (group, index, blend, cut, color)
        )
        self.present = self.group >= 0

    def __len__(self) -> int:
        return len(self.group)

    def contains(self, rows: Tensor, points: Tensor) -> Tensor:
        """bool[B, P]: whether `points` float32[B, P, 3] lie in the shapes `rows` int64[B]."""
        return self.distance(rows, points) < 0

    def distance(self, rows: Tensor, points: Tensor) -> Tensor:
        """Signed distances float32[B, P] of `points` float32[B, P, 3] from the shapes `rows` int64[B]."""
        return self.select(rows).distance(points.movedim(-1, 0))

    def select(self, rows: Tensor, near: Tensor | None = None) -> "Selection":
        """The shapes `rows` int64[B], to be asked about several points of each.

        `near` bool[B, slots] names the solids that matter to a row of points, as `near` finds them; all by default.
        """
        present = self.present[rows] if near is None else near
        slots = present.byte().argsort(dim=1, descending=True, stable=True)
        return Selection(self, rows, present.sum(1), slots)

    def alone(self, rows: Tensor, slots: Tensor, points: Tensor) -> Tensor:
        """Distances float32[N, P] of points float32[3, N, P] from one solid each, `slots` [N] of `rows` [N]."""
        group, index = self.group[rows, slots], self.index[rows, slots]
        result = points.new_empty(points.shape[1:])
        piece = self.piece(points.shape[-1])
        for place, members in enumerate(self.groups):
            for which in (group == place).nonzero()[:, 0].split(piece):
                if len(which):
                    there = (axis.index_select(0, which) for axis in points)
                    result.index_copy_(0, which, members.distance(index[which], *there))
        return result

    def piece(self, points: int) -> int:
        """How many rows of `points` are worked on together: so few numbers that a processor's cache holds them."""
        return max(1, (_CHUNK if self.device.type == "cpu" else _CHUNK_DEVICE) // max(1, points))

    def near(
        self, rows: Tensor, centers: Tensor, radius: Tensor | float, among: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Which solids bool[B, slots] can matter within `radius` of `centers` float32[B, 3], and the distances [B].

        `among` bool[B, slots] is the same of a larger ball around. With these alone distances are the same inside the
        ball. A solid is hidden where it is further off, by the ball's diameter and its blend's radius, than what was
        there; or than one that comes later, by that one's radius and those of the blends in between as well.
        """
        present = self.present[rows] if among is None else among
        alone = self._alone(rows, centers, present)
        blend, cut = self.blend[rows], self.cut[rows]
        value, later = torch.full_like(alone[:, 0], torch.inf), torch.full_like(alone[:, 0], _FAR)
        hidden = []
        for slot in reversed(range(alone.shape[1])):
            hidden.append(later)
            below = torch.minimum(alone[:, slot], later) + blend[:, slot]
            later = torch.where(cut[:, slot], later, below)
        keep = []
        for slot in range(alone.shape[1]):
            here = alone[:, slot]
            bound = torch.where(cut[:, slot], -value, torch.minimum(value, hidden[-1 - slot]))
            keep.append((here <= bound + blend[:, slot] + 2 * radius) & present[:, slot])
            value = _join(value, here, blend[:, slot], cut[:, slot])
        return torch.stack(keep, dim=1), value

    def volume(self, rows: Tensor, resolution: int) -> Tensor:
        """Distances float32[B, N, N, N] at the samples of `Lattice(resolution)`, whose N is a multiple of 16.

        Exact wherever the surface is nearer than a sample's spacing; further off the sign is, and |d| is no less than
        the spacing. From coarse to fine: a block of 16³ samples, then one of 4³, that is further from the surface than
        its corners is filled as a whole.
        """
        if resolution % 16:
            raise ValueError(f"resolution is {resolution}; choose a multiple of 16")
        spacing, tops = 1 / resolution, (resolution // 16) ** 3
        top = self._grid(resolution // 16, 16 * spacing).expand(len(rows), -1, -1).reshape(-1, 3)
        near, value = self.near(rows.repeat_interleave(tops), top, _corner(16, spacing))
        values = value[:, None, None].repeat(1, 64, 64)  # blocks of blocks of samples

        def refine(candidates: Tensor, size: int) -> Tensor:
            return (candidates.abs() <= _corner(size, spacing) + spacing).nonzero()

        big = refine(value, 16)[:, 0]
        centers = top[big, None] + self._grid(4, 4 * spacing)
        middles = self.select(rows[big // tops], near[big]).distance(centers.movedim(-1, 0))
        values[big] = middles[:, :, None].expand(-1, -1, 64)
        parent, place = refine(middles, 4).unbind(1)
        small, centers = big[parent], centers[parent, place]
        near, _ = self.near(rows[small // tops], centers, _corner(4, spacing), near[small])
        samples = (centers[:, None] + self._grid(4, spacing)).movedim(-1, 0)
        values[small, place] = self.select(rows[small // tops], near).distance(samples)
        blocks = values.view(len(rows), *[resolution // 16] * 3, 4, 4, 4, 4, 4, 4)
        return blocks.permute(0, 1, 4, 7, 2, 5, 8, 3, 6, 9).reshape(len(rows), *[resolution] * 3)

    def _grid(self, side: int, spacing: float) -> Tensor:
        """The centred grid float32[side³, 3]."""
        steps = (torch.arange(side, device=self.device) - (side - 1) / 2) * spacing
        return torch.cartesian_prod(steps, steps, steps)

    def _alone(self, rows: Tensor, centers: Tensor, present: Tensor) -> Tensor:
        """Each solid's distance [B, slots] that is `present` from one point a row; the others are very far."""
        result = torch.full(present.shape, _FAR, device=self.device)
        block, slot = present.nonzero(as_tuple=True)
        result[block, slot] = self.alone(rows[block], slot, centers[block].T[..., None])[:, 0]
        return result


class Selection:
    """Rows of points, each with the solids of its shape that matter to it; points are planes float32[3, B, P].

    Rows are put in order of their number of solids, so that each step of the programs concerns the first few of them.
    """

    def __init__(self, fields: Fields, rows: Tensor, count: Tensor, slots: Tensor) -> None:
        """The first `count` int64[B] of `slots` int64[B, slots], in the order of the program, matter to a row."""
        self._fields, self._rows, self._count, self._slots = fields, rows, count, slots
        device = fields.device
        self._order = count.argsort(descending=True, stable=True)
        steps = torch.arange(slots.shape[1], device=device)[:, None] < count[self._order]
        step, block = steps.nonzero(as_tuple=True)
        block = self._order[block]
        self._slot = slots[block, step]
        pair = rows[block], self._slot
        group, index = fields.group[pair], fields.index[pair]
        self._blend, self._cut = fields.blend[pair][:, None], fields.cut[pair][:, None]
        smooth = ((self._blend > 0) | self._cut)[:, 0]
        self._steps = torch.stack([steps.sum(1), torch.bincount(step, smooth.double(), len(steps)).long()], 1).tolist()
        self._parts = []  # of each kind: which pairs, their rows and their numbers
        for place, members in enumerate(fields.groups):
            which = (group == place).nonzero()[:, 0]
            if len(which):
                self._parts.append((members, which, block[which], index[which]))
        self._back = torch.empty_like(self._order)
        self._back[self._order] = torch.arange(len(rows), device=device)

    def of(self, rows: Tensor) -> "Selection":
        """The same for other rows of points: int64[B'] says which row each is like."""
        return Selection(self._fields, self._rows[rows], self._count[rows], self._slots[rows])

    def distance(self, points: Tensor) -> Tensor:
        """Signed distances float32[B, P]."""
        values, alone = self._begin(points)
        start = 0
        for rows, smooth in self._steps:
            pairs, start = slice(start, start + rows), start + rows
            blend, cut = (self._blend[pairs], self._cut[pairs]) if smooth else (None, None)
            values[:rows] = _join(values[:rows], alone[pairs], blend, cut)
        return values.index_select(0, self._back)

    def nearest(self, points: Tensor) -> Tensor:
        """The slots int64[B, P] of the solids whose surface is nearest, of those that are not cut away."""
        values, alone = self._begin(points)
        owner = torch.zeros_like(values)
        start = 0
        for rows, smooth in self._steps:
            pairs, start = slice(start, start + rows), start + rows
            blend, cut = (self._blend[pairs], self._cut[pairs]) if smooth else (None, None)
            closer = (alone[pairs] < values[:rows]).float()
            if cut is not None:
                closer *= (~cut).float()
            owner[:rows] += closer * (self._slot[pairs, None] - owner[:rows])
            values[:rows] = _join(values[:rows], alone[pairs], blend, cut)
        return owner.index_select(0, self._back).long()

    def slope(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The field's gradients float32[3, B, P], from four points around each, and the mean of those [B, P]."""
        tips = points.new_tensor(_TETRAHEDRON).T
        around = (points[..., None] + tips[:, None, None] * _TIP).flatten(-2)
        values = self.distance(around).unflatten(-1, (-1, 4))
        return (values @ tips.T).movedim(-1, 0).div_(4 * _TIP), values.mean(-1)

    def _begin(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Distances [B, P] from nothing, and from each row's solids alone [pairs, P], kind by kind."""
        x, y, z = (axis.contiguous() for axis in points)
        alone = points.new_empty(len(self._slot), points.shape[-1])
        piece = self._fields.piece(points.shape[-1])
        for members, *parts in self._parts:
            for which, rows, index in zip(*(part.split(piece) for part in parts), strict=True):
                there = (axis.index_select(0, rows) for axis in (x, y, z))
                alone.index_copy_(0, which, members.distance(index, *there))
        return torch.full_like(x, torch.inf), alone


def _join(value: Tensor, here: Tensor, blend: Tensor | None, cut: Tensor | None) -> Tensor:
    """What a step makes of `value` with a solid at distance `here`; without `cut`, a sharp union.

    The smooth minimum is Quilez's quadratic: min(a, b) − max(k − |a − b|, 0)² / 4k.
    """
    if blend is None or cut is None:
        return torch.minimum(value, here)
    side = 1 - 2 * cut.to(value.dtype)
    value = value * side
    bulge = (blend - (value - here).abs()).clamp_min_(0).square_().div_(4 * blend.clamp_min(1e-12))
    return torch.minimum(value, here).sub_(bulge).mul_(side)


def _corner(size: int, spacing: float) -> float:
    """How far the corner samples of a block of `size`³ are from its middle."""
    return (size - 1) / 2 * spacing * 3**0.5
