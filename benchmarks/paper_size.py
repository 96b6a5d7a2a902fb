"""A decoder of the paper's size that has shapes in it: the embedded one, widened without changing its function.

Works on: decoders. Knows nothing about pictures or lattices. Random weights of that size would have no surface of
a trained shape's kind, and training takes days; what a decoder costs depends on its sizes alone.
"""

from dataclasses import replace

import torch

from workers.decoder import Decoder
from workers.weights import Bundle

PAPER_WIDTH = 128


def widen(decoder: Decoder, factor: int, seed: int = 0) -> Decoder:
    """The same function in layers `factor` times as wide (Chen et al., "Net2Net", ICLR 2016: Net2WiderNet).

    Every hidden unit becomes `factor` copies of itself. What reads it reads the copies in random shares that sum to
    one, and each copy is scaled by a random positive number, which LeakyReLU passes through and its readers divide
    out: so no two copies round alike. The values differ from `decoder`'s by rounding alone.
    """
    if factor < 1:
        raise ValueError(f"factor is {factor}; it must be at least 1")
    random = torch.Generator().manual_seed(seed)
    width = decoder.layers[-2].out_features
    wide = Decoder(decoder.family, decoder.latent_size, width * factor)
    scales = torch.ones(0)  # of the copies in the previous layer
    with torch.no_grad():
        for number, (old, new) in enumerate(zip(decoder.layers, wide.layers, strict=True)):
            hidden = len(scales) // factor
            shares = torch.rand(hidden, factor, generator=random) + 0.5
            shares /= shares.sum(dim=1, keepdim=True)
            columns = old.weight[:, :hidden].repeat_interleave(factor, dim=1) * shares.flatten() / scales
            columns = torch.cat([columns, old.weight[:, hidden:]], dim=1)
            copies = factor if number < len(decoder.layers) - 1 else 1
            scales = torch.ones(1)
            if copies > 1:
                scales = torch.exp(0.5 * torch.randn(old.out_features * copies, generator=random))
            new.weight.copy_(columns.repeat_interleave(copies, dim=0) * scales[:, None])
            new.bias.copy_(old.bias.repeat_interleave(copies) * scales)
    return wide.eval().requires_grad_(False)


def paper_size(bundle: Bundle) -> Bundle:
    """`bundle` (and its digest) with the decoder widened to the paper's size, which its width must divide."""
    width = bundle.config.decoder_width
    if PAPER_WIDTH % width:
        raise ValueError(f"the decoder's width is {width}, which does not divide the paper's {PAPER_WIDTH}")
    config = bundle.config.model_copy(update={"decoder_width": PAPER_WIDTH})
    return replace(bundle, config=config, decoder=widen(bundle.decoder, PAPER_WIDTH // width))
