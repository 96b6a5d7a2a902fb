"""The stages of training, and what each minimises: voxels to latents to points, pictures to latents, and both together.

Works on: networks and examples. Knows nothing about optimisers, checkpoints or how examples are made.

The order is IM-NET's for single-view reconstruction (Chen & Zhang, CVPR 2019): an autoencoder, on points of coarser
grids first, then the image encoder regresses the frozen latents. The last stage, which the paper lacks, trains encoder
and decoder together on the points, because a small error in the latent is not a small error in the shape.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.training.autoencoder import VoxelEncoder
from jobs.training.batches import Batches, Draw, images
from jobs.training.collection import VOXELS, Collection
from jobs.training.initialisation import initialise
from jobs.training.plan import Plan, Schedule
from workers.decoder import Decoder
from workers.encoder import Encoder


class Networks(nn.Module):
    """What a bundle holds, and the voxel encoder that only training needs."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.encoder = Encoder(plan.latent_size, plan.encoder_width)
        self.decoder = Decoder(plan.family, plan.latent_size, plan.decoder_width)
        initialise(self.decoder, plan.schedule.start)
        self.voxel_encoder = VoxelEncoder(plan.latent_size, plan.schedule.voxel_width)
        self.encoder.to(memory_format=torch.channels_last)  # measured on a processor: a third faster


class Task(nn.Module):
    """What a stage minimises. As a module its parameters are all that the stage uses; `learns` are those it changes."""

    learns: tuple[nn.Module, ...]
    decoder: Decoder

    @abstractmethod
    def examples(self, batches: Batches, choice: Draw) -> tuple[Tensor, ...]:
        """What `forward` takes, for one step."""

    @abstractmethod
    def latents(self, collection: Collection, rows: Tensor, device: str) -> Tensor:
        """float32[B, latent_size] of some of a collection's objects, for validation."""


class Autoencoding(Task):
    """Voxels → latent → occupancy of points: of the collection's, or at first of a coarse grid's."""

    def __init__(self, networks: Networks, schedule: Schedule, resolution: int) -> None:
        super().__init__()
        self.voxel_encoder, self.decoder = networks.voxel_encoder, networks.decoder
        self.learns = (self.voxel_encoder, self.decoder)
        self.schedule, self.resolution = schedule, resolution

    def examples(self, batches: Batches, choice: Draw) -> tuple[Tensor, ...]:
        voxels = batches.voxels(choice)
        if self.resolution < VOXELS:
            return voxels, *batches.coarse_points(choice, voxels, self.resolution)
        return voxels, *batches.points(choice)

    def forward(self, voxels: Tensor, points: Tensor, inside: Tensor) -> Tensor:
        return loss(self.schedule, self.decoder, points, self.voxel_encoder(voxels), inside)

    def latents(self, collection: Collection, rows: Tensor, device: str) -> Tensor:
        return self.voxel_encoder(collection.voxel_grid(rows).to(device))


class Regression(Task):
    """A picture → the latent that the voxel encoder, frozen, gives its object."""

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.encoder, self.decoder = networks.encoder, networks.decoder
        self.learns = (self.encoder,)
        self._voxel_encoder = [networks.voxel_encoder]  # in a list, so as to be no part of this module
        self._targets: tuple[Collection | None, Tensor] = (None, torch.empty(0))

    def examples(self, batches: Batches, choice: Draw) -> tuple[Tensor, ...]:
        collection = batches.of(choice.epoch)
        if self._targets[0] is not collection:
            self._targets = (collection, self._latents(collection, batches.device))
        return batches.images(choice), self._targets[1][batches.rows(choice).to(batches.device)]

    def forward(self, pictures: Tensor, latents: Tensor) -> Tensor:
        return functional.mse_loss(self.encoder(pictures).float(), latents)

    def latents(self, collection: Collection, rows: Tensor, device: str) -> Tensor:
        return _of_first_views(self.encoder, collection, rows, device)

    @torch.no_grad()
    def _latents(self, collection: Collection, device: str) -> Tensor:
        network = self._voxel_encoder[0].eval()
        rows = torch.arange(len(collection)).split(32)
        return torch.cat([network(collection.voxel_grid(part).to(device)) for part in rows])


class Joint(Task):
    """A picture → latent → occupancy of points."""

    def __init__(self, networks: Networks, schedule: Schedule) -> None:
        super().__init__()
        self.encoder, self.decoder = networks.encoder, networks.decoder
        self.learns = (self.encoder, self.decoder)
        self.schedule = schedule

    def examples(self, batches: Batches, choice: Draw) -> tuple[Tensor, ...]:
        return batches.images(choice), *batches.points(choice)

    def forward(self, pictures: Tensor, points: Tensor, inside: Tensor) -> Tensor:
        return loss(self.schedule, self.decoder, points, self.encoder(pictures), inside)

    def latents(self, collection: Collection, rows: Tensor, device: str) -> Tensor:
        return _of_first_views(self.encoder, collection, rows, device)


def loss(schedule: Schedule, decoder: Decoder, points: Tensor, latents: Tensor, inside: Tensor) -> Tensor:
    """Of the occupancy at `points` float32[B, P, 3] of shapes with `latents`, which is `inside` float32[B, P]."""
    field = decoder(points, latents).float()
    if schedule.loss == "squared":  # the paper's, on the output activation
        return functional.mse_loss(decoder.occupancy(field), inside)
    return functional.binary_cross_entropy_with_logits(field - decoder.level(0.5), inside)


@dataclass(frozen=True)
class Stage:
    """One part of training: `task()` makes what it minimises, in `steps` steps from a `rate` on."""

    name: str
    steps: int
    rate: float
    task: Callable[[Networks], Task]


def stages(schedule: Schedule) -> list[Stage]:
    """Those that the schedule asks for, in order."""

    def autoencoding(resolution: int) -> Callable[[Networks], Task]:
        return lambda networks: Autoencoding(networks, schedule, resolution)

    planned = [
        Stage("autoencoder 16³", schedule.coarse_steps[0], schedule.autoencoder_rate, autoencoding(16)),
        Stage("autoencoder 32³", schedule.coarse_steps[1], schedule.autoencoder_rate, autoencoding(32)),
        Stage("autoencoder", schedule.autoencoder_steps, schedule.autoencoder_rate, autoencoding(VOXELS)),
        Stage("regression", schedule.regression_steps, schedule.encoder_rate, Regression),
        Stage("joint", schedule.joint_steps, schedule.joint_rate, lambda networks: Joint(networks, schedule)),
    ]
    return [stage for stage in planned if stage.steps]


def parameters(task: Task) -> Iterator[nn.Parameter]:
    """What a stage changes."""
    for network in task.learns:
        yield from network.parameters()


def _of_first_views(encoder: Encoder, collection: Collection, rows: Tensor, device: str) -> Tensor:
    return encoder(images(collection.views[rows, 0], device))
