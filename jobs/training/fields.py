"""Objects as programs of solids, and many of them as one batched field of signed distance.

Works on: solids placed in an object's frame, and points as tensors on any torch device. Knows nothing about what a
chair is, about pictures or about networks.

A program adds its solids in order: each is united with what is there so far, or cut from it, sharply or with a smooth
blend. The field is negative inside and 1-Lipschitz: |d(a) − d(b)| ≤ |a − b|. So |d| never exceeds the true distance,
and within a ball nothing further off than its nearest solid by a diameter can matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import mcubes
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from jobs.training.solids import CHORDS, CORNERS, Bent, Ellipsoid, Extrusion, Form, Prism, Revolution, Tube

_AXES = np.eye(3)
_CHUNK = 1 << 16  # numbers a tensor on a CPU: a few of them stay in its cache
_CHUNK_DEVICE = 1 << 24
_FAR = 1e9
_TIP = 6e-4  # object units: an eighth of a pixel; the field's rounding is some 1e-7
_TETRAHEDRON = ((1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Solid:
    """One step of a program. `frame` [3, 3] has the solid's axes as rows, `center` [3] is its origin in the object.

    `color` is RGB in [0, 1]; `blend` the radius of the smooth union (or cut) with what is there; `cut` subtracts.
    """

    form: Form
    frame: NDArray[np.float64]
    center: NDArray[np.float64]
    color: tuple[float, float, float]
    blend: float = 0.0
    cut: bool = False

    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The lowest and highest corner of the bounding box of the solid alone."""
        reach = [[self.form.support(self.frame @ (sign * axis)) for axis in _AXES] for sign in (-1, 1)]
        return self.center - reach[0], self.center + reach[1]


@dataclass
class Shape:
    """A program being put together, +Y up and the front towards −Z; `color` paints the solids that are added next.

    All sizes are full sizes, in any one unit. Every solid takes `blend`, the radius within which it is smoothly united
    with what is there so far, and `cut`, which subtracts it from that. `turn` is a rotation matrix [3, 3].
    Raises ValueError for sizes that make no solid.
    """

    solids: list[Solid] = field(default_factory=list)
    color: tuple[float, float, float] = (0.8, 0.8, 0.8)

    def box(
        self,
        center: ArrayLike,
        size: ArrayLike,
        *,
        taper: tuple[float, float] = (0.0, 0.0),
        exponent: float = np.inf,
        turn: NDArray | None = None,
        shear: tuple[float, float] | None = None,
        round: float = 0.0,
        bend: float = 0.0,
        blend: float = 0.0,
        cut: bool = False,
    ) -> None:
        """A box of `size` (x, y, z), or with a finite `exponent` ≥ 2 a prism along y whose section is a superellipse.

        `taper` (x, z) shrinks the top by that share, `shear` (x, z) moves it against the bottom. `round` is the radius
        of rounded edges, inside `size`. `bend` is 1/radius of the circle that the box's x axis follows, its ±x ends
        towards its −z; a bent box has exponent ∞ and is not sheared along x.
        """
        width, height, depth = _sizes(size)
        _check(min(taper) >= 0 and max(taper) <= 1, f"taper is {taper}; both shares lie from 0 to 1")
        _check(round >= 0, f"round is {round}; a radius is not negative")
        lean = shear or (0.0, 0.0)
        form: Form
        if bend:
            _check(np.isinf(exponent) and not lean[0], "a bent box has exponent ∞ and is not sheared along x")
            _check(width * abs(bend) <= 2 * np.pi, f"bend is {bend}; a box {width} wide would meet its own end")
            _check(depth * abs(bend) < 2, f"bend is {bend}; a box {depth} deep would reach past its circle's center")
            form = Bent((width, height, depth), float(bend), _pair(taper), float(lean[1]), float(round))
        else:
            _check(exponent >= 2, f"exponent is {exponent}; the least is 2")
            form = Prism((width, height, depth), _pair(taper), _pair(lean), float(exponent), float(round))
        self._add(form, center, turn, blend, cut)

    def ellipsoid(
        self,
        center: ArrayLike,
        size: ArrayLike,
        *,
        exponent: float = 2.0,
        turn: NDArray | None = None,
        blend: float = 0.0,
        cut: bool = False,
    ) -> None:
        """An ellipsoid (exponent 2) or superellipsoid."""
        _check(2 <= exponent < np.inf, f"exponent is {exponent}; an ellipsoid's is finite and at least 2")
        self._add(Ellipsoid(_sizes(size), float(exponent)), center, turn, blend, cut)

    def rod(
        self,
        start: ArrayLike,
        end: ArrayLike,
        thickness: float,
        *,
        end_thickness: float | None = None,
        exponent: float = 2.0,
        blend: float = 0.0,
        cut: bool = False,
    ) -> None:
        """A straight rod between two points, round or (exponent ∞) square, of the given thickness(es)."""
        bottom, top = np.asarray(start, float), np.asarray(end, float)
        tip = thickness if end_thickness is None else end_thickness
        if tip > thickness:  # a taper shrinks from the bottom to the top
            bottom, top, thickness, tip = top, bottom, tip, thickness
        axis = top - bottom
        length = float(np.linalg.norm(axis))
        _check(length > 0 and tip >= 0, f"a rod from {bottom} to {top}, {thickness} thick, has no volume")
        up = axis / length
        side = np.cross(up, [0.0, 0.0, 1.0]) if abs(up[2]) < 0.9 else np.cross(up, [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        turn = np.stack([side, up, np.cross(side, up)], axis=1)
        shrink = 1 - tip / thickness
        size = (thickness, length, thickness)
        self.box(
            (bottom + top) / 2, size, taper=(shrink, shrink), exponent=exponent, turn=turn, blend=blend, cut=cut
        )  # fmt: skip

    def tube(
        self,
        start: ArrayLike,
        control: ArrayLike,
        end: ArrayLike,
        thickness: float,
        *,
        end_thickness: float | None = None,
        blend: float = 0.0,
        cut: bool = False,
    ) -> None:
        """A round tube with round ends along a quadratic Bézier curve, drawn as eight chords."""
        tip = thickness if end_thickness is None else end_thickness
        _check(thickness > 0 and tip >= 0, f"a tube {thickness} thick has no volume")
        a, b, c = (np.asarray(point, float) for point in (start, control, end))
        center = (a + c) / 2
        t = np.linspace(0, 1, CHORDS + 1)[:, None]
        curve = (1 - t) ** 2 * (a - center) + 2 * t * (1 - t) * (b - center) + t**2 * (c - center)
        radii = (thickness + t * (tip - thickness)) / 2
        knots = tuple(map(tuple, np.concatenate([curve, radii], axis=1).tolist()))
        self._add(Tube(knots), center, None, blend, cut)

    def extrude(
        self,
        outline: Sequence[tuple[float, float]],
        center: ArrayLike,
        thickness: float,
        *,
        turn: NDArray | None = None,
        round: float = 0.0,
        blend: float = 0.0,
        cut: bool = False,
    ) -> None:
        """A simple polygon `outline` [(x, y), …] of 3 to 16 corners through `thickness` along z.

        `round` is the radius of its caps' edges.
        """
        _check(thickness > 0 and round >= 0, f"an extrusion {thickness} thick has no volume")
        self._add(Extrusion(_corners(outline), float(thickness), float(round)), center, turn, blend, cut)

    def revolve(
        self,
        profile: Sequence[tuple[float, float]],
        center: ArrayLike,
        *,
        turn: NDArray | None = None,
        blend: float = 0.0,
        cut: bool = False,
    ) -> None:
        """A simple polygon `profile` [(radius, y), …] of 3 to 16 corners, radius ≥ 0, turned about y."""
        corners = _corners(profile)
        _check(min(radius for radius, _ in corners) >= 0, "a profile's radius is not negative")
        self._add(Revolution(corners), center, turn, blend, cut)

    def mirrored(self, axis: int = 0) -> "Shape":
        """Puts after every step its mirror image through the plane where `axis` is 0, but for those centred on it."""
        flip = np.ones(3)
        flip[axis] = -1
        both = []
        for solid in self.solids:
            both.append(solid)
            if abs(solid.center[axis]) > 1e-6:
                both.append(replace(solid, frame=solid.frame * flip, center=solid.center * flip))
        self.solids[:] = both
        return self

    def _add(self, form: Form, center: ArrayLike, turn: NDArray | None, blend: float, cut: bool) -> None:
        _check(blend >= 0, f"blend is {blend}; a radius is not negative")
        frame = np.eye(3) if turn is None else np.asarray(turn, float).T
        self.solids.append(Solid(form, frame, np.asarray(center, float), self.color, float(blend), cut))

    def normalised(self) -> "Shape":
        """The same object in the project's frame: centred, with a bounding-box diagonal of 1.

        Raises ValueError where nothing is left of the object.
        """
        low, high = self._extent()
        shape = self._framed(low, high)
        if any(solid.cut or solid.blend for solid in self.solids):
            return shape._framed(*shape._sampled_extent())
        return shape

    def mesh(self, resolution: int = 128) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Watertight triangles of a normalised shape by marching cubes over the `resolution`³ lattice.

        Vertices float[V, 3], faces int[F, 3], counter-clockwise seen from outside.
        """
        values = Fields([self]).volume(torch.tensor([0]), resolution)[0].numpy()
        vertices, faces = mcubes.marching_cubes(np.pad(-values, 1, constant_values=-1.0), 0.0)
        return (vertices - 0.5) / resolution - 0.5, faces.astype(np.int64)

    def _extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The box around all solids that are not cut away, each by itself."""
        extents = [solid.extent() for solid in self.solids if not solid.cut]
        _check(bool(extents), "an object needs a solid that is not cut away")
        return np.min([low for low, _ in extents], axis=0), np.max([high for _, high in extents], axis=0)

    def _sampled_extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The box of a normalised shape with cuts or blends: exact for what they leave alone, sampled for the rest.

        Each sample inside is pushed outward by its distance from the surface, which reaches flat faces exactly.
        """
        side = 64
        values = Fields([self]).volume(torch.tensor([0]), side)[0].double().numpy()
        inside = np.argwhere(values < 0)
        depth = np.minimum(-values[tuple(inside.T)][:, None], 1 / side)  # deeper ones may miss a cut further off
        positions = (inside + 0.5) / side - 0.5
        lows, highs = [positions - depth], [positions + depth]
        cuts = [(place, *solid.extent()) for place, solid in enumerate(self.solids) if solid.cut]
        for place, solid in enumerate(self.solids):
            low, high = solid.extent()
            cut_later = any(
                later > place and (cut_low < high).all() and (cut_high > low).all() for later, cut_low, cut_high in cuts
            )
            if not solid.cut and not cut_later:
                lows.append(low[None])
                highs.append(high[None])
        low, high = np.concatenate(lows), np.concatenate(highs)
        _check(bool(len(low)), "nothing is left of the object after its cuts")
        return low.min(axis=0), high.max(axis=0)

    def _framed(self, low: NDArray, high: NDArray) -> "Shape":
        scale, middle = 1 / float(np.linalg.norm(high - low)), (low + high) / 2
        return Shape(
            [
                replace(
                    solid, form=solid.form.scaled(scale), center=(solid.center - middle) * scale,
                    blend=solid.blend * scale,
                )
                for solid in self.solids
            ],
            self.color,
        )  # fmt: skip


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

    def __init__(self, shapes: Sequence[Shape], device: str | torch.device = "cpu") -> None:
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


def _sizes(size: ArrayLike) -> tuple[float, float, float]:
    x, y, z = (float(number) for number in np.asarray(size, float))
    _check(min(x, y, z) > 0, f"size is {(x, y, z)}; every size is above 0")
    return x, y, z


def _pair(numbers: tuple[float, float]) -> tuple[float, float]:
    return float(numbers[0]), float(numbers[1])


def _corners(outline: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    _check(3 <= len(outline) <= CORNERS, f"an outline has 3 to {CORNERS} corners, not {len(outline)}")
    return tuple(_pair(corner) for corner in outline)


def _check(right: bool, sentence: str) -> None:
    if not right:
        raise ValueError(sentence)
