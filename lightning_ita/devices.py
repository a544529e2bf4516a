"""The arithmetic a model runs in, decided by what this machine is fast at; torch is imported only to decide."""

from __future__ import annotations

from typing import Literal

# auto: bfloat16 where the processor multiplies matrices in it, else float32.
Precision = Literal["auto", "float32", "bfloat16"]


def available_precision(precision: Precision) -> Precision:
    """Decides ``auto``: bfloat16 where this machine multiplies matrices in it, else float32."""
    if precision != "auto":
        return precision
    import torch

    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # torch does not publish this yet; without it float32 is right everywhere.
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        fast = supported is not None and supported()
    return "bfloat16" if fast else "float32"
