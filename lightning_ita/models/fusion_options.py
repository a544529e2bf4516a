"""Options that all systems have that join word states with what is known of the picture. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Lt

from lightning_ita.models.options import TwoViewOptions
from lightning_ita.models.recipes import Positive, Recipe

# On a demo corpus of 600 tweets (preset demo, one seed) UMT reaches an F1 of 82.9 in I+T with a factor of 1, 84.2 with
# 3, and 36.6 with the emission layer's 30.
LARGEST_LAYER_FACTOR = 3.0


def layer_factor(given: float | None, recipe: Recipe) -> float:
    """Returns the factor on the learning rate of Transformer layers that are new: the recipe's for heads, but bounded.

    Args:
        given: The one that is asked for, if any.
        recipe: Hyper-parameters.
    """
    return given or min(recipe.head_lr_factor, LARGEST_LAYER_FACTOR)


@dataclass(frozen=True)
class FusionOptions(TwoViewOptions):
    """Options of a system whose encoder reads the tweet alone, and that joins the picture to the word states.

    Attributes:
        image_dropout: Probability with which a tweet's picture is hidden in training, so that the model learns what to
            do without one. 0, as in the papers: a model trained on I+T alone then never meets the text view before it
            is tested in it.
        layer_lr_factor: Factor on the learning rate of the layers that read the picture; by default the recipe's for
            the emission layer, but at most 3: these are Transformer layers, which do not train at larger rates.
    """

    image_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    layer_lr_factor: Positive | None = None

    # The system's name, and that of its published score where it is another.
    name: ClassVar[str]
    published: ClassVar[str] = ""

    @property
    def title(self) -> str:
        """The system's name as its paper writes it."""
        return self.name

    @property
    def label(self) -> str:
        """The name of its row, which says whether pictures were hidden."""
        hidden = f", image dropout {self.image_dropout:g}" if self.image_dropout else ""
        return super().label + hidden

    @property
    def published_name(self) -> str | None:
        """The name under which others published its score; nobody did with hidden pictures."""
        mode = self.published_mode
        return None if mode is None or self.image_dropout else (self.published or self.name) + mode

    def layer_factor(self, recipe: Recipe) -> float:
        """Returns `layer_lr_factor`, or what stands for it."""
        return layer_factor(self.layer_lr_factor, recipe)
