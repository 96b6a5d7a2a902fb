"""What made-up objects look like: paints, patterns, gloss and lights, and the colour of a point that has them.

Works on: random numbers, and points with normals as tensors. Knows nothing about shapes, cameras or pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

PATTERNS = 3  # stripes, checks, clouds


@dataclass
class Looks:
    """Of V pictures: `paint` [V, slots, 3] and `second` [V, 3] RGB. A pattern between the two: its `kind` [V, 3] with
    one 1 (or none), `turn` [V, 3, 3] with its frequency, `on` [V, slots] the solids. `lights` [V, 2, 3] unit
    vectors towards lights of `strength` [V, 2], `ambient` [V], how much crevices darken `crevice` [V]; `gloss` [V] and
    `shine` [V] of Blinn's highlights.
    """

    paint: Tensor
    second: Tensor
    kind: Tensor
    turn: Tensor
    on: Tensor
    lights: Tensor
    strength: Tensor
    ambient: Tensor
    crevice: Tensor
    gloss: Tensor
    shine: Tensor

    reach = 0.04  # object units from the surface at which crevices are looked for

    @staticmethod
    def stack(looks: "Sequence[Looks]", device: str | torch.device = "cpu") -> "Looks":
        """Several pictures' looks as one; solids that a picture lacks are filled up."""
        slots = max(look.paint.shape[1] for look in looks)

        def filled(name: str, part: Tensor) -> Tensor:
            if name not in ("paint", "on"):
                return part
            missing = part.new_zeros(1, slots - part.shape[1], *part.shape[2:])
            return torch.cat([part, missing], dim=1)

        names = [item.name for item in fields(Looks)]
        return Looks(*(torch.cat([filled(name, getattr(look, name)) for look in looks]).to(device) for name in names))

    def shade(
        self, view: Tensor, points: Tensor, normals: Tensor, ahead: Tensor, solid: Tensor, shut: Tensor
    ) -> Tensor:
        """RGB float32[3, N, P] of points [3, N, P] of pictures `view` int64[N], on solids `solid` int64[N, P].

        `normals` and the directions in which they are seen, `ahead`, are unit vectors [3, N, P]; `shut` [N, P] in
        [0, 1] says how much stands in the way of light from all around.
        """
        each = view[:, None]
        paint = self.paint[each, solid].movedim(-1, 0)
        if self.kind.any():
            share = self._pattern(view, points) * self.on[each, solid]
            paint = paint + share * (self.second[view].T[..., None] - paint)
        open_ = 1 - self.crevice[each] * shut
        light = self.ambient[each] * (0.8 + 0.2 * normals[1]) * open_
        shine = torch.zeros_like(light)
        for lamp in range(self.lights.shape[1]):
            toward, strength = self.lights[view, lamp].T[..., None], self.strength[view, lamp][:, None]
            light += strength * (normals * toward).sum(0).clamp_min_(0) * (0.5 + 0.5 * open_)
            half = torch.nn.functional.normalize(toward - ahead, dim=0)
            shine += strength * (normals * half).sum(0).clamp_min_(1e-6) ** self.shine[each]
        return (paint * light + self.gloss[each] * shine).clamp_(0, 1)

    def _pattern(self, view: Tensor, points: Tensor) -> Tensor:
        """[N, P] from 0 (the paint) to 1 (the second colour), with edges a little soft."""
        a, b, c = torch.einsum("nij,jnp->inp", self.turn[view], points)
        stripes, checks = (6 * a.sin()).clamp_(-1, 1), (12 * a.sin() * b.sin()).clamp_(-1, 1)
        clouds = (a + 2 * (0.7 * b).sin() + (1.3 * c).sin()).sin_()
        kinds = self.kind[view].T[..., None]
        return (kinds * (torch.stack([stripes, checks, clouds]) + 1) / 2).sum(0)


def random_looks(random: Generator, paints: NDArray[np.float32], azimuth: float) -> Looks:
    """The looks of one picture of an object whose solids have `paints` [slots, 3], seen from `azimuth` (degrees)."""
    slots = len(paints)
    _, which = np.unique(paints.round(4), axis=0, return_inverse=True)
    which = which.reshape(-1)
    parts = which.max() + 1
    mode = random.choice(["own", "plain", "other"], p=[0.4, 0.35, 0.25])
    if mode == "own":
        colors = paints * random.uniform(0.7, 1.15)
    elif mode == "plain":
        colors = np.tile(random_paint(random), (slots, 1))
    else:
        colors = np.stack([random_paint(random) for _ in range(parts)])[which]
    kind = np.zeros(PATTERNS)
    on = np.zeros(slots)
    if random.random() < 0.25:
        kind[random.integers(PATTERNS)] = 1
        chosen = random.random(parts) < 0.5
        chosen[random.integers(parts)] = True
        on = chosen[which]
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    if random.random() < 0.5:
        turn = np.eye(3)[random.permutation(3)]
    frequency = np.exp(random.uniform(np.log(20), np.log(90)))

    angles = np.radians(azimuth + random.uniform(-90, 90, 2))
    lights = np.stack([np.sin(angles), random.uniform([0.3, -0.2], [2.5, 1.5]), -np.cos(angles)], axis=1)
    lights /= np.linalg.norm(lights, axis=1, keepdims=True)
    ambient = random.uniform(0.25, 0.65)
    second_light = random.uniform(0.1, 0.4) if random.random() < 0.4 else 0.0
    strength = np.array([(1 - ambient) * random.uniform(0.8, 1.25), second_light])
    glossy = random.random() < 0.4

    def tensor(value: object) -> Tensor:
        return torch.tensor(np.asarray(value, np.float32))[None]

    return Looks(
        paint=tensor(np.clip(colors, 0.02, 1)),
        second=tensor(random_paint(random)),
        kind=tensor(kind),
        turn=tensor(turn * frequency),
        on=tensor(on),
        lights=tensor(lights),
        strength=tensor(strength),
        ambient=tensor(ambient),
        crevice=tensor(random.uniform(0.2, 1.0)),
        gloss=tensor(random.uniform(0.1, 0.5) if glossy else 0.0),
        shine=tensor(np.exp(random.uniform(np.log(6), np.log(60)))),
    )


def random_paint(random: Generator) -> NDArray[np.float64]:
    """RGB: grey, dark, white, muted or saturated."""
    kind = random.choice(["grey", "dark", "white", "muted", "vivid"], p=[0.25, 0.2, 0.15, 0.25, 0.15])
    low, high = {"grey": (0.3, 0.85), "dark": (0.03, 0.25), "white": (0.85, 1.0)}.get(kind, (0.25, 0.95))
    value = random.uniform(low, high)
    tint = random.uniform(-1, 1, 3) * {"muted": 0.25, "vivid": 0.9}.get(kind, 0.04)
    return np.clip(value * (1 + tint), 0.02, 1)
