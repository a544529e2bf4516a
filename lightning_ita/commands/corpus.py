"""Writes the demo corpus: ``lightning-ita corpus --out DIR``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser
from rich.progress import track

from lightning_ita.commands.cli import make_parser
from lightning_ita.demo.config import SPLITS, DemoConfig
from lightning_ita.demo.corpus import DemoTweet, generate
from lightning_ita.demo.sheet import contact_sheet
from lightning_ita.demo.writing import write
from lightning_ita.errors import UserError

ABOUT = """\
Generates a corpus for multimodal named entity recognition about which everything is known: tweets with ambiguous names,
images that tell the type of a name, suggest a wrong type or have nothing to do with the tweet, and the tags, captions
and OCR text of these images.

examples:
  lightning-ita corpus --out demo
      the default corpus: tweets and contexts, which is all that training needs
  lightning-ita corpus --out demo --images --contact-sheet sheet.png
      the same with its images, and an overview of tweets and images to look at
  lightning-ita corpus --out hard --rate_ambiguous 0.8 --tag_dropped 0 --caption_vague 0
      another corpus: more ambiguous tweets, fewer errors in the contexts
"""


def _parser() -> ArgumentParser:
    parser = make_parser("corpus", ABOUT)
    parser.add_argument("--out", type=str, required=True, help="The folder to write.")
    parser.add_argument("--images", action="store_true", help="Also draw the images.")
    parser.add_argument("--overwrite", action="store_true", help="Replace another demo corpus in that folder.")
    parser.add_argument("--contact-sheet", type=str, help="Also draw an overview of tweets to this image file.")
    parser.add_argument("--sheet-split", choices=SPLITS, default="test", help="The split of these tweets.")
    parser.add_argument("--sheet-tweets", type=int, default=40, help="The number of these tweets.")
    parser.add_class_arguments(DemoConfig)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 0."""
    parser = _parser()
    options = vars(parser.parse_args(list(argv)))
    settings = {field.name: options[field.name] for field in dataclasses.fields(DemoConfig)}

    def drawing(tweets: Sequence[DemoTweet]) -> Iterable[DemoTweet]:
        return track(tweets, description="drawing")

    try:
        config = DemoConfig(**settings)
        folder = write(config, options["out"], options["images"], options["overwrite"], track=drawing)
        print(f"{folder}: " + ", ".join(f"{config.size(split)} {split}" for split in SPLITS) + " tweets")
        if options["contact_sheet"]:
            corpus, path = generate(config), Path(options["contact_sheet"])
            contact_sheet(corpus, corpus.splits[options["sheet_split"]][: options["sheet_tweets"]]).save(path)
            print(f"{path}: contact sheet")
    except (FileExistsError, ValueError) as error:
        raise UserError(str(error)) from None
    return 0
