"""What real pictures do that made ones do not: cut out askew, badly lit, blurred, noisy, compressed, in part hidden.

Works on: batches of ink as `workers.images.prepare` makes it, on any device. Knows nothing about objects or networks.

What one picture undergoes is drawn on the processor for the whole batch, so that it is the same on every device and
however the batch is split over workers.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from jobs.training.plan import Augmentation

# JPEG's luminance quantisation: ITU-T T.81 (1992), Annex K, Table K.1.
_QUANTISATION = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_COARSER = (0.5, 4.0)  # multiples of it: libjpeg's qualities of 75 and about 12
_BLOCK = 8
_LARGEST_PIECE = 0.3  # of the picture's side
# Ink below this share of the least that an opaque pixel has is that of a border's half-transparent pixels.
_LEAST_INK = 0.02
_FIELDS, _MARGIN = 8, 64  # of noise: so many are made once, each larger than a picture, which gets a part of one


@dataclass(frozen=True)
class Changes:
    """What each picture of a batch undergoes: float32[B] each, but `mirrored` and `compressed` bool[B], `piece`
    float32[B, 4] (top, left, height, width as shares of the side; 0 is none) and `noise_at` int64[B, 3].
    """

    mirrored: Tensor
    angle: Tensor
    size: Tensor
    right: Tensor
    down: Tensor
    exposure: Tensor
    gamma: Tensor
    contrast: Tensor
    blur: Tensor
    noise: Tensor
    noise_at: Tensor
    compressed: Tensor
    coarser: Tensor
    piece: Tensor

    def part(self, rows: slice, device: torch.device | str) -> "Changes":
        """Those of some of the batch's pictures, on a device."""
        return Changes(*(getattr(self, one.name)[rows].to(device) for one in fields(self)))


def draw(plan: Augmentation, symmetric: Tensor, random: torch.Generator) -> Changes:
    """Changes for pictures of shapes of which `symmetric` bool[B] are their own mirror image in x."""
    count = len(symmetric)

    def uniform(low: float = 0.0, high: float = 1.0, *more: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *more, generator=random)

    def either_way(most: float) -> Tensor:
        return uniform(-most, most)

    # As many draws whatever the plan says, so that a change of one strength leaves the others' draws as they are.
    mirrored = (uniform() < 0.5) & symmetric & plan.mirror
    angle, size = either_way(math.radians(plan.rotation)), 1 + either_way(plan.scale)
    right, down = either_way(2 * plan.shift), either_way(2 * plan.shift)
    exposure, gamma, contrast = (
        1 + either_way(plan.exposure), 1 + either_way(plan.gamma), 1 + either_way(plan.contrast)
    )  # fmt: skip
    blur, noise = uniform(0, plan.blur) * (uniform() < 0.5), uniform(0, plan.noise) * (uniform() < 0.5)
    at = torch.stack([torch.randint(high, (count,), generator=random) for high in (_FIELDS, _MARGIN, _MARGIN)], 1)
    compressed = uniform() < plan.compression
    coarser = torch.exp(uniform(math.log(_COARSER[0]), math.log(_COARSER[1])))
    sides = uniform(0, _LARGEST_PIECE, 2) * (uniform() < plan.cutout)[:, None]
    piece = torch.cat([uniform(0, 1, 2) - sides / 2, sides], dim=1)
    return Changes(
        mirrored, angle, size, right, down, exposure, gamma, contrast, blur, noise, at, compressed, coarser, piece
    )


class Augment:
    """Applies changes, on one device, to pictures in a framing with a given `silhouette`."""

    def __init__(self, silhouette: float, size: int, device: torch.device | str) -> None:
        self.silhouette = silhouette
        side = size + _MARGIN
        self._noise = torch.randn(_FIELDS, side, side, generator=torch.Generator().manual_seed(size)).to(device)
        row = torch.arange(_BLOCK, dtype=torch.float64)
        # The orthonormal DCT-II: ITU-T T.81, A.3.3.
        basis = torch.cos((2 * row + 1) * row[:, None] * math.pi / (2 * _BLOCK)) * math.sqrt(2 / _BLOCK)
        basis[0] /= math.sqrt(2)
        self._basis = basis.float().to(device)
        self._quanta = torch.tensor(_QUANTISATION, dtype=torch.float32, device=device) / 255

    @torch.no_grad()
    def __call__(self, ink: Tensor, changes: Changes) -> Tensor:
        """`ink` float32[B, 1, S, S] changed, again in [0, 1] and 0 where there is nothing; S is a multiple of 8."""
        ink = self._moved(ink, changes)
        alpha = (ink / max(self.silhouette, _LEAST_INK)).clamp_(0, 1)
        ink = self._exposed(ink, alpha, changes)
        ink = self._blurred(ink, changes.blur)
        if changes.compressed.any():
            ink[changes.compressed] = self._compressed(ink[changes.compressed], changes.coarser[changes.compressed])
        ink = ink + self._noisy(ink, changes) * changes.noise[:, None, None, None]
        # The cut-out comes last: noise and blocks beside the object are gone with the background.
        return ink.mul_(alpha > 0).mul_(self._left(ink, changes.piece)).clamp_(0, 1)

    def _moved(self, ink: Tensor, changes: Changes) -> Tensor:
        cosine, sine = changes.angle.cos() / changes.size, changes.angle.sin() / changes.size
        flip = 1.0 - 2.0 * changes.mirrored
        rows = [cosine * flip, -sine * flip, changes.right, sine, cosine, changes.down]
        grid = functional.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(ink.shape), align_corners=False)
        return functional.grid_sample(ink, grid, align_corners=False)

    def _exposed(self, ink: Tensor, alpha: Tensor, changes: Changes) -> Tensor:
        """As ink = alpha · (s + (1 − s) · (1 − luma)), a change of the luma where there is something."""
        s = self.silhouette
        luma = 1 - ((ink / alpha.clamp_min(1e-6) - s) / max(1 - s, 1e-3)).clamp_(0, 1)
        exposure, gamma, contrast = (
            value[:, None, None, None] for value in (changes.exposure, changes.gamma, changes.contrast)
        )
        luma = luma.pow_(gamma).mul_(exposure).sub_(0.5).mul_(contrast).add_(0.5).clamp_(0, 1)
        return alpha * (s + (1 - s) * (1 - luma))

    @staticmethod
    def _blurred(ink: Tensor, deviation: Tensor) -> Tensor:
        """By a Gaussian of each picture's own standard deviation in pixels, cut off at three of them."""
        radius = math.ceil(3 * float(deviation.max()))
        if not radius:
            return ink
        distance = torch.arange(-radius, radius + 1, device=ink.device)
        relative = distance / deviation.clamp_min(1e-3)[:, None]
        kernel = torch.exp(-0.5 * relative**2) * (relative.abs() <= 3)
        kernel = (kernel / kernel.sum(1, keepdim=True))[:, None, None]
        rows = functional.conv2d(ink.transpose(0, 1), kernel, padding=(0, radius), groups=len(ink))
        return functional.conv2d(rows, kernel.transpose(2, 3), padding=(radius, 0), groups=len(ink)).transpose(0, 1)

    def _compressed(self, ink: Tensor, coarser: Tensor) -> Tensor:
        """As a JPEG file keeps it: the DCT of each block of 8×8, rounded to multiples of the table's."""
        side = ink.shape[-1]
        blocks = ink.view(len(ink), side // _BLOCK, _BLOCK, side // _BLOCK, _BLOCK).transpose(2, 3)
        quanta = self._quanta * coarser[:, None, None, None, None]
        spectrum = self._basis @ blocks @ self._basis.T
        kept = self._basis.T @ (torch.round(spectrum / quanta) * quanta) @ self._basis
        return kept.transpose(2, 3).reshape(ink.shape)

    def _noisy(self, ink: Tensor, changes: Changes) -> Tensor:
        along = torch.arange(ink.shape[-1], device=ink.device)
        field, top, left = changes.noise_at.unbind(1)
        rows, columns = top[:, None, None] + along[:, None], left[:, None, None] + along
        return self._noise[field[:, None, None], rows, columns].unsqueeze(1)

    @staticmethod
    def _left(ink: Tensor, piece: Tensor) -> Tensor:
        """bool[B, 1, S, S]: what is not in the piece that is missing."""
        along = (torch.arange(ink.shape[-1], device=ink.device) + 0.5) / ink.shape[-1]
        top, left, height, width = (value[:, None] for value in piece.unbind(1))
        rows = (along >= top) & (along < top + height)
        columns = (along >= left) & (along < left + width)
        return ~(rows[:, None, :, None] & columns[:, None, None, :])


def symmetric(voxels: Tensor) -> Tensor:
    """bool[count]: which of `voxels`, packed uint8[count, 64·64·64/8] with x slowest, are their own mirror image in x.

    A hundredth of the samples inside may differ: those that the surface just misses on one side.
    """
    bits = torch.tensor([number.bit_count() for number in range(256)], dtype=torch.uint8, device=voxels.device)
    found = []
    for part in voxels.split(64):
        slabs = part.view(len(part), 64, -1)
        differing = bits[(slabs[:, :32] ^ slabs[:, 32:].flip(1)).long()].sum((1, 2), dtype=torch.int64)
        found.append(100 * differing <= bits[slabs.long()].sum((1, 2), dtype=torch.int64))
    return torch.cat(found)
