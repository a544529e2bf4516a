"""The arithmetic that this machine is fast at, and the memory that its compute kernels may keep.

torch is imported only where it is asked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from lightning_ita.errors import UserError

if TYPE_CHECKING:
    import torch

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


def choose_device(name: str | None) -> torch.device:
    """Returns the device of a name such as ``cpu``, ``cuda:1``, ``mps``; without one, the accelerator if there is one.

    Raises:
        UserError: There is no such device here.
    """
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name is None:
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device {name!r} is unknown; known are cpu, cuda, cuda:1 and the like, mps, xpu") from None
    if device.type != "cpu" and (accelerator is None or device.type != accelerator.type):
        raise UserError(f"device {name!r} is not available here; there is {accelerator or 'only the cpu'}")
    return device


def has_float64(device: torch.device) -> bool:
    """Tells whether a device computes in float64: Apple GPUs do not, nor do some Intel GPUs."""
    if device.type == "xpu":
        import torch

        return bool(torch.xpu.get_device_properties(device).has_fp64)
    return device.type != "mps"


def bound_kernel_cache() -> None:
    """Lets oneDNN keep 256 compiled kernels, in this process (before its first product) and in those it starts.

    Batches of many lengths fill its cache: within its own bound, 1024 kernels, it grows to half a GiB and is no faster.
    With 64, those of one batch do not stay until the next one.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
