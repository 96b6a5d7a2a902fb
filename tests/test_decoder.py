"""The decoder's evaluation: precision, chunks, and that a value is its own key's alone."""

import pytest
import torch

from benchmarks.paper_size import widen
from workers.decoder import Decoder, Family


@pytest.mark.parametrize("family", ["imnet-2019", "imnet-improved"])
@torch.inference_mode()
def test_a_widened_decoder_is_the_same_function(family: Family) -> None:
    torch.manual_seed(1)
    decoder = Decoder(family, 16, 8).eval()
    for weights in decoder.parameters():
        weights *= 3  # as initialised, the output hardly depends on the point
    points, latents = torch.rand(2, 200, 3) - 0.5, torch.rand(2, 16)
    wide = widen(decoder, 3, seed=1)
    assert wide.layers[-1].in_features == 24
    expected = decoder(points, latents)
    assert expected.std() > 0.1
    torch.testing.assert_close(wide(points, latents), expected, rtol=0, atol=1e-4 * float(expected.std()))
