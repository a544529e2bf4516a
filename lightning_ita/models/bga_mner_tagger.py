"""The model of BGA-MNER: a text tower and a picture tower of equal depth, and generators between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ita.models.blocks.generation import Generator, Queries, divergence, mean_where, softened
from lightning_ita.models.blocks.sampler import Sampler
from lightning_ita.models.blocks.towers import PreNormLayer, bert_layer, check_like_bert
from lightning_ita.models.packing import position_offset
from lightning_ita.models.visual_tagger import SeeingTagger

# A layer as a tower sees it: states and generated states in, states out.
Layer = Callable[[Tensor, Tensor], Tensor]


@dataclass(slots=True)
class Tower:
    """One modality by level: level 0 are its embeddings, level l what layer l returns.

    Attributes:
        mask: bool (batch, length), True where there is a state.
        queries: As many as the length of the other modality, by which it is generated.
        states: (batch, length, width) by level.
        keep: float32 (batch, length) by level: from which states the other modality is generated.
        generated: (batch, length of the other modality, width) by level: the other modality, generated from these.
    """

    mask: Tensor
    queries: Queries
    states: list[Tensor] = field(default_factory=list)
    keep: list[Tensor] = field(default_factory=list)
    generated: list[Tensor] = field(default_factory=list)


class BGAMNER(SeeingTagger):
    """Two towers of Transformer layers, each of which reads what the other modality is like as its own states tell.

    With T and V the states of text and picture, T̂ and V̂ generated ones::

        T_l = TextLayer_l(T_{l-1}; V̂_{l-1})      V̂_l = G_v(T_l, those kept)
        V_l = PictureLayer_l(V_{l-1}; T̂_{l-1})   T̂_l = G_t(V_l, those kept)

    The text tower is the encoder. It reads V̂ and never V, so that no picture plays a part at test; what pictures have
    to say comes in by the losses, which make V̂ like V. Both generators are shared by all levels; samplers are not.

    Args: see `lightning_ita.models.encoder_tagger.EncoderTagger`.
    """

    packed = False
    _text: Tower | None = None

    def add_parts(self, width: int) -> int:
        """Adds the picture tower, generators and samplers."""
        check_like_bert(self.encoder, "BGA-MNER")
        own: Any = self.options
        config: Any = self.encoder.config
        heads, depth = config.num_attention_heads, config.num_hidden_layers
        inner = own.feed_forward or 2 * width
        self.first_position = position_offset(self.encoder)
        self.regions_in = nn.Linear(self.channels, width)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, self.regions + 1, width))
        self.layers = nn.ModuleList(PreNormLayer(width, heads) for _ in range(depth))
        self.to_text = Generator(width, heads, inner, config.max_position_embeddings - self.first_position)
        self.to_picture = Generator(width, heads, inner, self.regions + 1)
        self.text_samplers = nn.ModuleList(Sampler(width) for _ in range(depth + 1))
        self.picture_samplers = nn.ModuleList(Sampler(width) for _ in range(depth + 1))
        return width

    def states(self, batch: Any, views: tuple[str, ...]) -> Tensor:
        """Returns the text tower's last states, the same in every view; see `Tagger.states`."""
        text = self.text_tower(batch.text.input_ids, batch.text.attention_mask.bool(), whole=self.training)
        self._text = text if self.training else None  # for `auxiliary`
        last = text.states[-1]
        words = last.gather(1, batch.text.first_subtokens[..., None].expand(-1, -1, last.shape[-1]))
        return words.repeat(len(views), 1, 1)

    def auxiliary(self, batch: Any) -> dict[str, Tensor]:
        """Returns the losses of generation and of the cycle, (batch,) each, 0 for tweets without a picture."""
        assert self._text is not None
        text, self._text = self._text, None
        visual = self.see(batch)
        generation, cycle = self.generation_losses(text, self.picture_tower(visual.regions, text.mask))
        own: Any = self.options
        present = visual.present.to(generation.dtype)
        return {
            "generation": own.generation_weight * generation * present,
            "cycle": own.cycle_weight * cycle * present,
        }

    def text_tower(self, ids: Tensor, mask: Tensor, whole: bool) -> Tower:
        """Computes the encoder, layer by layer, with pictures that are generated from its own states.

        Args:
            ids: int64 (batch, sub-tokens)
            mask: bool (batch, sub-tokens), True where there is a sub-token.
            whole: Whether a picture is generated from the last states, too, which the losses alone read.
        """
        encoder: Any = self.encoder
        places = torch.arange(self.first_position, self.first_position + ids.shape[1], device=ids.device)
        embedded = encoder.embeddings(input_ids=ids, position_ids=places[None])
        if hasattr(encoder, "embeddings_project"):  # ELECTRA's embeddings may be narrower than its layers
            embedded = encoder.embeddings_project(embedded)
        everything = mask.new_ones(len(ids), self.to_picture.queries.shape[0])
        bias = bias_of(torch.cat([mask, everything], 1))
        rate = encoder.config.attention_probs_dropout_prob if self.training else 0.0
        layers: list[Layer] = [
            lambda states, extra, layer=layer: bert_layer(layer, states, extra, bias, rate)  # type: ignore[misc]
            for layer in encoder.encoder.layer
        ]
        tower = Tower(mask, self.to_picture.ready(everything))
        return self._climb(tower, embedded, layers, self.text_samplers, self.to_picture, whole)

    def picture_tower(self, regions: Tensor, text: Tensor) -> Tower:
        """Computes the states of pictures, with texts that are generated from them; needed in training alone.

        Args:
            regions: (batch, r, channels)
            text: bool (batch, sub-tokens), True where the tweet has a sub-token.
        """
        embedded = torch.cat([self.class_token.expand(len(regions), -1, -1), self.regions_in(regions)], 1) + self.places
        mask = text.new_ones(embedded.shape[:2])
        bias = bias_of(torch.cat([mask, text], 1))
        layers: list[Layer] = [
            lambda states, extra, layer=layer: layer(states, extra, bias)  # type: ignore[misc]
            for layer in self.layers
        ]
        tower = Tower(mask, self.to_text.ready(text))
        return self._climb(tower, embedded, layers, self.picture_samplers, self.to_text, whole=True)

    def _climb(
        self,
        tower: Tower,
        states: Tensor,
        layers: Sequence[Layer],
        samplers: nn.ModuleList,
        generator: Generator,
        whole: bool,
    ) -> Tower:
        """Goes up a tower, level by level.

        Args:
            tower: The tower, still without any level.
            states: (batch, length, width), its embeddings.
            layers: Its layers.
            samplers: One per level, the embeddings' included.
            generator: Of the other modality.
            whole: Whether something is generated from the last level.
        """
        keep = tower.mask.float()
        for level, sampler in enumerate(samplers):
            if level > 0:
                states = layers[level - 1](states, tower.generated[-1])
            tower.states.append(states)
            if level < len(layers) or whole:
                keep = sampler(states, keep)
                tower.keep.append(keep)
                tower.generated.append(generator(tower.queries, states, keep))
        return tower

    def generation_losses(self, text: Tower, picture: Tower) -> tuple[Tensor, Tensor]:
        """Returns how far generated states are from the real ones, and those that were generated from generated ones.

        The divergence of each state, averaged over the states that are kept, then over levels; both directions are
        added. The real states are detached in the first loss, and not in the second.

        Returns:
            (batch,) each.
        """
        once, twice = [], []
        for level in range(len(text.states)):
            # What is compared, which generator made it, and from what it is generated a second time.
            for real, other, generator in ((text, picture, self.to_text), (picture, text, self.to_picture)):
                generated = other.generated[level]
                again = generator(other.queries, real.generated[level], other.mask.float())
                target = softened(real.states[level])
                once.append(mean_where(divergence(target.detach(), generated), real.keep[level]))
                twice.append(mean_where(divergence(target, again), real.keep[level]))
        levels = len(text.states)
        return torch.stack(once).sum(0) / levels, torch.stack(twice).sum(0) / levels


def bias_of(mask: Tensor) -> Tensor:
    """Returns what is added to attention scores: 0 where the mask is True, -inf elsewhere."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, -torch.inf)
