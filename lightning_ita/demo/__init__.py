"""The demo corpus: generated tweets with drawn images, about which everything is known.

It serves to test claims about visual contexts where the right answer is known. This is what the corpus contains, and
what should follow from it:

* Two tweets in three name something that could be of several types ("Jordan never disappoints"), and the image shows of
  which type it is: a player, a desert, a shop, a pair of sneakers. A context should help as far as it tells the type.
* Each ambiguous name and each phrase occurs more often with some types than with others (`DemoConfig.preference`). A
  model that has learnt these preferences is right about four times in five without the image. A model that always reads
  the contexts learns less of them, because the contexts tell the type; without contexts it should do worse than a model
  that was trained on words alone. Training both views, with or without alignment, should close this gap of the text
  view.
* Tags, captions and OCR text each tell something that the others do not (see `scenes`): several contexts together
  should be better than each alone.
* Some ambiguous names never occur in training: a model that remembers names instead of reading contexts fails on them.
* Some images suggest a wrong type, and some have nothing to do with the tweet; there the words tell the type. A model
  that always follows the image fails on them.
* The contexts contain errors, like those of real engines. Some images are missing or unreadable and have no contexts.

`DemoConfig` sets every rate. ``demo.json``, in the folder of the tweets, says for each tweet of which kind it is.

The modules, in order: `config` (rates), `names` and `templates` (vocabulary), `scene_kinds` and `scenes` (what images
show), `describe` (their contexts), `corpus` (tweets), `painting` (images), `writing` (files), `sheet` (an overview of
tweets and images to look at).
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
