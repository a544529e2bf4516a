"""Whether zero-shot tagging finds the objects in images where they are known: ``python -m benchmarks.tags``.

Method. With published CLIP weights one cannot measure whether this code uses them well, because it is a matter of
judgement what a photograph shows. So a small CLIP (open_clip's ResNet and text tower, a few million parameters) is
trained here in a minute or two on images of a few dozen objects, some of them in seven colours, drawn like those of the
demo corpus. It is saved like any model of open_clip, loaded by ``tag=open_clip:FOLDER`` like a downloaded one, and used
to tag images drawn with other seeds; the objects are its vocabulary and the colours its attributes. The output shows:
the share of images whose object is the first tag, and among the first five; the share of coloured objects with the
right colour, where the object is right; and the share of the four objects of a collage that are among its tags, with
the collage read as a whole and in parts. Chance is the share that random tags from the vocabulary would reach.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.engines import make_engine
from lightning_ita.contexts.engines.zero_shot import TEMPLATES
from lightning_ita.demo import Scene
from lightning_ita.demo.painting import render
from lightning_ita.demo.scenes import COLOURS, HAIR, SKIES
from lightning_ita.registry import require

# What each kind of scene shows that no other shows, and whether in the scene's colour.
OBJECTS = {
    "car": ("car", True),
    "truck": ("truck", True),
    "sneakers": ("sneaker", True),
    "book": ("book", True),
    "jersey": ("jersey", True),
    "storefront": ("awning", True),
    "pizza": ("pizza", False),
    "cat": ("cat", False),
    "meme": ("frog", False),
    "trophy": ("trophy", False),
    "guitarist": ("guitar", False),
    "basketball": ("basketball", False),
    "bridge": ("bridge", False),
    "desert": ("cactus", False),
    "mountains": ("mountain", False),
    "chart": ("graph", False),
    "citymap": ("map", False),
    "flowers": ("vase", False),
    "dumbbells": ("dumbbell", False),
    "coffee": ("cup", False),
    "game": ("game controller", False),
    "record": ("vinyl record", False),
    "poster": ("movie poster", False),
    "festival": ("tent", False),
    "factory": ("factory", False),
    "office": ("office building", False),
    "stadium": ("stadium", False),
    "skyline": ("skyscraper", False),
    "beach": ("palm tree", False),
    "street": ("house", False),
    "wing": ("airplane wing", False),
    "roadsign": ("road sign", False),
    "cake": ("birthday cake", False),
    "celebrity": ("red carpet", False),
    "footballer": ("soccer goal", False),
    "portrait": ("face", False),
}
SIDE = 64


@dataclass(frozen=True)
class Picture:
    """A drawn image and what it shows.

    Attributes:
        image: The image.
        noun: Its object.
        colour: The object's colour; empty for objects without one.
    """

    image: Image.Image
    noun: str
    colour: str


def draw(kinds: list[str], each: int, seed: str) -> list[Picture]:
    """Draws images of every object; another seed draws other images."""
    rng = random.Random(seed)
    pictures = []
    for kind in kinds:
        for _ in range(each):
            colour, accent = rng.sample(sorted(COLOURS), 2)
            attributes = {
                "who": rng.choice(("man", "woman")),
                "hair": rng.choice(sorted(HAIR)),
                "colour": colour,
                "accent": accent,
                "sky": rng.choice(SKIES),
            }
            image = render(Scene(kind, attributes, (), f"{seed} {rng.random()}"))
            noun, coloured = OBJECTS[kind]
            pictures.append(Picture(image, noun, colour if coloured else ""))
    return pictures


def model_config() -> dict[str, Any]:
    """Returns the architecture in the format of open_clip."""
    return {
        "embed_dim": 64,
        "vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "patch_size": None},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    }


def train(folder: Path, pictures: list[Picture], steps: int, batch: int = 96, seed: int = 0) -> int:
    """Trains a CLIP on pictures and saves it as open_clip saves models.

    Each picture of a batch must choose its caption among all captions of the batch. In every other batch captions name
    colours, and the captions without them are wrong answers.

    Args:
        folder: Where to.
        pictures: What to learn from.
        steps: Batches.
        batch: Images per batch.
        seed: Of the initial weights and of what is drawn.

    Returns:
        The number of parameters.
    """
    open_clip = require("open_clip", extra="align")
    folder.mkdir(parents=True, exist_ok=True)
    mean_and_deviation = {"mean": [0.5] * 3, "std": [0.25] * 3}
    config = {"model_cfg": model_config(), "preprocess_cfg": mean_and_deviation}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.manual_seed(seed)
    rng = random.Random(seed)
    net = open_clip.create_model(f"local-dir:{folder}", load_weights=False).train()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    # A little larger than the input: crops at random places and sizes teach that places do not matter.
    small = [picture.image.resize((SIDE * 3 // 2, SIDE * 9 // 8), Image.Resampling.BICUBIC) for picture in pictures]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in small])).permute(0, 3, 1, 2)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps, pct_start=0.2)
    for step in range(steps):
        chosen = rng.sample(range(len(pictures)), min(batch, len(pictures)))
        template, with_colour = rng.choice(TEMPLATES), step % 2 == 1
        captions, others = [], []
        for picture in (pictures[i] for i in chosen):
            plain = template.format(picture.noun)
            coloured = with_colour and picture.colour
            captions.append(template.format(f"{picture.colour} {picture.noun}") if coloured else plain)
            others += [plain] if coloured else []
        classes = list(dict.fromkeys([*captions, *others]))
        texts = net.encode_text(tokenizer(classes), normalize=True)
        images = net.encode_image(_crops(pixels[chosen], rng), normalize=True)
        target = torch.tensor([classes.index(caption) for caption in captions])
        loss = F.cross_entropy(net.logit_scale.exp() * images @ texts.T, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    save_file(net.state_dict(), folder / "open_clip_model.safetensors")
    return sum(parameter.numel() for parameter in net.parameters())


def _crops(pixels: torch.Tensor, rng: random.Random) -> torch.Tensor:
    """One crop for the whole batch, at a random place, of a random size, perhaps mirrored; normalised."""
    height, width = pixels.shape[-2:]
    side = rng.randint(SIDE * 3 // 4, height)
    top, left = rng.randint(0, height - side), rng.randint(0, width - side)
    part = pixels[:, :, top : top + side, left : left + side].float() / 255
    part = F.interpolate(part, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    return (part.flip(-1) if rng.random() < 0.5 else part).sub(0.5).div(0.25)


def write_vocabularies(folder: Path, pictures: list[Picture]) -> dict[str, str]:
    """Writes the objects and colours of pictures as vocabularies, and returns the engine's options that name them."""
    words = {
        "nouns": sorted({picture.noun for picture in pictures}),
        "attributes": sorted({picture.colour for picture in pictures} - {""}),
    }
    for name, entries in words.items():
        (folder / f"{name}.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")
    return {name: str(folder / f"{name}.txt") for name in words}


def read_all(engine: Engine, images: list[Image.Image]) -> list[tuple[str, ...]]:
    """Returns the tags of every image."""
    tags = []
    for start in range(0, len(images), engine.batch_size):
        batch = [engine.prepare(image) for image in images[start : start + engine.batch_size]]
        tags += [reading.texts for reading in engine.read(batch)]
    return tags


def accuracy(engine: Engine, pictures: list[Picture]) -> dict[str, float]:
    """Shares of pictures whose object is the first tag, among the first five, and whose colour is right besides."""
    tags = read_all(engine, [picture.image for picture in pictures])
    first = five = coloured = right = 0
    for picture, texts in zip(pictures, tags, strict=True):
        names = [picture.noun, *(f"{colour} {picture.noun}" for colour in COLOURS)]
        first += texts[0] in names
        five += any(text in names for text in texts[:5])
        if picture.colour and texts[0] in names:
            coloured += 1
            right += texts[0] == f"{picture.colour} {picture.noun}"
    return {"top-1": first / len(pictures), "top-5": five / len(pictures), "colour": right / max(coloured, 1)}


def collage_recall(engine: Engine, pictures: list[Picture], count: int) -> float:
    """Share of the objects of collages of four pictures that are among their tags."""
    rng = random.Random(0)
    collages, nouns = [], []
    for _ in range(count):
        four = rng.sample(pictures, 4)
        width, height = four[0].image.size
        sheet = Image.new("RGB", (2 * width, 2 * height))
        for i, picture in enumerate(four):
            sheet.paste(picture.image, (i % 2 * width, i // 2 * height))
        collages.append(sheet)
        nouns.append({picture.noun for picture in four})
    found = 0
    for expected, texts in zip(nouns, read_all(engine, collages), strict=True):
        found += sum(any(text == noun or text.endswith(f" {noun}") for text in texts) for noun in expected)
    return found / sum(map(len, nouns))


def main(arguments: list[str] | None = None) -> None:
    """Draws images, trains and saves the model, tags other images, and prints the shares."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tags", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--each", type=int, default=40, help="training images per object (default: %(default)s)")
    parser.add_argument("--held-out", type=int, default=10, help="test images per object (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=400, help="training steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and images (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="keep the trained model in this folder")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    learnt = draw(list(OBJECTS), options.each, f"learn {options.seed}")
    held_out = draw(list(OBJECTS), options.held_out, f"held out {options.seed}")
    drawn = time.perf_counter()
    with TemporaryDirectory() as scratch:
        folder = options.model or Path(scratch) / "clip"
        parameters = train(folder, learnt, options.steps, seed=options.seed)
        trained = time.perf_counter()
        print(
            f"{len(learnt)} pictures of {len(OBJECTS)} objects drawn in {drawn - begin:.0f} s; "
            f"{parameters / 1e6:.1f} M parameters trained for {options.steps} batches in {trained - drawn:.0f} s"
        )
        vocabularies = write_vocabularies(Path(scratch), learnt)

        def engine(**more: Any) -> Engine:
            return make_engine("tag", f"open_clip:{folder}", **{"threshold": 0.0, **vocabularies, **more})

        shares = accuracy(engine(grids=[1], top_k=5), held_out)
        print(f"{len(held_out)} held-out pictures, looked at as a whole")
        chances = {"top-1": 1 / len(OBJECTS), "top-5": 5 / len(OBJECTS), "colour": 1 / len(COLOURS)}
        for name, share in shares.items():
            print(f"  {name}: {share:.1%} (chance {chances[name]:.1%})")
        print(f"100 collages of four, first eight tags (chance {8 / len(OBJECTS):.1%})")
        for grids in ([1], [2], [1, 2]):
            print(f"  grids {grids}: {collage_recall(engine(grids=grids, top_k=8), held_out, 100):.1%} of the objects")


if __name__ == "__main__":
    main()
