"""What the decoder's large products are computed in: float32, or bfloat16 where the processor has it.

Works on: the processor that this process runs on. Knows nothing about decoders.
"""

from typing import Literal

import torch

from cluster.errors import RequestError

Precision = Literal["float32", "bfloat16"]

# Decoders narrower than this gain nothing: measured with the embedded one (32), whose products are too small.
LEAST_WIDTH = 64


def is_native(device: str) -> bool:
    """Whether the processor multiplies bfloat16 itself: AVX512-BF16 or AMX on a CPU, compute capability 8 on a GPU."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def choose(asked: Literal["auto", "float32", "bfloat16"], device: str, width: int) -> Precision:
    """What to compute in on `device` with a decoder of `width` (`decoder_width` in its configuration).

    Raises RequestError for bfloat16 where the processor would only emulate it.
    """
    if asked == "float32":
        return "float32"
    if is_native(device):
        return "bfloat16" if asked == "bfloat16" or width >= LEAST_WIDTH else "float32"
    if asked == "auto":
        return "float32"
    raise RequestError(
        "reconstruct.precision is bfloat16, which a node's processor does not have (AVX512-BF16, AMX, or a GPU of "
        "compute capability 8.0 or more); set it to float32 or auto"
    )
