"""The decoder as its authors published it: point and latent concatenated for every point and every layer, in float32.

Works on: a `Decoder`'s weights. Knows nothing about splitting a layer in the latent's share and the point's, which is
what `workers.decoder` does and what this is measured against.
"""

import torch
from torch import Tensor
from torch.nn import functional

from workers.decoder import LEAK, Decoder


@torch.inference_mode()
def field(decoder: Decoder, points: Tensor, latent: Tensor) -> Tensor:
    """Pre-activation float32[P] at points float32[P, 3] of the shape with latent float32[latent_size]."""
    given = torch.cat([points, latent.expand(len(points), -1)], dim=1)
    value = given[:, :0]
    for layer in decoder.layers:
        if layer.in_features != value.shape[1]:
            value = torch.cat([value, given], dim=1)
        value = functional.linear(value, layer.weight, layer.bias)
        if layer is not decoder.layers[-1]:
            value = functional.leaky_relu(value, LEAK)
    return value[:, 0]
