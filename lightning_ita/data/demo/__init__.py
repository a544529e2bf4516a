"""The demo corpus: generated tweets with rendered pictures, where the truth about every tweet is known.

It tests claims about visual contexts where one knows what ought to come out. What is planted, and what follows:

* Half of the tweets name something that could be of several types ("Jordan never disappoints"), and the picture shows
  which: a player, a desert, a shop, a pair of sneakers. From the words alone the best guess is right about half the
  time (names and phrases have preferences), so a context gains as far as it tells the type, and the text view has
  something, but not everything, to learn.
* Tags, captions and OCR each tell what another does not (see `scenes`): several contexts should beat each alone.
* Three in ten ambiguous names never occur in training: whoever remembers names instead of reading pictures fails there.
* Some pictures mislead, some are unrelated; there the words tell the type: whoever trusts pictures blindly fails there.
* The contexts are noisy, as engines are; a few images are missing or unreadable and have no contexts at all.

Nothing is planted for cross-view alignment beyond those preferences of names and phrases, whose strength is
`DemoConfig.preference`. `DemoConfig` sets every rate; ``demo.json``, beside the tweets, says what each of them was.

The way: `config` (rates), `names` and `templates` (vocabulary), `scene_kinds` and `scenes` (what pictures show),
`describe` (what engines say of them), `corpus` (tweets), `painting` (pictures), `writing` (files), `sheet` (a look).
"""

from lightning_ita.data.demo.config import KINDS, SPLITS, TYPES, DemoConfig
from lightning_ita.data.demo.corpus import CONTEXTS, DemoCorpus, DemoTweet, generate
from lightning_ita.data.demo.scenes import Scene
from lightning_ita.data.demo.writing import write

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
