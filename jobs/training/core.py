"""The training loop: voxels to latents to points, then pictures to latents, then both through the decoder.

Works on: a `Collection` in memory and plain PyTorch modules, on one device. Knows nothing about Ray, files or how
examples were made.

The order is IM-NET's for single-view reconstruction (Chen & Zhang, CVPR 2019): an autoencoder first, then the image
encoder regresses the frozen latents. A third stage, which the paper lacks, trains encoder and decoder together on
the points, because a small error in the latent is not a small error in the shape.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from cluster import memory
from jobs.training.autoencoder import VoxelEncoder
from jobs.training.collection import POINTS, Collection
from workers.decoder import Decoder
from workers.encoder import Encoder

Report = Callable[[str], None]


class Schedule(BaseModel):
    """How long and how hard to train. Steps of 0 leave a stage out; learning rates decay to zero along a cosine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    autoencoder_steps: int = Field(default=3000, ge=0)
    regression_steps: int = Field(default=2000, ge=0)
    joint_steps: int = Field(default=3000, ge=0)
    batch: int = Field(default=32, ge=2)
    points: int = Field(default=1024, ge=8, le=POINTS, multiple_of=8, description="points a shape and step")
    autoencoder_rate: float = Field(default=1e-3, gt=0)
    encoder_rate: float = Field(default=1e-3, gt=0)
    joint_rate: float = Field(default=6e-4, gt=0)
    voxel_width: int = Field(default=16, ge=1)
    seed: int = 0


@dataclass(frozen=True)
class Model:
    """What a bundle holds."""

    encoder: Encoder
    decoder: Decoder


def train(
    model: Model,
    training: Collection,
    validation: Collection,
    schedule: Schedule,
    *,
    device: str,
    report: Report,
    threshold: float = 0.5,
) -> dict[str, float]:
    """Trains `model` in place and returns its validation metrics at an occupancy `threshold`: see `validate`.

    Deterministic for a seed, a device and a number of threads. `report` receives a line of progress now and then.
    """
    torch.manual_seed(schedule.seed)
    memory.keep_freed()
    encoder, decoder = model.encoder.to(device), model.decoder.to(device)
    encoder.to(memory_format=torch.channels_last)  # measured: a fifth faster
    voxel_encoder = VoxelEncoder(decoder.latent_size, schedule.voxel_width).to(device)
    batches = _Batches(training, schedule, device)

    def reconstruction() -> Tensor:
        rows = batches.rows()
        return batches.loss(decoder, voxel_encoder(training.voxel_grid(rows).to(device)), rows)

    halves = [voxel_encoder, decoder]
    _run(
        "autoencoder",
        schedule.autoencoder_steps,
        schedule.autoencoder_rate,
        halves,
        reconstruction,
        device,
        report,
    )
    if schedule.autoencoder_steps:
        score = _mean_iou(
            decoder, validation, lambda rows: voxel_encoder(validation.voxel_grid(rows).to(device)), device
        )
        report(f"autoencoder: validation IoU {score:.3f}")

    latents = _latents(voxel_encoder, training, device) if schedule.regression_steps else torch.empty(0)

    def regression() -> Tensor:
        rows = batches.rows()
        return functional.mse_loss(encoder(batches.views(rows)), latents[rows.to(device)])

    _run("regression", schedule.regression_steps, schedule.encoder_rate, [encoder], regression, device, report)

    def joint() -> Tensor:
        rows = batches.rows()
        return batches.loss(decoder, encoder(batches.views(rows)), rows)

    _run("joint", schedule.joint_steps, schedule.joint_rate, [encoder, decoder], joint, device, report)
    return validate(model, validation, device, threshold)


def validate(model: Model, collection: Collection, device: str, threshold: float = 0.5) -> dict[str, float]:
    """Mean IoU of the collection's first views at an occupancy `threshold`: `iou` of all, `iou/<index>` of a category.

    Over the points of the collection that were drawn uniformly and near the surface alike, so it is a harder
    measure than volumetric IoU on a lattice.
    """
    model.encoder.eval()
    view = torch.zeros(len(collection), dtype=torch.long)

    def predicted(rows: Tensor) -> Tensor:
        return model.encoder(_images(collection.views[rows, view[rows]], device))

    scores = _iou(model.decoder, collection, predicted, device, threshold)
    metrics = {"iou": float(scores.mean())}
    for category in collection.categories.unique().tolist():
        metrics[f"iou/{category}"] = float(scores[collection.categories == category].mean())
    return metrics


class _Batches:
    """Random examples of a collection, the same for the same seed."""

    def __init__(self, collection: Collection, schedule: Schedule, device: str) -> None:
        self.collection, self.schedule, self.device = collection, schedule, device
        self.random = torch.Generator().manual_seed(schedule.seed)
        self._order = self._epoch()

    def _epoch(self) -> Iterator[Tensor]:
        count, batch = len(self.collection), min(self.schedule.batch, len(self.collection))
        while True:
            order = torch.randperm(count, generator=self.random)
            yield from order[: count // batch * batch].split(batch)

    def rows(self) -> Tensor:
        return next(self._order)

    def views(self, rows: Tensor) -> Tensor:
        view = torch.randint(self.collection.views.shape[1], rows.shape, generator=self.random)
        images = _images(self.collection.views[rows, view], self.device)
        # Real pictures are lit and exposed in ways that the renderer does not know.
        gain = 1 + 0.3 * (torch.rand(len(rows), 1, 1, 1, generator=self.random) - 0.5)
        return (images * gain.to(self.device)).clamp(0, 1)

    def loss(self, decoder: Decoder, latents: Tensor, rows: Tensor) -> Tensor:
        windows = (POINTS - self.schedule.points) // 8 + 1
        start = 8 * int(torch.randint(windows, (), generator=self.random))
        points, inside = self.collection.labelled_points(rows, self.schedule.points, start)
        field = decoder(points.to(self.device), latents).float() - decoder.level(0.5)
        return functional.binary_cross_entropy_with_logits(field, inside.to(self.device))


def _images(views: Tensor, device: str) -> Tensor:
    """The network's input float32[B, 1, 128, 128] from uint8[B, 128, 128]."""
    return views.to(device).float().div_(255).unsqueeze(1)


def _run(
    name: str,
    steps: int,
    rate: float,
    modules: list[nn.Module],
    loss_of_batch: Callable[[], Tensor],
    device: str,
    report: Report,
) -> None:
    """`steps` steps of AdamW on `modules`, in bfloat16 where the matrix products allow it."""
    if not steps:
        return
    for module in modules:
        module.train()
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-4, fused=True)
    warm_up = min(100, steps // 10 + 1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * step / steps)))
    )
    started, total = time.monotonic(), 0.0
    every = max(1, min(100, steps // 10))
    for step in range(1, steps + 1):
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=_has_bfloat16(device)):
            loss = loss_of_batch()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        scheduler.step()
        total += float(loss.detach())
        if step % every == 0:
            rate_now = step / (time.monotonic() - started)
            report(f"{name}: step {step} of {steps}, loss {total / every:.4f}, {rate_now:.2f} steps/s")
            total = 0.0
    for module in modules:
        module.eval()


def _has_bfloat16(device: str) -> bool:
    """Whether bfloat16 is native: elsewhere it is emulated, and slower than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@torch.inference_mode()
def _latents(voxel_encoder: VoxelEncoder, collection: Collection, device: str) -> Tensor:
    """float32[count, latent_size]: what the image encoder is to regress."""
    voxel_encoder.eval()
    rows = torch.arange(len(collection)).split(32)
    return torch.cat([voxel_encoder(collection.voxel_grid(part).to(device)) for part in rows]).clone()


@torch.inference_mode()
def _iou(
    decoder: Decoder,
    collection: Collection,
    latents_of: Callable[[Tensor], Tensor],
    device: str,
    threshold: float = 0.5,
) -> Tensor:
    """float32[count]: intersection over union of predicted and true labels over each object's points."""
    decoder.eval()
    scores = []
    for rows in torch.arange(len(collection)).split(32):
        points, inside = collection.labelled_points(rows, POINTS, 0)
        predicted = (decoder(points.to(device), latents_of(rows)).float() > decoder.level(threshold)).cpu()
        both, either = (predicted & (inside > 0)).sum(1), (predicted | (inside > 0)).sum(1)
        scores.append(both / either.clamp_min(1))
    return torch.cat(scores)


def _mean_iou(decoder: Decoder, collection: Collection, latents_of: Callable[[Tensor], Tensor], device: str) -> float:
    return float(_iou(decoder, collection, latents_of, device).mean())
