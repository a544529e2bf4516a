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
Generate a corpus for multimodal named entity recognition whose truth is known: tweets with ambiguous names, pictures
that resolve them, mislead or have nothing to do with them, and what an object detector, a captioner and OCR would say.

  the default corpus, texts and contexts only (all that training needs):
      lightning-ita corpus --out demo
  with its pictures, and a sheet to look at:
      lightning-ita corpus --out demo --images --contact-sheet sheet.png
  another one: more ambiguity, perfect engines:
      lightning-ita corpus --out hard --rate_ambiguous 0.8 --tag_dropped 0 --caption_vague 0
"""


def _parser() -> ArgumentParser:
    parser = make_parser("corpus", ABOUT)
    parser.add_argument("--out", type=str, required=True, help="Folder to write; appears whole or not at all.")
    parser.add_argument("--images", action="store_true", help="Draw the pictures too.")
    parser.add_argument("--overwrite", action="store_true", help="Replace another demo corpus that is there.")
    parser.add_argument("--contact-sheet", type=str, help="Also draw this picture of tweets with all that is known.")
    parser.add_argument("--sheet-split", choices=SPLITS, default="test", help="The split that the sheet shows.")
    parser.add_argument("--sheet-tweets", type=int, default=40, help="How many tweets of it.")
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
