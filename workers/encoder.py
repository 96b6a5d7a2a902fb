"""The image encoder: a picture's 128×128 grey values to the latent of the object that it shows.

Works on: float32 tensors [B, 1, 128, 128] as `images.prepare` makes them. Knows nothing about files, points or meshes.

ResNet-18's layout as in IM-NET's single-view reconstruction: 7×7/2 stem without max-pool, eight basic blocks with
LeakyReLU, a 4×4/2 convolution and a 4×4 valid convolution to the latent, through a sigmoid.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, conv1x1

from workers.decoder import LEAK

IMAGE_SIZE = 128


class Encoder(nn.Module):
    """Latents from pictures; `width` is the stem's number of channels (the paper's: 64)."""

    def __init__(self, latent_size: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(LEAK)
        )
        blocks = []
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            for _ in range(2):
                blocks.append(_block(inputs, outputs))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.Conv2d(inputs, inputs, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(inputs),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(inputs, latent_size, 4),
        )

    def forward(self, images: Tensor) -> Tensor:
        """`images` float32[B, 1, 128, 128], 0 = background, → latents float32[B, latent_size] in (0, 1)."""
        return torch.sigmoid(self.head(self.blocks(self.stem(images))).flatten(1))


def _block(inputs: int, outputs: int) -> BasicBlock:
    """torchvision's basic block with the paper's activation; it halves the picture where the channels change."""
    halve = inputs != outputs
    downsample = nn.Sequential(conv1x1(inputs, outputs, 2), nn.BatchNorm2d(outputs)) if halve else None
    block = BasicBlock(inputs, outputs, stride=2 if halve else 1, downsample=downsample)
    block.relu = nn.LeakyReLU(LEAK)
    return block


@torch.inference_mode()
def encode(encoder: Encoder, images: Tensor, batch: int) -> Tensor:
    """Latents float32[B, latent_size] of `images` float32[B, 128, 128], in batches of exactly `batch`, zero-padded.

    The fixed shape keeps an image's latent the same whoever its neighbours are.
    """
    latents = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        padded = images.new_zeros(batch, 1, *images.shape[1:])
        padded[: len(part), 0] = part
        latents.append(encoder(padded)[: len(part)])
    return torch.cat(latents)


@torch.inference_mode()
def fuse(latents: Tensor, counts: Sequence[int]) -> Tensor:
    """One latent an object, float32[len(counts), latent_size], of `latents` float32[sum(counts), latent_size], of which
    the first `counts[0]` are of the first object's views, and so on. That of one view is itself.
    """
    return torch.stack([views.mean(dim=0, dtype=torch.float64) for views in latents.split(list(counts))]).float()
