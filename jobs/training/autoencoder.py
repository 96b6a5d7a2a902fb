"""The voxel encoder: the half of the autoencoder that only training needs.

Works on: occupancy grids float32[B, 1, 64, 64, 64]. Knows nothing about pictures. Five 4³ convolutions to the latent
as in IM-NET: four that halve the grid, the last over what is left, through a sigmoid.
"""

import torch
from torch import Tensor, nn

from workers.decoder import LEAK


class VoxelEncoder(nn.Module):
    """Latents from voxel grids; `width` is the channels of the first layer (the paper's: 32)."""

    def __init__(self, latent_size: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for stage in range(4):
            layers += [
                nn.Conv3d(channels, width * 2**stage, 4, stride=2, padding=1),
                nn.InstanceNorm3d(width * 2**stage),
                nn.LeakyReLU(LEAK),
            ]
            channels = width * 2**stage
        self.layers = nn.Sequential(*layers, nn.Conv3d(channels, latent_size, 4))

    def forward(self, voxels: Tensor) -> Tensor:
        """`voxels` float32[B, 1, 64, 64, 64] → latents float32[B, latent_size] in (0, 1)."""
        return torch.sigmoid(self.layers(voxels).flatten(1))
