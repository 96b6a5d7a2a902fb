"""An object as a program of solids.

Works on: solids placed in an object's frame. Knows nothing about what a chair is, or how distances are computed.

A program adds its solids in order: each is united with what is there so far, or cut from it, sharply or with a smooth
blend.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import mcubes
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from jobs.training.fields import Fields
from jobs.training.solids import CHORDS, CORNERS, Bent, Ellipsoid, Extrusion, Form, Prism, Revolution, Tube

_AXES = np.eye(3)


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
