"""The demo corpus: generated tweets with rendered pictures, where the truth about every tweet is known.

It tests claims about visual contexts on data where the right answer is known. What the corpus contains, and what should
follow from it:

* Two tweets in three name something that could be of several types ("Jordan never disappoints"), and the picture shows
  which: a player, a desert, a shop, a pair of sneakers. A context gains as far as it tells the type.
* Names and phrases prefer types (`DemoConfig.preference`): who knows these preferences is right about four times in
  five without the picture. A model that is always given the picture learns less of them, since the picture explains
  the type; asked without it, it does worse than one that read words alone. That is a text-view gap with a cause, and
  training both views, aligned or not, should close it.
* Tags, captions and OCR each tell what another does not (see `scenes`): several contexts should beat each alone.
* A few ambiguous names never occur in training: whoever remembers names instead of reading pictures fails there.
* Some pictures mislead, some are unrelated; there the words tell the type: whoever trusts pictures blindly fails there.
* The contexts are noisy, as engines are; a few images are missing or unreadable and have no contexts at all.

`DemoConfig` sets every rate; ``demo.json``, beside the tweets, says of which kind each of them is.

The modules, in order: `config` (rates), `names` and `templates` (vocabulary), `scene_kinds` and `scenes` (what pictures
show), `describe` (what engines say of them), `corpus` (tweets), `painting` (pictures), `writing` (files), `sheet` (an
overview to look at).
"""

from lightning_ita.demo.config import KINDS, SPLITS, TYPES, DemoConfig
from lightning_ita.demo.corpus import CONTEXTS, DemoCorpus, DemoTweet, generate
from lightning_ita.demo.scenes import Scene
from lightning_ita.demo.writing import write

__all__ = [
    "CONTEXTS",
    "KINDS",
    "SPLITS",
    "TYPES",
    "DemoConfig",
    "DemoCorpus",
    "DemoTweet",
    "Scene",
    "generate",
    "write",
]
