"""A decoder of the paper's size that has shapes in it: the embedded one, widened without changing its function.

Works on: decoders. Knows nothing about pictures or lattices. Random weights of that size would have no surface of
a trained shape's kind, and training takes days; what a decoder costs depends on its sizes alone.
"""

from dataclasses import replace

import torch

from workers.decoder import Decoder
from workers.weights import Bundle

PAPER_WIDTH = 128


def widen(decoder: Decoder, width: int, seed: int = 0) -> Decoder:
    """The same function in layers as wide as a decoder of `width`'s, which is not less than `decoder`'s (Chen et al.,
    "Net2Net", ICLR 2016: Net2WiderNet).

    Every hidden unit becomes one or more copies of itself. What reads it reads the copies in random shares that sum to
    one, and each copy is scaled by a random positive number, which LeakyReLU passes through and its readers divide
    out: so no two copies round alike. The values differ from `decoder`'s by rounding alone.
    """
    if width < decoder.layers[-2].out_features:
        raise ValueError(f"width is {width}; the decoder's is {decoder.layers[-2].out_features}, and it can but grow")
    random = torch.Generator().manual_seed(seed)
    wide = Decoder(decoder.family, decoder.latent_size, width)
    copied, scales = torch.empty(0, dtype=torch.long), torch.empty(0)  # of the previous layer: the units' originals
    with torch.no_grad():
        for old, new in zip(decoder.layers, wide.layers, strict=True):
            hidden = int(copied[-1]) + 1 if len(copied) else 0
            shares = torch.rand(len(copied), generator=random) + 0.5
            shares /= torch.zeros(hidden).index_add(0, copied, shares)[copied]
            columns = torch.cat([old.weight[:, copied] * shares / scales, old.weight[:, hidden:]], dim=1)
            copied = torch.arange(new.out_features) * old.out_features // new.out_features
            scales = torch.ones(1)
            if new.out_features > 1:
                scales = torch.exp(0.5 * torch.randn(new.out_features, generator=random))
            new.weight.copy_(columns[copied] * scales[:, None])
            new.bias.copy_(old.bias[copied] * scales)
    return wide.eval().requires_grad_(False)


def paper_size(bundle: Bundle) -> Bundle:
    """`bundle` (and its digest) with the decoder widened to the paper's size."""
    config = bundle.config.model_copy(update={"decoder_width": PAPER_WIDTH})
    return replace(bundle, config=config, decoder=widen(bundle.decoder, PAPER_WIDTH))
