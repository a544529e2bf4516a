"""Checks of a loaded encoder: that its weights are the file's, and that it reads views as tagging needs them.

transformers fills tensors that it does not find in a file with random numbers, and says so only in its log; and what a
family's forward takes, and how long an input, is known for certain only once it was tried.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from lightning_ita.errors import UserError
from lightning_ita.models.encoders.locating import EncoderShape
from lightning_ita.text import quoted

# Parts that tagging makes no use of: sentence vectors, and ESM's contacts between amino acids.
_UNUSED = re.compile(r"(pooler|contact_head)\.")
# Constants that old versions of transformers saved.
_CONSTANTS = re.compile(r"(^|\.)(position_ids|token_type_ids)$")
# Families with one and the same forward, which often stand for each other.
_ROBERTA = frozenset({"camembert", "roberta", "xlm-roberta"})
# Names of tensors that an error lists.
_MOST_NAMES = 5
# Sub-tokens of the short view that is tried, and where two of them differ.
_SHORT, _PLACE = 8, 4
# Longest view that is tried: tables of positions are shorter, and so are tweets with their contexts.
_LONGEST = 8192


def check_family(name: str, config: Any) -> None:
    """Checks that the model class and the family named in a configuration belong together.

    Raises:
        UserError: They do not: the weights would be read as those of another family.
    """
    for architecture in config.architectures or ():
        model = getattr(transformers, architecture, None) if isinstance(architecture, str) else None
        family = getattr(getattr(model, "config_class", None), "model_type", config.model_type)
        if family != config.model_type and not {family, config.model_type} <= _ROBERTA:
            raise UserError(
                f"config.json of encoder {quoted(name)} contradicts itself: model_type is {config.model_type!r}, but "
                f"{architecture} in architectures is of the family {family!r}; set model_type to what the weights are"
            )


def check_weights(name: str, encoder: Any, info: Mapping[str, Collection[Any]]) -> None:
    """Checks that a file of weights had each tensor of an encoder, in its shape, and no other of its parts.

    Tensors that belong to no part of the encoder are those of heads (``cls.predictions``, ``lm_head``, ``classifier``)
    and are left out, as is a pooler that the file does not have.

    Args:
        name: The encoder's name.
        encoder: The encoder as transformers loaded it.
        info: `output_loading_info` of transformers.

    Raises:
        UserError: Tensors are missing, have another shape, or belong to a part of the encoder that does not have them.
    """
    parts = {part for part, _ in encoder.named_children()}
    prefix = f"{encoder.base_model_prefix}."
    missing = [key for key in info["missing_keys"] if not _UNUSED.match(key)]
    other = [f"{key} {list(there)}, not {list(here)}" for key, there, here in info["mismatched_keys"]]
    unexpected = [
        key
        for key in info["unexpected_keys"]
        if key.removeprefix(prefix).partition(".")[0] in parts and not _CONSTANTS.search(key)
    ]
    faults = {"missing": missing, "of another shape": other, "not of this encoder": unexpected}
    if any(faults.values()):
        found = "; ".join(f"{fault}: {_listed(keys)}" for fault, keys in faults.items() if keys)
        raise UserError(
            f"the weights of encoder {quoted(name)} are not those that its config.json describes ({found}). "
            f"Check model_type and sizes there, or save weights and configuration again, together."
        )


def _listed(keys: Sequence[str]) -> str:
    shown = ", ".join(sorted(keys)[:_MOST_NAMES])
    return shown if len(keys) <= _MOST_NAMES else f"{shown} and {len(keys) - _MOST_NAMES} more"


def check_reading(name: str, encoder: Any, shape: EncoderShape, longest: int) -> None:
    """Tries an encoder on made-up views: short ones, and one of full length through its first layer.

    Args:
        name: The encoder's name.
        encoder: The encoder; left in training mode.
        shape: Its sizes.
        longest: Longest view that it will be given, in sub-tokens.

    Raises:
        UserError: It fails, does not return a state per sub-token, its words do not see each other in both directions,
            or views of full length are too long; says which length works.
    """
    longest = min(longest, _LONGEST)
    padding = encoder.config.pad_token_id or 0
    # Any sub-tokens but padding, from the middle of the vocabulary: special tokens stand at its ends.
    ids = torch.arange(max(longest, _SHORT)) % 3 + shape.vocabulary // 2
    ids[ids == padding] += 3
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            _check_states(name, encoder.eval(), ids[:_SHORT], shape.hidden, padding)
            encoder.train()(input_ids=ids[None, :_SHORT], attention_mask=torch.ones(1, _SHORT, dtype=torch.int64))
        except UserError:
            raise
        except Exception as error:
            raise _unusable(
                name, encoder, f"given sub-tokens and their mask alone, it fails with {type(error).__name__}: {error}"
            ) from error
        # In evaluation mode: with dropout, attention on CPUs holds the scores of all pairs of sub-tokens in memory.
        encoder.eval()
        _check_length(name, lambda length: _through_first_layer(encoder, ids[None, :length]), longest)
        encoder.train()


def _check_states(name: str, encoder: Any, ids: Tensor, width: int, padding: int) -> None:
    """Checks the states of a short view: their shape, what they depend on, and what they must not depend on."""
    other = ids.clone()
    other[_PLACE] = ids[_PLACE - 1]
    rows = torch.stack([ids, other])
    output = encoder(input_ids=rows, attention_mask=torch.ones_like(rows))
    states = getattr(output, "last_hidden_state", None)
    if states is None or states.shape != (*rows.shape, width):
        found = "none" if states is None else f"states of shape {list(states.shape[1:])}"
        reason = f"for a view of {_SHORT} sub-tokens it returns {found}, not {_SHORT} states of width {width}"
        raise _unusable(name, encoder, reason)
    if not states.isfinite().all():
        raise UserError(f"encoder {quoted(name)} returns states that are not finite; its weights are damaged")
    changed = (states[0] != states[1]).any(-1)
    if not changed[:_PLACE].any() or not changed[_PLACE + 1 :].any():
        seen = "from left to right only" if changed[_PLACE + 1 :].any() else "without attention on this machine"
        reason = f"it reads {seen}, so that a tweet's words do not see the context that follows them"
        raise _unusable(name, encoder, reason)
    padded = ids[None].clone()
    padded[0, _PLACE:] = padding
    beside = encoder(input_ids=padded, attention_mask=(torch.arange(_SHORT) < _PLACE).long()[None]).last_hidden_state
    alone = encoder(input_ids=ids[None, :_PLACE], attention_mask=torch.ones(1, _PLACE).long()).last_hidden_state
    # Rounding makes a difference of some 1e-6.
    if (beside[:, :_PLACE] - alone).abs().max() > 1e-3 * alone.std():
        warnings.warn(
            f"encoder {name!r} of the family {encoder.config.model_type!r}: the states of a tweet depend on the "
            f"padding behind it, and so on the tweets that it shares a batch with",
            stacklevel=4,
        )


def _unusable(name: str, encoder: Any, reason: str) -> UserError:
    return UserError(f"encoder {quoted(name)} of the family {encoder.config.model_type!r} cannot be used: {reason}")


def _check_length(name: str, read: Callable[[int], None], longest: int) -> None:
    failure = _failure(read, longest)
    if failure is None:
        return
    works, fails = _SHORT, longest
    while fails - works > 1:
        middle = (works + fails) // 2
        if _failure(read, middle) is None:
            works = middle
        else:
            fails = middle
    raise UserError(
        f"encoder {quoted(name)} does not take views of {longest} sub-tokens, though its configuration says so "
        f"({type(failure).__name__}: {failure}); views of up to {works} work: give --recipe.max_length {works}"
    ) from failure


def _failure(read: Callable[[int], None], length: int) -> Exception | None:
    try:
        read(length)
    except Exception as error:
        return error
    return None


class _FirstLayerDone(Exception):  # noqa: N818, no error
    """The first layer has run."""


def _through_first_layer(encoder: nn.Module, ids: Tensor) -> None:
    """Runs an encoder up to its first layer: limits of length lie in embeddings and attention, which are then done."""
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList) and len(module)]
    layers = max(lists, key=len, default=None)
    hook = layers[0].register_forward_hook(_stop) if layers is not None else None
    try:
        encoder(input_ids=ids, attention_mask=torch.ones_like(ids))
    except _FirstLayerDone:
        pass
    finally:
        if hook is not None:
            hook.remove()


def _stop(*_: Any) -> None:
    raise _FirstLayerDone
