"""The solids that objects are made of: their signed distances, as batched formulas.

Works on: points in a solid's own coordinates and tensors of its numbers, on any torch device. Knows nothing about
where a solid stands, about objects or about pictures.

Every `distance` is negative inside, positive outside, exactly 0 on the surface, and 1-Lipschitz: it never grows faster
than the way gone, so it never exceeds the true distance. Where a formula f is steeper, it is divided by a bound
of |∇f| that `parameters` works out. The maximum of two such functions is one of the intersection, the minimum one of
the union.
Formulas of the box, the capped cone and the polygon: Quilez, "Distance functions" (iquilezles.org/articles).
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Outline = NDArray[np.float64]  # [corners, 2]

CHORDS = 8  # that a tube's curve is drawn with
CORNERS = 16  # of an outline, at most
_SLIM = 1e-6  # a section that tapers to nothing stays this wide, which keeps divisions finite


@dataclass(frozen=True)
class Prism:
    """A straight solid along y with full `size` (x, y, z), its section the superellipse of `exponent` (∞: a box).

    `taper` (x, z) in [0, 1] shrinks the section linearly by that share at the top; `shear` (x, z) moves the top.
    `round` is the radius of rounded edges, at most half the smallest size.
    """

    size: tuple[float, float, float]
    taper: tuple[float, float] = (0.0, 0.0)
    shear: tuple[float, float] = (0.0, 0.0)
    exponent: float = np.inf
    round: float = 0.0

    @property
    def key(self) -> tuple[Any, ...]:
        if self.exponent == 2 and self.size[0] == self.size[2] and self.taper[0] == self.taper[1]:
            return (Prism, "cone" if self.shear == (0, 0) else 2.0)
        return (Prism, self.exponent)

    def scaled(self, scale: float) -> "Prism":
        shear = (self.shear[0] * scale, self.shear[1] * scale)
        return replace(self, size=_times(self.size, scale), shear=shear, round=self.round * scale)

    def parameters(self) -> list[float]:
        """Half widths at y = 0 and what they lose a unit of y (x, z), half height, shear a unit of y, round, 1/|∇f|.

        Faces and caps are measured along their normals; the section as (g − 1) · the smaller half width, with g the
        superellipse's norm, whose slope along y is at most 1.5 times the faces' for g < 2 (at most once, where both
        taper alike).
        """
        width, height, depth = np.asarray(self.size) / 2
        lost_x, lost_z = width * self.taper[0] / (2 * height), depth * self.taper[1] / (2 * height)
        lean_x, lean_z = np.asarray(self.shear) / (2 * height)
        steep_x, steep_z = lost_x + abs(lean_x), lost_z + abs(lean_z)
        normal_x, normal_z = 1 / np.hypot(1, steep_x), 1 / np.hypot(1, steep_z)
        if np.isinf(self.exponent):
            to_cap = steep_x * normal_x, steep_z * normal_z  # cosines of the angles between normals
            slack = 1 + max(to_cap[0] + to_cap[0] * to_cap[1], to_cap[0] + to_cap[1], to_cap[1] + to_cap[0] * to_cap[1])
            normal = 1.0
        else:
            alike = self.taper[0] == self.taper[1]
            steep = max(lost_x, lost_z) * (1 if alike else 1.5) + np.hypot(lean_x, lean_z)
            normal = 1 / np.hypot(1, steep)
            slack = 1 + max(steep * normal, steep_x * normal_x, steep_z * normal_z)
        return [
            width * (1 - self.taper[0] / 2), lost_x, depth * (1 - self.taper[1] / 2), lost_z, height,
            lean_x, lean_z, normal_x, normal_z, normal, self._round, slack**-0.5,
        ]  # fmt: skip

    @property
    def _round(self) -> float:
        return min(self.round, min(self.size) / 2)

    @staticmethod
    def distance(x: Tensor, y: Tensor, z: Tensor, numbers: Tensor, key: tuple[Any, ...]) -> Tensor:
        half_x, lost_x, half_z, lost_z, height, lean_x, lean_z, normal_x, normal_z, normal, radius, share = (
            numbers[:, n : n + 1] for n in range(12)
        )
        exponent = key[1]
        cap = y.abs().sub_(height)
        if exponent == "cone":
            side = (x * x).addcmul_(z, z).sqrt_().add_(y * lost_x).sub_(half_x).mul_(normal)
            return _meet([side, cap], radius, share)
        across, along = (x - y * lean_x).abs_(), (z - y * lean_z).abs_()
        face_x = (y * lost_x).add_(across).sub_(half_x).mul_(normal_x)
        face_z = (y * lost_z).add_(along).sub_(half_z).mul_(normal_z)
        if np.isinf(exponent):
            return _meet([face_x, face_z, cap], radius, share)
        within = torch.minimum(torch.maximum(y, -height), height)
        wide_x = (half_x - within * lost_x).clamp_min_(_SLIM)
        wide_z = (half_z - within * lost_z).clamp_min_(_SLIM)
        section = _norm([across.div_(wide_x), along.div_(wide_z)], exponent).clamp_max_(2)
        section = section.sub_(1).mul_(torch.minimum(wide_x, wide_z)).mul_(normal)
        side = torch.maximum(torch.maximum(face_x, face_z), section)
        return _meet([side, cap], radius, share)

    def support(self, direction: NDArray) -> float:
        """How far the solid reaches along a unit `direction` [3]; with rounded and tapered edges up to a hair more."""
        width, height, depth = np.asarray(self.size) / 2
        inset = self._round
        dual = _dual(self.exponent)
        ends = []
        for end, left_x, left_z in ((-1, 1.0, 1.0), (1, 1 - self.taper[0], 1 - self.taper[1])):
            reach = np.maximum([width * left_x - inset, depth * left_z - inset], 0) * np.abs(direction[[0, 2]])
            moved = end * np.asarray(self.shear) / 2 @ direction[[0, 2]]
            ends.append(np.linalg.norm(reach, dual) + moved + end * (height - inset) * direction[1])
        return float(max(ends)) + inset


@dataclass(frozen=True)
class Bent:
    """A box of full `size` whose x axis is a circle of radius 1/|`bend`|: its ±x ends come towards −z (+z if negative).

    The height y is straight. `taper` (x, z) tilts the ends and faces towards the top, `lean` moves the top along the
    box's own z, outward from the circle.
    """

    size: tuple[float, float, float]
    bend: float
    taper: tuple[float, float] = (0.0, 0.0)
    lean: float = 0.0
    round: float = 0.0
    key: ClassVar = ("bent",)

    def scaled(self, scale: float) -> "Bent":
        return replace(
            self, size=_times(self.size, scale), bend=self.bend / scale, lean=self.lean * scale,
            round=self.round * scale,
        )  # fmt: skip

    def parameters(self) -> list[float]:
        """Half thickness at y = 0, what ends and faces lose a unit of y, half height, lean a unit of y, the circle's
        radius, its side, cosine and sine of half the angle, normals, round, 1/|∇f|.

        The ends are half planes through the circle's axis: their normals and the faces' may be parallel.
        """
        width, height, depth = np.asarray(self.size) / 2
        lost_x, lost_z = width * self.taper[0] / (2 * height), depth * self.taper[1] / (2 * height)
        lean = self.lean / (2 * height)
        radius, half = 1 / abs(self.bend), width * abs(self.bend)
        steep = lost_z + abs(lean)
        normal_x, normal_z = 1 / np.hypot(1, lost_x), 1 / np.hypot(1, steep)
        slack = 2 + lost_x * normal_x + steep * normal_z
        return [
            depth * (1 - self.taper[1] / 2), lost_x, lost_z, height, lean, radius, np.sign(self.bend),
            np.cos(half), np.sin(half), normal_x, normal_z, min(self.round, min(self.size) / 2), slack**-0.5,
        ]  # fmt: skip

    @staticmethod
    def distance(x: Tensor, y: Tensor, z: Tensor, numbers: Tensor, key: tuple[Any, ...]) -> Tensor:
        half_z, lost_x, lost_z, height, lean, radius, side, cosine, sine, normal_x, normal_z, edge, share = (
            numbers[:, n : n + 1] for n in range(13)
        )
        outward = (z * side).add_(radius)
        end = (x.abs() * cosine).sub_(outward * sine).add_((y + height) * lost_x).mul_(normal_x)
        off = (x * x).addcmul_(outward, outward).sqrt_().sub_(radius).sub_(y * (lean * side))
        face = off.abs_().add_(y * lost_z).sub_(half_z).mul_(normal_z)
        return _meet([end, face, y.abs().sub_(height)], edge, share)

    def support(self, direction: NDArray) -> float:
        width, height, depth = np.asarray(self.size) / 2
        radius = 1 / self.bend
        angles = np.linspace(-1, 1, 65) * width / abs(radius)
        reach = -np.inf
        for end in (-1, 1):
            for face in (-1, 1):
                out = abs(radius) + np.sign(radius) * end * self.lean / 2 + face * depth
                z = (out * np.cos(angles) - abs(radius)) * np.sign(radius)
                along = out * np.sin(angles) * direction[0] + z * direction[2] + end * height * direction[1]
                reach = max(reach, along.max())
        return float(reach)


@dataclass(frozen=True)
class Ellipsoid:
    """The superellipsoid of `exponent` (2: an ellipsoid) and full `size`."""

    size: tuple[float, float, float]
    exponent: float = 2.0

    @property
    def key(self) -> tuple[Any, ...]:
        return (Ellipsoid, self.exponent)

    def scaled(self, scale: float) -> "Ellipsoid":
        return replace(self, size=_times(self.size, scale))

    def parameters(self) -> list[float]:
        return [*(np.asarray(self.size) / 2)]

    @staticmethod
    def distance(x: Tensor, y: Tensor, z: Tensor, numbers: Tensor, key: tuple[Any, ...]) -> Tensor:
        """(‖p/r‖ − 1) · the smallest radius, or the distance from the enclosing box where that is more."""
        axes = [x.abs(), y.abs(), z.abs()]
        radii = [numbers[:, n : n + 1] for n in range(3)]
        box = torch.maximum(torch.maximum(axes[0] - radii[0], axes[1] - radii[1]), axes[2] - radii[2])
        norm = _norm([axis.div_(radius) for axis, radius in zip(axes, radii, strict=True)], key[1])
        return torch.maximum(norm.sub_(1).mul_(numbers[:, :3].amin(1, keepdim=True)), box)

    def support(self, direction: NDArray) -> float:
        return float(np.linalg.norm(np.asarray(self.size) / 2 * direction, _dual(self.exponent)))


@dataclass(frozen=True)
class Tube:
    """Round beads along CHORDS + 1 `knots` [x, y, z, radius] and everything between two that follow each other."""

    knots: tuple[tuple[float, float, float, float], ...]
    key: ClassVar = ("tube",)

    def scaled(self, scale: float) -> "Tube":
        return Tube(tuple((x * scale, y * scale, z * scale, radius * scale) for x, y, z, radius in self.knots))

    def parameters(self) -> list[float]:
        """For each chord its start, its unit direction, length, start radius, radius a unit, and that slope's tangent.

        A chord whose one bead swallows the other has no cone between them: it is shortened to the larger bead.
        """
        knots, numbers = np.asarray(self.knots), []
        for start, end in pairwise(knots):
            length = float(np.linalg.norm(end[:3] - start[:3]))
            grow = end[3] - start[3]
            if abs(grow) >= length * 0.999:
                start, length, grow = (end if grow > 0 else start), 0.0, 0.0
            axis = (end - start)[:3] / length if length else np.zeros(3)
            slope = grow / length if length else 0.0
            numbers += [*start[:3], *axis, length, start[3], slope, slope / np.sqrt(1 - slope**2)]
        return numbers

    @staticmethod
    def distance(x: Tensor, y: Tensor, z: Tensor, numbers: Tensor, key: tuple[Any, ...]) -> Tensor:
        """Of each chord's beads the nearest, which lies where the cone's normal through the point meets the axis."""
        nearest: Tensor | None = None
        for chord in range(CHORDS):
            start_x, start_y, start_z, axis_x, axis_y, axis_z, length, radius, slope, tangent = (
                numbers[:, n : n + 1] for n in range(10 * chord, 10 * chord + 10)
            )
            x_, y_, z_ = x - start_x, y - start_y, z - start_z
            along = (x_ * axis_x).add_(y_ * axis_y).add_(z_ * axis_z)
            off = (x_.mul_(x_)).addcmul_(y_, y_).addcmul_(z_, z_).sub_(along * along).clamp_min_(0)
            bead = torch.minimum((off.sqrt() * tangent).add_(along).clamp_min_(0), length)
            along.sub_(bead)
            reach = off.addcmul_(along, along).sqrt_().sub_(bead.mul_(slope)).sub_(radius)
            nearest = reach if nearest is None else torch.minimum(nearest, reach)
        assert nearest is not None
        return nearest

    def support(self, direction: NDArray) -> float:
        knots = np.asarray(self.knots)
        return float((knots[:, :3] @ direction + knots[:, 3]).max())


@dataclass(frozen=True)
class Extrusion:
    """The polygon `outline` [(x, y), …] through a `thickness` along z; `round` is the radius of its caps' edges."""

    outline: tuple[tuple[float, float], ...]
    thickness: float
    round: float = 0.0

    @property
    def key(self) -> tuple[Any, ...]:
        return (Extrusion, len(self.outline))

    def scaled(self, scale: float) -> "Extrusion":
        outline = tuple((x * scale, y * scale) for x, y in self.outline)
        return Extrusion(outline, self.thickness * scale, self.round * scale)

    def parameters(self) -> list[float]:
        corners = np.array(self.outline)
        edges = np.concatenate([corners, np.roll(corners, -1, axis=0)], axis=1)
        return [self.thickness / 2, min(self.round, self.thickness / 2), *edges.ravel()]

    @staticmethod
    def distance(x: Tensor, y: Tensor, z: Tensor, numbers: Tensor, key: tuple[Any, ...]) -> Tensor:
        half, radius = numbers[:, 0:1], numbers[:, 1:2]
        side = _polygon(x, y, numbers[:, 2:])
        return _meet([side, z.abs().sub_(half)], radius, torch.ones_like(half))

    def support(self, direction: NDArray) -> float:
        return float((np.asarray(self.outline) @ direction[:2]).max() + abs(direction[2]) * self.thickness / 2)


@dataclass(frozen=True)
class Revolution:
    """The polygon `profile` [(radius, y), …], radius ≥ 0, turned about y."""

    profile: tuple[tuple[float, float], ...]

    @property
    def key(self) -> tuple[Any, ...]:
        return (Revolution, len(self.parameters()))

    def scaled(self, scale: float) -> "Revolution":
        return Revolution(tuple((radius * scale, y * scale) for radius, y in self.profile))

    def parameters(self) -> list[float]:
        """The edges, but for those on the axis: they are inside."""
        corners = np.asarray(self.profile)
        ends = np.roll(corners, -1, axis=0)
        edges = np.concatenate([corners, ends], axis=1)
        return [*edges[(corners[:, 0] > 0) | (ends[:, 0] > 0)].ravel()]

    @staticmethod
    def distance(x: Tensor, y: Tensor, z: Tensor, numbers: Tensor, key: tuple[Any, ...]) -> Tensor:
        return _polygon((x * x).addcmul_(z, z).sqrt_(), y, numbers)

    def support(self, direction: NDArray) -> float:
        corners = np.asarray(self.profile)
        return float((corners[:, 0] * np.hypot(direction[0], direction[2]) + corners[:, 1] * direction[1]).max())


Form = Prism | Bent | Ellipsoid | Tube | Extrusion | Revolution


def _meet(sides: list[Tensor], radius: Tensor, share: Tensor) -> Tensor:
    """The intersection of half spaces at distances `sides`, with its edges rounded by `radius`; changes the sides."""
    inside, outside = sides[0].add_(radius), None
    for side in sides[1:]:
        inside = torch.maximum(inside, side.add_(radius))
    for side in sides:
        square = side.clamp_min_(0).square_()
        outside = square if outside is None else outside.add_(square)
    assert outside is not None
    return outside.sqrt_().add_(inside.clamp_max_(0)).sub_(radius).mul_(share)


def _norm(axes: list[Tensor], exponent: float) -> Tensor:
    """(Σ aᵢ^exponent)^(1/exponent) of numbers aᵢ ≥ 0; changes them."""
    if exponent == 2:
        return torch.stack([axis.square_() for axis in axes]).sum(0).sqrt_()
    if exponent == 4:
        return torch.stack([axis.square_().square_() for axis in axes]).sum(0).sqrt_().sqrt_()
    largest = torch.stack(axes).amax(0).clamp_min_(_SLIM)  # keeps powers in range
    total = torch.stack([(axis / largest).pow_(exponent) for axis in axes]).sum(0)
    return total.pow_(1 / exponent).mul_(largest)


def _polygon(x: Tensor, y: Tensor, edges: Tensor) -> Tensor:
    """Signed distance from a closed outline, `edges` [n, 4·E] as (x, y, end x, end y): its sign by crossings along +x.

    By sums and products: torch's comparisons take five times as long.
    """
    nearest: Tensor | None = None
    outside = torch.ones_like(x)
    places = edges.unflatten(1, (-1, 4))
    along = places[..., 2:] - places[..., :2]
    per_length = along / along.square().sum(-1, keepdim=True).clamp_min(1e-20)
    rising = along * along[..., 1:].sign()
    for edge in range(places.shape[1]):
        start_x, start_y, _, end_y = (places[:, edge, n : n + 1] for n in range(4))
        x_, y_ = x - start_x, y - start_y
        # The edge is crossed where the point lies between its ends' heights and on its left.
        between = _above(y - end_y).sub_(_above(y_.clone())).square_()
        left = _above((y_ * rising[:, edge, :1]).sub_(x_ * rising[:, edge, 1:]))
        outside.mul_(between.mul_(left).mul_(-2).add_(1))
        share = (x_ * per_length[:, edge, :1]).add_(y_ * per_length[:, edge, 1:]).clamp_(0, 1)
        x_.sub_(share * along[:, edge, :1]).square_()
        reach = x_.add_(y_.sub_(share.mul_(along[:, edge, 1:])).square_())
        nearest = reach if nearest is None else torch.minimum(nearest, reach)
    assert nearest is not None
    return nearest.sqrt_().mul_(outside)


def _above(height: Tensor) -> Tensor:
    """1 where a number is above 0 and else 0; changes it."""
    return height.mul_(1e30).clamp_(0, 1)


def _dual(exponent: float) -> float:
    return 1.0 if np.isinf(exponent) else exponent / (exponent - 1)


def _times(size: tuple[float, float, float], scale: float) -> tuple[float, float, float]:
    return size[0] * scale, size[1] * scale, size[2] * scale
