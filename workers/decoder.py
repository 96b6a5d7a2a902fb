"""The implicit decoder: is this point inside the object that this latent describes?

Works on: latents and points as tensors, on any device. Knows nothing about pictures, lattices' neighbours,
meshes or where it runs.

IM-NET (Chen & Zhang, "Learning Implicit Fields for Generative Shape Modeling", CVPR 2019) in two families:
`imnet-2019` is the paper's decoder, whose input (point and latent) is concatenated again to layers 2 to 5;
`imnet-improved` is the authors' later one, without skips and with a leaky clamp instead of the sigmoid.
Both are evaluated in split form: the latent's share of a layer is the same for every point of a shape, so it is
computed once a shape and added as a bias.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.chunks import Chunks
from workers.grid import Lattice
from workers.products import LEAK
from workers.regions import Prepared, Regions

Family = Literal["imnet-2019", "imnet-improved"]

# Chunks are padded to this many points. A CPU's products reach 95 % of their best rate with 256 rows, and more are
# mostly padding at 64³; a GPU needs enough of them to fill it.
CHUNK_POINTS = {"cpu": 256, "cuda": 65_536}

_WIDTHS: dict[str, tuple[int, ...]] = {  # hidden layers, in units of decoder_width
    "imnet-2019": (16, 8, 4, 2, 1),
    "imnet-improved": (8, 8, 8, 4, 2, 1),
}


class Decoder(nn.Module):
    """Fully connected implicit decoder; layers are named `linear_1 … linear_n` as upstream.

    A layer's input columns are the previous layer's output (none for the first), then the point's 3, then the
    latent's: upstream's order.
    """

    def __init__(self, family: Family, latent_size: int, width: int) -> None:
        super().__init__()
        self.family = family
        self.latent_size = latent_size
        sizes = [width * factor for factor in _WIDTHS[family]]
        previous = 0
        for number, size in enumerate([*sizes, 1], start=1):
            conditioned = number == 1 or (family == "imnet-2019" and number <= len(sizes))
            self.add_module(f"linear_{number}", nn.Linear(previous + (3 + latent_size) * conditioned, size))
            previous = size
        self.layers: list[nn.Linear] = list(self.children())  # type: ignore[arg-type]

    def biases(self, latents: Tensor) -> list[Tensor]:
        """The latent's share of every layer, bias included.

        `latents` float32[S, latent_size] → for each layer float32[S, width of the layer], or [1, width] where the
        latent does not enter.
        """
        shares = []
        hidden = 0
        for layer in self.layers:
            if layer.in_features == hidden:
                shares.append(layer.bias.unsqueeze(0))
            else:
                shares.append(functional.linear(latents, layer.weight[:, hidden + 3 :], layer.bias))
            hidden = layer.out_features
        return shares

    def forward(self, points: Tensor, latents: Tensor) -> Tensor:
        """Pre-activation float32[S, P] at points float32[S, P, 3] of S shapes with latents float32[S, latent_size].

        It rises with occupancy; `occupancy()` turns it into [0, 1].
        """
        count = points.shape[1]
        # What a point and its latent add to a layer is one product with four columns, x, y, z and 1: measured, an
        # eighth less time for a step of training than three terms that each walk through all rows.
        placed = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
        value = points
        hidden = 0
        for layer, bias in zip(self.layers, self.biases(latents), strict=True):
            if layer.in_features == hidden:
                value = torch.addmm(bias, value, layer.weight.T)
            else:
                place = layer.weight[:, hidden : hidden + 3].T.to(bias.dtype)
                columns = torch.cat([place.expand(len(points), -1, -1), bias.unsqueeze(1)], dim=1)
                share = torch.bmm(placed, columns).flatten(0, 1)
                value = share if hidden == 0 else torch.addmm(share, value, layer.weight[:, :hidden].T)
            if layer is not self.layers[-1]:
                value = functional.leaky_relu(value, LEAK)
            hidden = layer.out_features
        return value.view(-1, count)

    def occupancy(self, pre_activation: Tensor) -> Tensor:
        """The family's output activation: sigmoid, or the authors' leaky clamp `max(min(h, 0.01h + 0.99), 0.01h)`."""
        if self.family == "imnet-2019":
            return torch.sigmoid(pre_activation)
        return torch.maximum(torch.minimum(pre_activation, 0.01 * pre_activation + 0.99), 0.01 * pre_activation)

    def level(self, threshold: float) -> float:
        """The pre-activation at which the occupancy equals `threshold`, which lies strictly between 0 and 1."""
        if self.family == "imnet-2019":
            return math.log(threshold / (1 - threshold))
        return threshold  # the leaky clamp is the identity on [0, 1]


class LatticeField:
    """A decoder as a function of lattice keys: what `isosurface.extract` evaluates.

    The value is the pre-activation minus the threshold's: positive inside. It is monotone in the occupancy, so its
    zero is the same surface, and it is not saturated, so linear interpolation along an edge lands closer to it.

    On a CPU points are evaluated by regions, elsewhere as they come. Products always have the same number of rows, so
    a point's value does not depend on how many others were asked for.
    """

    def __init__(
        self,
        decoder: Decoder,
        latents: Tensor,
        lattice: Lattice,
        threshold: float,
        chunk_points: int,
        prepared: Prepared | None = None,
    ) -> None:
        """`latents` float32[S, latent_size] on the decoder's device: one for each shape that a key can name.

        `prepared` are the decoder's weights, made ready once in the precision wanted; without, here, in float32.
        """
        self.lattice = lattice
        self.level = decoder.level(threshold)
        # One latent at a time: a product's rounding depends on its number of rows, and so on the neighbours.
        with torch.inference_mode():
            prepared = prepared or Prepared(decoder)
            shares = [decoder.biases(latent) for latent in latents.split(1)]
            biases = [torch.cat(layer) for layer in zip(*shares, strict=True)]
            evaluator = Regions if latents.device.type == "cpu" else Chunks
            self._evaluate = evaluator(prepared, biases, lattice, chunk_points)

    @torch.inference_mode()
    def __call__(self, keys: Tensor) -> Tensor:
        """Field float32[P] at `keys` int64[P], sorted themselves or by `together`."""
        return self._evaluate(keys, None).sub_(self.level)

    def together(self, keys: Tensor) -> Tensor:
        """A number int64[P] for each of `keys`: those with equal or near ones cost less when asked for together."""
        return self._evaluate.together(keys)

    @torch.inference_mode()
    def between(self, keys: Tensor, axis: int, t: Tensor) -> Tensor:
        """Field float32[P] at `t` float32[P], 0 … 1, of the way from `keys` to their neighbours along `axis`."""
        ahead = t.new_zeros(len(keys), 3)
        ahead[:, axis] = t
        return self._evaluate(keys, ahead).sub_(self.level)
