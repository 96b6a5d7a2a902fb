"""Pictures of many objects at once, by sphere tracing their fields.

Works on: fields of signed distance, cameras and looks (paints, patterns, lights), on the fields' device. Knows nothing
about files, networks or categories.

A ray goes on by the field's distance until it meets the surface (Hart, "Sphere tracing", 1996): then its pixel is
covered, or half and more at an outline. Where it passes within half a pixel, that distance says how much is covered,
and it goes on to what is behind. Rays go in tiles of 8 × 8, which share the list of solids that a cone meets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from jobs.training.fields import Fields, Selection
from jobs.training.looks import Looks
from workers.render import Camera

_TILE = 8  # pixels of the squares that share a list of solids
_CONE = 2  # pixels of the squares that are traced first
_ALONE_STEPS, _CONE_STEPS = 8, 4
_INSIDE_STEPS = 5
_STEPS = 4  # of a ray, before those that are left are grouped anew
_ROUNDS = 20
_RAYS, _POINTS = 32, 64  # in a group
_ARRIVED = 1e3  # further than any object: where rays are put that need not go on
_MET = 0.05  # pixels before the surface at which a ray has arrived
_LEAST = 0.25  # pixels of a step, growing by a quarter each time, so that no ray stalls beside a surface


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
    tiles = _tiles(fields, rows, placed)
    rays = _begin(placed, tiles)
    front, back = _march(placed, tiles, rays)
    _thin(placed, tiles, rays, back)
    return _picture(fields, rows, placed, tiles, rays, looks, [back, front])


class _Cameras:
    """`origin` [3, V], `axes` [V, 3, 3] (right, up, forward) and `pixel` [V], a pixel's size at depth 1; at `end` [V]
    along a ray every object ends.
    """

    def __init__(self, cameras: Sequence[Camera], size: int, device: torch.device) -> None:
        placed = [camera.axes() for camera in cameras]
        tangents = [2 * np.tan(np.radians(camera.field_of_view / 2)) / size for camera in cameras]
        self.size = size
        self.origin, self.axes, self.pixel = (
            torch.from_numpy(np.asarray(values, np.float32)).to(device)
            for values in (np.stack([origin for origin, _ in placed], 1), [axes for _, axes in placed], tangents)
        )
        self.end = self.origin.norm(dim=0) + 0.5

    def directions(self, view: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Unit vectors float32[3, K] through the places `x`, `y` [K] (pixels) of pictures `view` int64[K]."""
        pixel, (right, up, forward) = self.pixel[view], (self.axes[:, row][view].T for row in range(3))
        toward = (x - self.size / 2) * pixel * right + (self.size / 2 - y) * pixel * up + forward
        return toward / toward.norm(dim=0)


@dataclass
class _Tiles:
    """Squares of a picture: `view` int64[N], the left top pixel `x`, `y` int64[N], the solids and `start` [N], how far
    along the ray through its middle the first of them may be.
    """

    view: Tensor
    x: Tensor
    y: Tensor
    solids: Selection
    start: Tensor


@dataclass
class _Rays:
    """In order of their tile: `view` and `tile` int64[K], `pixel` int64[K] in the picture, `toward` float32[3, K] and
    how far along they `start` [K].
    """

    view: Tensor
    tile: Tensor
    pixel: Tensor
    toward: Tensor
    start: Tensor


@dataclass
class _Layer:
    """What rays [K] come to: how far along it is, and how much of the pixel it covers."""

    along: Tensor
    cover: Tensor


def _tiles(fields: Fields, rows: Tensor, cameras: _Cameras) -> _Tiles:
    """The tiles that may show something, with the solids that may show in them.

    A cone around each tile is traced for each solid alone: those it passes, wherever that is, never concern its rays.
    A blended solid has an effect as far as the widest blend from it on.
    """
    side, device = cameras.size // _TILE, fields.device
    place = torch.arange(side**2, device=device)
    x, y = place % side * _TILE, place // side * _TILE
    every = torch.arange(len(rows), device=device).repeat_interleave(side**2)
    middle_x, middle_y = ((corner + _TILE / 2).repeat(len(rows)) for corner in (x, y))
    toward = cameras.directions(every, middle_x, middle_y).unflatten(1, (len(rows), -1))
    blend = fields.blend[rows].flip(1).cummax(1).values.flip(1)
    present = fields.present[rows]
    view, slot = present.nonzero(as_tuple=True)
    origin, ahead = cameras.origin[:, view, None], toward[:, view]
    slope, blend = _slope(cameras.pixel, _TILE)[view, None], blend[view, slot][:, None]
    at = (cameras.end - 1)[view, None].repeat(1, side**2)
    for _ in range(_ALONE_STEPS):
        free = fields.alone(rows[view], slot, origin + at * ahead) - slope * at - blend
        at += free.clamp_min_(0) / (1 + slope)

    meets = torch.zeros(*present.shape, side**2, dtype=torch.bool, device=device)
    meets[view, slot] = at < cameras.end[view, None]
    first = torch.full(meets.shape, _ARRIVED, device=device)
    first[view, slot] = at
    start = first.masked_fill_(fields.cut[rows][..., None], _ARRIVED).amin(1)
    view, tile = (start < cameras.end[:, None]).nonzero(as_tuple=True)
    solids = fields.select(rows[view], meets.movedim(1, 2)[view, tile])
    return _Tiles(view, x[tile], y[tile], solids, start[view, tile])


def _slope(pixel: Tensor, size: int) -> Tensor:
    """A cone's radius a unit of the way, around a square of so many pixels and half a pixel more."""
    return pixel * (size * 0.5**0.5 + 0.5)


def _begin(cameras: _Cameras, tiles: _Tiles) -> _Rays:
    """The rays that may meet something: small cones in every tile go on while they touch nothing."""
    count, device = len(tiles.view), tiles.view.device
    steps = torch.arange(0, _TILE, _CONE, device=device)
    inner_y, inner_x = torch.cartesian_prod(steps, steps).T
    x, y = tiles.x[:, None] + inner_x, tiles.y[:, None] + inner_y
    view = tiles.view[:, None].expand_as(x)
    toward = cameras.directions(view.flatten(), x.flatten() + _CONE / 2, y.flatten() + _CONE / 2)
    toward = toward.unflatten(1, (count, -1))
    origin, slope = cameras.origin[:, tiles.view, None], _slope(cameras.pixel[tiles.view], _CONE)[:, None]
    at = tiles.start[:, None].expand_as(x).contiguous()
    for _ in range(_CONE_STEPS):
        free = tiles.solids.distance(origin + at * toward) - slope * at
        at += free.clamp_min_(0) / (1 + slope)

    tile, cone = (at < cameras.end[tiles.view, None]).nonzero(as_tuple=True)
    steps = torch.arange(_CONE, device=device)
    inner_y, inner_x = torch.cartesian_prod(steps, steps).T
    x, y = ((corner[tile, cone][:, None] + inner).flatten() for corner, inner in ((x, inner_x), (y, inner_y)))
    tile, start = tile.repeat_interleave(_CONE**2), at[tile, cone].repeat_interleave(_CONE**2)
    view = tiles.view[tile]
    return _Rays(view, tile, y * cameras.size + x, cameras.directions(view, x + 0.5, y + 0.5), start)


def _march(cameras: _Cameras, tiles: _Tiles, rays: _Rays) -> tuple[_Layer, _Layer]:
    """Two layers for every ray: one that it passes and that covers a part of the pixel, and the last it comes to."""
    along, where, nearest = rays.start.clone(), rays.start.clone(), torch.full_like(rays.start, _ARRIVED)
    front = _Layer(torch.zeros_like(along), torch.zeros_like(along))
    left = torch.arange(len(along), device=along.device)  # the rays that are under way
    for turn in range(_ROUNDS):
        least = _LEAST * 1.25**turn
        if not len(left):
            break
        tile, index = _grouped(rays.tile[left], len(tiles.view), _RAYS)
        solids, ray = tiles.solids.of(tile), left[index]
        at, best, best_at, ahead = along[ray], nearest[ray], where[ray], rays.toward[:, ray]
        view = tiles.view[tile]
        origin, pixel = cameras.origin[:, view, None], cameras.pixel[view, None]
        for _ in range(_STEPS):  # by sums and products, which are several times as fast as choices
            size = at * pixel
            away = solids.distance(origin + at * ahead).div_(size)
            best_at += (away < best).float() * (at - best_at)
            best = torch.minimum(best, away)
            passed = ((away > 0.5) & (best < 0.5) & (at < _ARRIVED)).nonzero(as_tuple=True)
            gone, cover = ray[passed], 0.5 - best[passed]
            more = cover > front.cover[gone]
            front.along[gone[more]], front.cover[gone[more]] = best_at[passed][more], cover[more]
            best[passed] = _ARRIVED
            arrived = (away <= _MET).float().mul_(_ARRIVED)
            at = away.clamp_min_(least).mul_(size).add_(at).add_(arrived)
        along[ray], nearest[ray], where[ray] = at, best, best_at
        left = left[along[left] < cameras.end[rays.view[left]]]
    cover = torch.where(nearest <= _MET, 1.0, (0.5 - nearest).clamp_min(0))
    return front, _Layer(where, cover)


def _picture(
    fields: Fields, rows: Tensor, cameras: _Cameras, tiles: _Tiles, rays: _Rays, looks: Looks, layers: list[_Layer]
) -> Tensor:
    """The layers shaded, and laid over each other, the first one lowest."""
    color = torch.zeros(3, len(rows) * cameras.size**2, device=fields.device)
    alpha = torch.zeros_like(color[0])
    for layer in layers:
        ray = layer.cover.nonzero()[:, 0]
        view, tile, along, cover = rays.view[ray], rays.tile[ray], layer.along[ray], layer.cover[ray]
        ahead, size = rays.toward[:, ray], along * cameras.pixel[view]
        points = cameras.origin[:, view] + along * ahead
        edge = (cover < 0.5).nonzero()[:, 0]
        if len(edge):
            points[:, edge], cover[edge] = _settled(tiles, tile[edge], points[:, edge], ahead[:, edge], size[edge])
        seen = cover.nonzero()[:, 0]
        if not len(seen):
            continue
        ray, cover, ahead = ray[seen], cover[seen], ahead[:, seen]
        before = points[:, seen] - 0.5 * size[seen] * ahead  # where the face that is seen is the nearest
        shade = _shade(fields, rows, tiles, tile[seen], looks, before, ahead)
        place = view[seen] * cameras.size**2 + rays.pixel[ray]
        below = alpha[place] * (1 - cover)
        alpha[place] = cover + below
        color[:, place] = (color[:, place] * below + shade * cover) / alpha[place]
    picture = torch.cat([color, alpha[None]]).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    return picture.T.reshape(len(rows), cameras.size, cameras.size, 4)


def _thin(cameras: _Cameras, tiles: _Tiles, rays: _Rays, layer: _Layer) -> None:
    """Corrects how much is covered of pixels at an outline whose rays meet something: the rest of the object's edge.

    How deep such a ray comes says how far inside the outline it is, at most half a pixel being of interest.
    """
    size = cameras.size
    met = torch.zeros(len(cameras.pixel) * size**2, dtype=torch.bool, device=layer.cover.device)
    place = rays.view * size**2 + rays.pixel
    met[place] = layer.cover == 1
    seen = torch.nn.functional.pad(met.view(-1, size, size), (1, 1, 1, 1), value=True)
    inner = seen[:, 1:-1, :-2] & seen[:, 1:-1, 2:] & seen[:, :-2, 1:-1] & seen[:, 2:, 1:-1]
    edge = (met & ~inner.flatten())[place].nonzero()[:, 0]
    if not len(edge):
        return
    owner, index = _grouped(rays.tile[edge], len(tiles.view), _RAYS)
    ray = edge[index]
    at, ahead, view = layer.along[ray], rays.toward[:, ray], tiles.view[owner]
    solids, width = tiles.solids.of(owner), at * cameras.pixel[view, None]
    deepest = torch.zeros_like(at)
    for _ in range(_INSIDE_STEPS):
        away = solids.distance(cameras.origin[:, view, None] + at * ahead) / width
        deepest = torch.minimum(deepest, away)
        at = at + away.abs().clamp_(0.3, 1) * width
    layer.cover[ray] = (0.5 - deepest).clamp_(0, 1)


def _settled(tiles: _Tiles, tile: Tensor, points: Tensor, ahead: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Of pixels at an edge, `size` [K] in object units: the points [3, K] that they show, and how much is covered [K].

    A distance may be less than the true one by the field's slope there. What shows is a little inside the outline,
    where a ray beside this one meets the surface.
    """
    owner, index = _grouped(tile, len(tiles.view), _RAYS)
    at, ahead, width, solids = points[:, index], ahead[:, index], size[index], tiles.solids.of(owner)
    slope, away = solids.slope(at)
    steep = slope.norm(dim=0).clamp_min_(0.05)
    away = (away / steep).clamp_min_(0)
    there = at - slope * ((away + 0.4 * width) / steep) - 1.5 * width * ahead
    for _ in range(3):
        there = there + solids.distance(there) * ahead
    return _flat(points, index, there), _flat(size, index, (0.5 - away / width).clamp_min_(0))


def _shade(
    fields: Fields, rows: Tensor, tiles: _Tiles, tile: Tensor, looks: Looks, points: Tensor, ahead: Tensor
) -> Tensor:
    """Colours float32[3, K] of points float32[3, K] in the tiles `tile` int64[K] (in order), seen along `ahead`."""
    owner, index = _grouped(tile, len(tiles.view), _POINTS)
    at, solids, view = points[:, index], tiles.solids.of(owner), tiles.view[owner]
    normal = torch.nn.functional.normalize(solids.slope(at)[0], dim=0)
    center = (at.amin(-1) + at.amax(-1)) / 2  # what stands beside may be outside the tile
    radius = (at - center[..., None]).square_().sum(0).amax(-1).sqrt_()
    near, _ = fields.near(rows[view], center.T, radius + looks.reach)
    beside = fields.select(rows[view], near).distance(at + normal * looks.reach)
    shut = (1 - beside / looks.reach).clamp_(0, 1)
    return _flat(points, index, looks.shade(view, at, normal, ahead[:, index], solids.nearest(at), shut))


def _grouped(owner: Tensor, owners: int, size: int) -> tuple[Tensor, Tensor]:
    """Items of `owner` int64[K] (in order), `size` at a time: each group's owner [G], and its items int64[G, size].

    The last group of an owner is filled up with its last item.
    """
    taken = torch.bincount(owner, minlength=owners)
    groups = -(-taken // size)
    of = torch.repeat_interleave(torch.arange(owners, device=owner.device), groups)
    within = torch.arange(len(of), device=owner.device) - (groups.cumsum(0) - groups)[of]
    member = within[:, None] * size + torch.arange(size, device=owner.device)
    return of, (taken.cumsum(0) - taken)[of][:, None] + torch.minimum(member, taken[of][:, None] - 1)


def _flat(target: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """`values` […, G, P] at their items' places, as a tensor like `target` […, K]."""
    result = torch.empty_like(target)
    result[..., index.flatten()] = values.flatten(-2)
    return result
