"""Pictures of many objects at once, by sphere tracing their fields.

Works on: fields of signed distance, cameras and looks (paints, patterns, lights), on the fields' device. Knows nothing
about files, networks or categories.

A ray goes on by the field's distance until it meets the surface (Hart, "Sphere tracing", 1996): then its pixel is
covered. Where it passes within half a pixel, that distance says how much of the pixel is covered, and it goes on to
what is behind. Rays go in groups, which share the list of solids that matter in a ball around the next stretch of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from jobs.training.fields import Fields
from jobs.training.looks import Looks
from workers.render import Camera

_TILE = 8
_CONE_STEPS = 14
_STRETCH = 0.12  # object units that a group of rays goes with one list of solids
_STEPS = 3  # of a stretch, before the rays that are left are grouped anew
_ARRIVED = 1e3  # further than any object: where rays are put that need not go on
_STRETCHES = 60  # at most, which a ray along a surface may need
_MET = 0.05  # pixels before the surface at which a ray has arrived
_LEAST = 0.15  # pixels of a step, so that no ray stalls beside a surface
_GROUP = 64  # rays or points with one list of solids


def random_camera(random: Generator) -> Camera:
    """Any azimuth, mostly looking slightly down, a field of view near 25°, the object in the picture as a whole."""
    low, high = (8, 38) if random.random() < 0.75 else (-5, 50)
    field_of_view = random.uniform(20, 30)
    fitting = 0.56 / np.tan(np.radians(field_of_view / 2))
    return Camera(
        azimuth=random.uniform(0, 360),
        elevation=random.uniform(low, high),
        distance=fitting * random.uniform(1.0, 1.2),
        field_of_view=field_of_view,
    )


def trace(fields: Fields, rows: Tensor, cameras: Sequence[Camera], looks: Looks, size: int) -> Tensor:
    """RGBA pictures uint8[V, size, size, 4], straight alpha, of the shapes `rows` int64[V] as `cameras` see them.

    `looks` has an entry a picture. `size` is a multiple of 8.
    """
    if size % _TILE:
        raise ValueError(f"size is {size}; choose a multiple of {_TILE}")
    placed = _Cameras(cameras, size, fields.device)
    view, pixel, toward, start = _begin(fields, rows, placed)
    front, back = _march(fields, rows, placed, view, toward, start)
    return _picture(fields, rows, placed, looks, view, pixel, toward, [back, front])


class _Cameras:
    """`origin` [V, 3], `axes` [V, 3, 3] (right, up, forward) and `pixel` [V], a pixel's size at depth 1."""

    def __init__(self, cameras: Sequence[Camera], size: int, device: torch.device) -> None:
        placed = [camera.axes() for camera in cameras]
        self.size = size
        self.origin = torch.tensor(np.stack([origin for origin, _ in placed]), dtype=torch.float32, device=device)
        self.axes = torch.tensor(np.stack([axes for _, axes in placed]), dtype=torch.float32, device=device)
        tangents = [2 * np.tan(np.radians(camera.field_of_view / 2)) / size for camera in cameras]
        self.pixel = torch.tensor(tangents, dtype=torch.float32, device=device)

    def directions(self, view: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Unit vectors float32[N, P, 3] through picture positions `x`, `y` float32[N, P] (pixels)."""
        pixel, axes = self.pixel[view][:, None], self.axes[view]
        right, up = (x - self.size / 2) * pixel, (self.size / 2 - y) * pixel
        toward = torch.stack([right, up, torch.ones_like(right)], dim=-1) @ axes
        return toward / toward.norm(dim=-1, keepdim=True)


@dataclass
class _Layer:
    """What rays [K] come to: how far along it is, and how much of the pixel it covers."""

    along: Tensor
    cover: Tensor


def _begin(fields: Fields, rows: Tensor, cameras: _Cameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The rays that may meet something, a tile after the other: view int64[K], pixel int64[K] in the picture, direction
    float32[K, 3] and how far along [K] they start.

    A cone around each tile goes until it touches something or has left the sphere that holds every object.
    """
    side = cameras.size // _TILE
    every = torch.arange(len(rows), device=fields.device)
    middles = (torch.arange(side, device=fields.device) + 0.5) * _TILE
    y, x = (axis.flatten().expand(len(rows), -1) for axis in torch.meshgrid(middles, middles, indexing="ij"))
    toward = cameras.directions(every, x, y)
    slope = (cameras.pixel * (_TILE * 0.5**0.5 + 0.5))[:, None]  # the cone's radius a unit of the way
    distance = cameras.origin.norm(dim=1)[:, None]
    along = (distance - 0.5).expand(-1, side * side).contiguous()
    for _ in range(_CONE_STEPS):
        free = fields.distance(rows, cameras.origin[:, None] + along[..., None] * toward) - slope * along
        along += free.clamp_min_(0) / (1 + slope)
    view, tile = (along < distance + 0.5).nonzero(as_tuple=True)
    inner = torch.arange(_TILE, device=fields.device)
    row = (tile // side * _TILE)[:, None, None] + inner[:, None]
    column = (tile % side * _TILE)[:, None, None] + inner
    row, column = (place.flatten(1) for place in torch.broadcast_tensors(row, column))
    directions = cameras.directions(view, column + 0.5, row + 0.5).flatten(0, 1)
    start = along[view, tile].repeat_interleave(_TILE**2)
    return view.repeat_interleave(_TILE**2), (row * cameras.size + column).flatten(), directions, start


def _march(
    fields: Fields, rows: Tensor, cameras: _Cameras, view: Tensor, toward: Tensor, start: Tensor
) -> tuple[_Layer, _Layer]:
    """Two layers for every ray: one that it passes and that covers a part of the pixel, and the last it comes to."""
    along, where, nearest = start.clone(), start.clone(), torch.full_like(start, _ARRIVED)
    front = _Layer(torch.zeros_like(start), torch.zeros_like(start))
    end = (cameras.origin.norm(dim=1) + 0.5)[view]
    left = torch.arange(len(view), device=fields.device)  # the rays that are under way
    for _ in range(_STRETCHES):
        if not len(left):
            break
        views, index = _grouped(view[left], len(rows))
        ray = left.index_select(0, index.flatten())
        at, best, best_at = (state.index_select(0, ray).view(index.shape) for state in (along, nearest, where))
        ahead = toward.index_select(0, ray).view(*index.shape, 3)
        origin, pixel = cameras.origin[views][:, None], cameras.pixel[views][:, None]
        begin, stop = origin + at[..., None] * ahead, at + _STRETCH
        group = _Group(fields, rows[views], begin, _STRETCH * ahead)
        for _ in range(_STEPS):  # by sums and products, which are several times as fast as choices
            going = at <= stop
            size = at * pixel
            away = group.distance(origin + torch.minimum(at, stop)[..., None] * ahead) / size
            on, met = going.float(), (going & (away <= _MET)).float()
            shown = away + (1 - on) * _ARRIVED
            best_at += (shown < best).float() * (at - best_at)
            best = torch.minimum(best, shown)
            passed = (going & (away > 0.5) & (best < 0.5)).nonzero(as_tuple=True)
            gone, cover = ray.view(index.shape)[passed], 0.5 - best[passed]
            more = cover > front.cover[gone]
            front.along[gone[more]], front.cover[gone[more]] = best_at[passed][more], cover[more]
            best[passed] = _ARRIVED
            at += on * away.clamp_min_(_LEAST) * size + met * _ARRIVED
        for state, value in ((along, at), (nearest, best), (where, best_at)):
            state[ray] = value.flatten()
        left = left[along[left] <= end[left]]
    cover = torch.where(nearest <= _MET, 1.0, (0.5 - nearest).clamp_min(0))
    return front, _Layer(where, cover)


def _picture(
    fields: Fields,
    rows: Tensor,
    cameras: _Cameras,
    looks: Looks,
    view: Tensor,
    pixel: Tensor,
    toward: Tensor,
    layers: Sequence[_Layer],
) -> Tensor:
    """The layers shaded, and laid over each other, the first one lowest."""
    total = len(rows) * cameras.size**2
    color, alpha = torch.zeros(total, 3, device=fields.device), torch.zeros(total, device=fields.device)
    for layer in layers:
        ray = layer.cover.nonzero()[:, 0]
        views, along, cover, ahead = view[ray], layer.along[ray], layer.cover[ray], toward[ray]
        points = cameras.origin[views] + along[:, None] * ahead
        size = along * cameras.pixel[views]
        edge = (cover < 1).nonzero()[:, 0]
        points[edge], cover[edge] = _settled(fields, rows, views[edge], points[edge], ahead[edge], size[edge])
        seen = cover.nonzero()[:, 0]
        ray, views, cover, ahead = ray[seen], views[seen], cover[seen], ahead[seen]
        before = points[seen] - 0.5 * size[seen, None] * ahead  # where the face that is seen is the nearest
        shade = _shade(fields, rows, looks, views, before, ahead)
        place = views * cameras.size**2 + pixel[ray]
        below = alpha[place] * (1 - cover)
        alpha[place] = cover + below
        color[place] = (color[place] * below[:, None] + shade * cover[:, None]) / alpha[place, None]
    picture = torch.cat([color, alpha[:, None]], dim=1).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    return picture.reshape(len(rows), cameras.size, cameras.size, 4)


def _grouped(view: Tensor, views: int) -> tuple[Tensor, Tensor]:
    """Items of `view` int64[K] (in order) a few at a time: each group's view [G], and its items int64[G, _GROUP].

    The last group of a view is filled up with the view's last item.
    """
    taken = torch.bincount(view, minlength=views)
    groups = -(-taken // _GROUP)
    owner = torch.repeat_interleave(torch.arange(views, device=view.device), groups)
    within = torch.arange(len(owner), device=view.device) - (groups.cumsum(0) - groups)[owner]
    member = within[:, None] * _GROUP + torch.arange(_GROUP, device=view.device)
    return owner, (taken.cumsum(0) - taken)[owner][:, None] + torch.minimum(member, taken[owner][:, None] - 1)


class _Group:
    """Points float32[G, P, 3] in shapes `rows` [G], with the solids that matter around each row of points.

    Around means in a ball about them, from where they are to where they are once `moved` [G, P, 3], and `reach` more.
    """

    def __init__(
        self, fields: Fields, rows: Tensor, points: Tensor, moved: Tensor | None = None, reach: float = 0.0
    ) -> None:
        self.points = points
        self._fields, self._rows = fields, rows
        low, high = points.amin(1), points.amax(1)
        around = points
        if moved is not None:
            around = torch.cat([points, points + moved], dim=1)
            low, high = around.amin(1), around.amax(1)
        center = (low + high) / 2
        radius = (around - center[:, None]).square_().sum(-1).amax(1).sqrt_() * 1.0001
        self._near, _ = fields.near(self._rows, center, radius + reach)

    def distance(self, points: Tensor) -> Tensor:
        return self._fields.distance(self._rows, points, self._near)

    def solid(self) -> Tensor:
        """The slots int64[G, 64] of the solids that the points are on."""
        return self._fields.nearest(self._rows, self.points, self._near)[1]

    def slope(self) -> Tensor:
        """The field's gradients float32[G, P, 3]."""
        return self._fields.slope(self._rows, self.points, self._near)[0]


def _settled(
    fields: Fields, rows: Tensor, view: Tensor, points: Tensor, ahead: Tensor, size: Tensor
) -> tuple[Tensor, Tensor]:
    """Of pixels at an edge, `size` [K] in object units: the points [K, 3] that they show, and how much is covered [K].

    A distance may be less than the true one by the field's slope there. What shows is a little inside the outline,
    where a ray beside this one meets the surface.
    """
    if not len(view):
        return points, size
    views, index = _grouped(view, len(rows))
    group = _Group(fields, rows[views], points[index], reach=4 * float(size.max()))
    slope, away = group.slope(), group.distance(group.points)
    steep = slope.norm(dim=-1).clamp_min(0.05)
    away = (away / steep).clamp_min_(0)
    size, ahead = size[index], ahead[index]
    inward = slope * (-(away + 0.4 * size) / steep)[..., None]
    there = group.points + inward - 1.5 * size[..., None] * ahead
    for _ in range(3):
        there = there + group.distance(there)[..., None] * ahead
    return _flat(points, index, there), _flat(size.new_empty(len(view)), index, (0.5 - away / size).clamp_min_(0))


def _shade(fields: Fields, rows: Tensor, looks: Looks, view: Tensor, points: Tensor, ahead: Tensor) -> Tensor:
    """Colours float32[K, 3] of points float32[K, 3] in the pictures `view` int64[K] (in order), seen along `ahead`."""
    views, index = _grouped(view, len(rows))
    group = _Group(fields, rows[views], points[index], reach=looks.reach)
    normal = torch.nn.functional.normalize(group.slope(), dim=-1)
    shut = torch.zeros_like(normal[..., 0])
    for reach in looks.reaches:
        shut += (1 - group.distance(group.points + normal * reach) / reach).clamp_(0, 1)
    shaded = looks.shade(views, group.points, normal, ahead[index], group.solid(), shut / len(looks.reaches))
    return _flat(torch.empty_like(points), index, shaded)


def _flat(target: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """`values` [G, P, …] at their items' places in a copy of `target` [K, …]."""
    result = torch.empty_like(target)
    result[index.flatten()] = values.flatten(0, 1)
    return result
