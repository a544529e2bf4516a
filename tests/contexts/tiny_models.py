"""Small models of random weights in folders, as their libraries save what people download."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

LABELS = {0: "cat", 1: "dog", 2: "car"}


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# Of one size and of others, tall, wide, and as small or thin as files may be.
PICTURES = [noise(80, 60), noise(80, 60, 1), noise(200, 300, 2), noise(1, 1), noise(900, 1)]


def clip_config(coca: bool = False) -> dict[str, Any]:
    """The architecture of a small CLIP, or CoCa."""
    config: dict[str, Any] = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    if coca:
        small = {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
        config["vision_cfg"] |= {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
        config["text_cfg"] = small | {"embed_cls": True, "output_tokens": True}
        config["multimodal_cfg"] = small | {"attn_pooler_heads": 2}
        config["custom_text"] = True
    return config


def random_clip(folder: Path, coca: bool = False, seed: int = 0) -> str:
    """Saves a CLIP or CoCa in a new folder."""
    folder.mkdir(parents=True)
    config = {"model_cfg": clip_config(coca), "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.manual_seed(seed)
    logging.disable(logging.WARNING)  # that the weights are random is what is wanted
    net = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    logging.disable(logging.NOTSET)
    for parameter in net.parameters():
        if parameter.ndim > 1:  # some are left uninitialised by the library
            torch.nn.init.normal_(parameter, std=0.5 * parameter.shape[-1] ** -0.5)
    save_file(net.state_dict(), folder / "open_clip_model.safetensors")
    return str(folder)


def random_detector(folder: Path, kind: str) -> str:
    """Saves a YOLOS or a DETR in a new folder."""
    transformers.set_seed(0)
    classes = {"id2label": LABELS, "label2id": {label: number for number, label in LABELS.items()}}
    if kind == "yolos":
        config = transformers.YolosConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=[64, 96],
            patch_size=16,
            num_detection_tokens=8,
            initializer_range=0.5,
            **classes,
        )
        transformers.YolosForObjectDetection(config).save_pretrained(folder)
        processor = transformers.YolosImageProcessor
    else:
        backbone = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4, out_features=["stage4"]
        )
        detr = transformers.DetrConfig(
            use_timm_backbone=False,
            use_pretrained_backbone=False,
            backbone=None,
            backbone_config=backbone,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            num_queries=8,
            **classes,
        )
        transformers.DetrForObjectDetection(detr).save_pretrained(folder)
        processor = transformers.DetrImageProcessor
    processor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return str(folder)


def random_blip(folder: Path, tokenizer: str, second: bool = False) -> str:
    """Saves a BLIP or a BLIP-2 in a new folder, with another model's tokenizer."""
    transformers.set_seed(0)
    words = transformers.AutoTokenizer.from_pretrained(tokenizer)
    words.save_pretrained(folder)
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = tower | {"intermediate_size": 64, "image_size": 32, "patch_size": 8}
    special = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    if second:
        text = {"model_type": "opt", "vocab_size": len(words) + 1, "ffn_dim": 64, "word_embed_proj_dim": 32}
        config = transformers.Blip2Config(
            vision_config=vision,
            qformer_config=tower | {"vocab_size": len(words), "intermediate_size": 64, "encoder_hidden_size": 32},
            text_config=tower | text | special | {"max_position_embeddings": 64},
            num_query_tokens=4,
            image_token_index=len(words),
        )
        transformers.Blip2ForConditionalGeneration(config).save_pretrained(folder)
    else:
        text = {"vocab_size": len(words), "intermediate_size": 64, "encoder_hidden_size": 32, "sep_token_id": 3}
        blip = transformers.BlipConfig(
            text_config=tower | text | special | {"max_position_embeddings": 64, "initializer_range": 0.3},
            vision_config=vision | {"initializer_range": 0.3},
            projection_dim=32,
        )
        transformers.BlipForConditionalGeneration(blip).save_pretrained(folder)
    transformers.BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)
