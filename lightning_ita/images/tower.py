"""The vision model inside a system: trained with the rest, or absent where frozen features come with the batch."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from lightning_ita.images.nets import VisionNet, make_net, net_shape
from lightning_ita.images.vision import Vision
from lightning_ita.images.visual import Pixels, Visual


class VisionTower(nn.Module):
    """Turns what a batch has of its pictures into features: frozen ones pass through, pixels are looked at.

    A system has one as ``self.vision``, so that its parameters learn at the rate of the encoder, and calls
    ``self.vision(batch.visual)``.

    Args:
        vision: The vision model, and whether it is trained.
        pretrained: Whether its weights are read; if not, they are random, for a state dict that follows.

    Attributes:
        channels: Width of the features.
        regions: Regions of the whole picture.
    """

    def __init__(self, vision: Vision, pretrained: bool = True):
        super().__init__()
        _, self.regions, self.channels, _ = net_shape(vision)
        self.net: VisionNet | None = None
        if vision.finetune:
            self.net = make_net(vision, pretrained)
            _freeze_unused(self.net)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode; batch normalisation keeps the statistics that it was trained with.

        Those of a few pictures would replace them otherwise, and a picture's features depend on the others.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, visual: Visual | Pixels) -> Visual:
        """Returns the features of a batch's pictures; absent pictures and crops are not looked at, and stay zero."""
        if isinstance(visual, Visual):
            return visual
        if self.net is None:
            raise ValueError("pixels need a vision model that is trained: vision.finetune is false")
        batch, crops = visual.crop_mask.shape
        # (present, r, channels), (crops there are, channels)
        seen = self._look(visual.whole[visual.present], self.regions)
        pooled = self._look(visual.cut[visual.crop_mask], self.regions).mean(1)
        return Visual(
            crop_mask=visual.crop_mask,
            present=visual.present,
            regions=seen.new_zeros(batch, self.regions, self.channels).index_put((visual.present,), seen),
            crops=seen.new_zeros(batch, crops, self.channels).index_put((visual.crop_mask,), pooled),
        )

    def _look(self, pixels: Tensor, regions: int) -> Tensor:
        assert self.net is not None
        if len(pixels) == 0:
            return self.net.mean.new_zeros(0, regions, self.channels)
        features: Tensor = self.net(pixels)
        return features.float()


def _freeze_unused(net: VisionNet) -> None:
    """Freezes parameters that the features do not depend on, such as a class token's projection."""
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        net(torch.zeros(1, 3, net.size, net.size, dtype=torch.uint8)).sum().backward()
    for parameter in net.parameters():
        parameter.requires_grad_(parameter.grad is not None)
        parameter.grad = None
