"""What every model card says; that of a trained model is written by `lightning_ita.studies.card`."""

from __future__ import annotations

from typing import Any

from lightning_ita.models.kept.config import KeptConfig


def short_card(config: KeptConfig) -> str:
    """Returns the model card of a model of whose results nothing is known."""
    from huggingface_hub import ModelCardData

    metadata = ModelCardData(library_name="lightning_ita", pipeline_tag="token-classification", **base_model(config))
    return f"---\n{metadata}\n---\n\n# {config['system']}\n\n{usage('MODEL')}"


def base_model(config: KeptConfig) -> dict[str, Any]:
    """Returns the metadata that names the encoder, where it is one of the Hub."""
    encoder = config["encoder"]
    return {"base_model": encoder} if encoder and "/" in encoder else {}


def usage(name: str) -> str:
    """Returns the part of a model card that says how the model is used."""
    return f"""\
## How to use

```python
from lightning_ita import Tagger

tagger = Tagger.from_pretrained("{name}")
for post in tagger.predict(["Jordan dunks in Chicago", "See you in Jordan"]):
    for mention in post.mentions:
        print(mention.text, mention.type, mention.start, mention.end, mention.probability)
```

or `lightning-ita predict --model {name} --input posts.csv --output mentions.jsonl`.
"""
