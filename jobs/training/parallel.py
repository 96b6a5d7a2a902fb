"""Batch statistics over all workers, so that several of them train as one would on the whole batch.

Works on: networks, and `torch.distributed`'s default group. Knows nothing about what they learn.

PyTorch's own SyncBatchNorm is for GPUs alone, and a split batch's statistics on each processor would be another
training.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn


class _Sum(torch.autograd.Function):
    """The sum over all workers; so is its gradient's."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class GlobalBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose batch is that of all workers together, each with as many rows."""

    def forward(self, value: Tensor) -> Tensor:
        """`value` [B, C, H, W] normalised, in its own type."""
        if not self.training:
            return super().forward(value)
        wide = value.float()
        count = value.numel() // value.shape[1] * distributed.get_world_size()
        mean = _Sum.apply(wide.sum((0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            momentum = self.momentum or 0.0
            self.running_mean.lerp_(mean, momentum)  # type: ignore[union-attr]
            self.running_var.lerp_(variance * (count / max(1, count - 1)), momentum)  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(value.dtype)


def synchronise(networks: nn.Module) -> None:
    """Give every BatchNorm2d in `networks` the statistics of all workers' batches."""
    for module in networks.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlobalBatchNorm
