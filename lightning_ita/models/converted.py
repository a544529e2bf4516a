"""Models for prediction whose weights are in bfloat16 already.

Autocast converts the weights in every call, which takes a third of the time of tagging a short post.
"""

from __future__ import annotations

import copy
import threading
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)
# By encoder: what its weights were when they were converted, and the encoder with converted weights.
_CONVERTED: WeakKeyDictionary[nn.Module, tuple[Any, nn.Module]] = WeakKeyDictionary()
_CONVERTING = threading.Lock()


def converted(model: _Module) -> _Module:
    """Returns a model that computes the same under autocast to bfloat16, without converting its encoder's weights.

    The weights and biases of the linear layers of its ``encoder`` are in bfloat16; all else is shared with the model.
    They are converted when this is called first, and again where they have changed or moved since. Without gradients
    only. Several threads may call this at once.

    Args:
        model: The model, in evaluation mode; returned as it is where it has no ``encoder``, or a compiled one.
    """
    encoder = model._modules.get("encoder")
    if encoder is None or encoder._compiled_call_impl is not None:
        return model
    with _CONVERTING:
        state = _state(encoder)
        known, twin = _CONVERTED.get(encoder, (None, encoder))
        if known != state:
            twin = _linear_in_bfloat16(encoder)
            _CONVERTED[encoder] = (state, twin)
    result = copy.copy(model)
    result._modules = {**model._modules, "encoder": twin}
    return result


def _state(encoder: nn.Module) -> list[Any]:
    """Returns what is different when a weight has been changed, replaced or moved.

    An element of each is looked at, too: steps of fused optimisers, and what is done to ``weight.data``, leave no trace
    in the version that torch counts. A change by such means of a few elements is not seen.
    """
    weights = [weight for module in encoder.modules() if type(module) is nn.Linear for weight in module.parameters()]
    if not weights:
        return []
    elements = torch.stack([weight.detach().flatten()[weight.numel() // 2] for weight in weights])
    places = [(w.device, w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights]
    return [*places, *elements.tolist()]


def _linear_in_bfloat16(module: nn.Module) -> nn.Module:
    """Returns a copy of a module that shares everything with it but the parameters of linear layers."""
    twin = copy.copy(module)
    twin._modules = {name: child and _linear_in_bfloat16(child) for name, child in module._modules.items()}
    if type(module) is nn.Linear:
        twin._parameters = {
            name: None if weight is None else nn.Parameter(weight.detach().to(torch.bfloat16), requires_grad=False)
            for name, weight in module._parameters.items()
        }
    return twin
