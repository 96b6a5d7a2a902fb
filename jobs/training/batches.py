"""What a step learns from: rows of a collection, and of each a view, a grid and points, the same for the same step.

Works on: collections, and the numbers of a stage and a step. Knows nothing about networks or losses.

A batch is a function of seed, stage and step alone: a training that goes on in the middle sees what it would have
seen, and of several workers each takes its part of the one batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from jobs.training.augmentation import Augment, draw, symmetric
from jobs.training.collection import POINTS, VOXELS, Collection
from jobs.training.plan import Plan
from workers.encoder import IMAGE_SIZE

Source = Callable[[int], Collection]  # the collection of an epoch


@dataclass(frozen=True)
class Part:
    """This worker's part of each batch."""

    rank: int = 0
    workers: int = 1

    def of(self, batch: int) -> slice:
        size = batch // self.workers
        return slice(self.rank * size, (self.rank + 1) * size)


@dataclass(frozen=True)
class Draw:
    """The choices of one step: `rows` int64[B] of the epoch's collection and the generator of all others."""

    epoch: int
    rows: Tensor
    random: torch.Generator


class Batches:
    """Examples on `device`. Rows and random choices are those of the whole batch; the tensors are `part`'s."""

    def __init__(self, source: Source, plan: Plan, device: str, part: Part) -> None:
        self.plan, self.device, self._source = plan, device, source
        self._mine = part.of(plan.schedule.batch)
        self._augment = Augment(plan.framing.silhouette, IMAGE_SIZE, device)
        self._take(0)

    def _take(self, epoch: int) -> None:
        self._epoch, self.collection = epoch, self._source(epoch)
        self._symmetric = symmetric(self.collection.voxels).cpu()

    def of(self, epoch: int) -> Collection:
        """The collection of an epoch."""
        if epoch != self._epoch:
            if self._source(epoch) is self.collection:
                self._epoch = epoch
            else:
                self._take(epoch)
        return self.collection

    def draw(self, stage: int, step: int) -> Draw:
        """The choices of step 0, 1, … of a stage. An epoch sees every row once, but for the few that fill no batch."""
        seed, batch = self.plan.schedule.seed, self.plan.schedule.batch
        epoch, place = divmod(step, len(self.collection) // batch)
        order = torch.randperm(len(self.collection), generator=_generator(seed, stage, epoch, 0))
        rows = order[place * batch : (place + 1) * batch]
        return Draw(epoch, rows, _generator(seed, stage, step, 1))

    def rows(self, choice: Draw) -> Tensor:
        return choice.rows[self._mine]

    def images(self, choice: Draw) -> Tensor:
        """float32[b, 1, 128, 128]: one view of each, changed as the plan says."""
        collection = self.of(choice.epoch)
        view = torch.randint(collection.views.shape[1], choice.rows.shape, generator=choice.random)
        changes = draw(self.plan.augmentation, self._symmetric[choice.rows], choice.random)
        ink = images(collection.views[self.rows(choice), view[self._mine]], self.device)
        return self._augment(ink, changes.part(self._mine, self.device))

    def voxels(self, choice: Draw) -> Tensor:
        """float32[b, 1, 64, 64, 64]."""
        return self.of(choice.epoch).voxel_grid(self.rows(choice)).to(self.device)

    def points(self, choice: Draw) -> tuple[Tensor, Tensor]:
        """Points float32[b, P, 3] near the surface and anywhere, and their occupancies float32[b, P]."""
        count = self.plan.schedule.points
        start = 8 * int(torch.randint((POINTS - count) // 8 + 1, (), generator=choice.random))
        points, inside = self.of(choice.epoch).labelled_points(self.rows(choice), count, start)
        return points.to(self.device), inside.to(self.device)

    def coarse_points(self, choice: Draw, voxels: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
        """As `points`, but in P cells of a `resolution`³ grid over `voxels` float32[b, 1, 64, 64, 64], first in those
        that the surface may cross: an occupied place where the cell has one, as IM-NET's point sampling does
        (github.com/czq142857/IM-NET, point_sampling/2_gather_256vox_16_32_64.py, from voxels of 256³).
        """
        seed = int(torch.randint(2**62, (), generator=choice.random))
        random = torch.Generator(self.device).manual_seed(seed)

        def uniform(*shape: int) -> Tensor:  # of the whole batch, so that it does not matter who has which part
            everyone = torch.rand(len(choice.rows), *shape, generator=random, device=self.device)
            return everyone[self._mine]

        side = VOXELS // resolution
        count = min(self.plan.schedule.coarse_points, resolution**3)
        cells = functional.max_pool3d(voxels, side)
        mixed = functional.max_pool3d(cells, 3, 1, 1) + functional.max_pool3d(-cells, 3, 1, 1) > 0
        score = uniform(resolution**3)
        chosen = (score + mixed.flatten(1)).topk(count, dim=1, sorted=False).indices
        inner = voxels.view(-1, resolution, side, resolution, side, resolution, side).permute(0, 1, 3, 5, 2, 4, 6)
        inner = inner.reshape(len(voxels), resolution**3, side**3).gather(
            1, chosen.unsqueeze(-1).expand(-1, -1, side**3)
        )
        place = (uniform(count, side**3) + inner).argmax(2)
        cell = torch.stack([chosen // resolution**2, chosen // resolution % resolution, chosen % resolution], 2)
        within = torch.stack([place // side**2, place // side % side, place % side], 2)
        points = (cell * side + within + 0.5) / VOXELS - 0.5
        return points, inner.gather(2, place.unsqueeze(-1)).squeeze(-1)


def images(views: Tensor, device: str) -> Tensor:
    """The network's input float32[B, 1, 128, 128] from uint8[B, 128, 128]."""
    return views.to(device).float().div_(255).unsqueeze(1)


def on_device(collection: Collection, device: str) -> Collection:
    """The collection on a device, if it takes at most a half of what memory is free there; else as it is."""
    tensors = {name: value for name, value in vars(collection).items() if isinstance(value, Tensor)}
    if torch.device(device).type != "cuda":
        return collection
    free, _ = torch.cuda.mem_get_info(device)
    if sum(value.nbytes for value in tensors.values()) > free // 2:
        return collection
    moved: dict[str, Any] = {name: value.to(device) for name, value in tensors.items()}
    return replace(collection, **moved)


def _generator(*seed: int) -> torch.Generator:
    state = np.random.SeedSequence([number & 0xFFFFFFFF for number in seed]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
