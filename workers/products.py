"""Matrix products of the decoder's layers, by the fastest way that PyTorch has for the device.

Works on: tensors. Knows nothing about decoders or points.

On x86 PyTorch gives a float32 product to MKL, which takes its AVX2 path on AMD processors: measured on a Zen 5, half
of what oneDNN makes of the same product. oneDNN is in PyTorch too, and this is the operator that `torch.compile`
itself emits for a linear layer, with bias and activation in the same pass. Where a build lacks it, `linear` serves.
"""

import torch
from torch import Tensor
from torch.nn import functional

LEAK = 0.02  # slope of LeakyReLU in both families of decoders

_FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None, *, leaky: bool = False) -> Tensor:
    """`rows` [M, K] times `weight` [N, K] transposed, plus `bias` [N]; `leaky` applies LeakyReLU."""
    if _FUSED and rows.device.type == "cpu":
        activation = ("leaky_relu", [LEAK], "") if leaky else ("none", [], "")
        return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, *activation)
    product = functional.linear(rows, weight, bias)
    return functional.leaky_relu_(product, LEAK) if leaky else product


def add_linear(start: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """`start` [M, N] plus `rows` [M, K] times `weight` [N, K] transposed; `start` may be overwritten. K may be 0."""
    if not rows.shape[1]:  # a region in which no unit of a narrow layer bends; oneDNN has no such product
        return start
    if _FUSED and rows.device.type == "cpu":
        return torch.ops.mkldnn._linear_pointwise.binary(rows, start, weight, None, "add")
    return start.addmm_(rows, weight.T)
