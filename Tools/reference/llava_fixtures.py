#!/usr/bin/env python3
"""Makes Tests/Fixtures/llava: a small LLaVA-1.5 and a small LLaVA-NeXT as transformers saves them, a FastVLM that cuts
images into tiles, and what they compute.

Both have a CLIP tower, whose last block but one is taken without its class token, and a tokenizer.model alone. LLaVA-1.5
has a Llama decoder and images of odd sizes, cropped and padded; LLaVA-NeXT a Mistral decoder and images in tiles. The
FastVLM is that of Tests/Fixtures/models/tiny-hf, its images cut as the original's program does it. Seeded; a seed is taken
only if no greedy choice is so close that the last bits of float32 could turn it.
"""

import argparse
import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    FastVlmForConditionalGeneration,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    MistralConfig,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from fastvlm_reference import answers, folders, manifest, small_tokenizer
from fastvlm_reference.seeding import Seeder, exact
from onevision_fixtures import FEWEST_DISTINCT, SMALLEST_MARGIN, STEPS, picture, positions

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parents[1] / "Tests" / "Fixtures"
MODEL = FIXTURES / "sentencepiece" / "vicuna.model"
PIECES = 560
IMAGE, PAD = PIECES, PIECES + 1
ROWS = 576
SIDE, PATCH = 42, 14
MEAN, DEVIATION = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
# Those of LLaVA-NeXT at SIDE instead of 336 pixels.
PINPOINTS = [[42, 84], [84, 42], [84, 84], [126, 42], [42, 126]]
SIZES = [(42, 42), (37, 50), (67, 81), (84, 150), (8, 79), (234, 157)]
CASES = [[], [0], [1], [2], [3], [4], [5], [3, 0, 5]]
# The template of the hub's llava-1.5-…-hf, and what the original's mistral_instruct renders.
VICUNA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
    "{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}"
    "{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
MISTRAL = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}"
    "{{ ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'][0]['text'] + ' </s>' }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)


# MARK: models


def tower() -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE,
        patch_size=PATCH, projection_dim=16,
    )


def text(kind, **changes):
    return kind(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=ROWS,
        max_position_embeddings=4096, rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
        pad_token_id=None, **changes,
    )


def llava_configuration() -> LlavaConfig:
    return LlavaConfig(
        vision_config=tower(),
        text_config=text(LlamaConfig, num_key_value_heads=4, rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
        image_token_index=IMAGE, vision_feature_layer=-2, vision_feature_select_strategy="default",
        image_seq_length=(SIDE // PATCH) ** 2,
    )


def next_configuration() -> LlavaNextConfig:
    return LlavaNextConfig(
        vision_config=tower(),
        text_config=text(MistralConfig, num_key_value_heads=2, sliding_window=None,
                         rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
        image_token_index=IMAGE, vision_feature_layer=-2, vision_feature_select_strategy="default",
        image_grid_pinpoints=PINPOINTS, image_seq_length=(SIDE // PATCH) ** 2,
    )


def build(kind, config, seed: int):
    config._attn_implementation = "eager"
    model = kind(config)
    seeder = Seeder(seed)
    seeder.fill(model)
    inner = model.model
    positions(inner.vision_tower.embeddings, seeder)
    with torch.no_grad():
        if hasattr(inner, "image_newline"):
            inner.image_newline.copy_(exact(seeder.normal(inner.image_newline.shape, 1.0)))
        # Nothing that ends an answer, and no bytes, of which most are no text.
        model.lm_head.weight[:259] *= 1 / 16
        model.lm_head.weight.copy_(exact(model.lm_head.weight))
    return model.eval()


# MARK: images


def cropped() -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def padded() -> LlavaImageProcessorPil:
    return LlavaImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_pad=True)


def tiled() -> LlavaNextImageProcessorPil:
    return LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=PINPOINTS)


def pillow(picture: np.ndarray, pads: bool) -> torch.Tensor:
    """The same with Pillow, whose pixels are the reference: [1, 3, S, S]."""
    image = Image.fromarray(picture)
    if pads:
        side = max(image.size)
        square = Image.new("RGB", (side, side), tuple(int(mean * 255) for mean in MEAN))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = square
    short = min(image.size)
    width, height = ((SIDE if side == short else int(SIDE * side / short)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return normalised(image.crop((left, top, left + SIDE, top + SIDE)))[None]


def normalised(image: Image.Image, mean=MEAN, deviation=DEVIATION) -> torch.Tensor:
    values = np.asarray(image).astype(np.float32) / np.float32(255)
    values = (values - np.array(mean, np.float32)) / np.array(deviation, np.float32)
    return torch.from_numpy(values).permute(2, 0, 1).contiguous()


def inputs(name: str, pictures: list[np.ndarray], pads: bool = False) -> dict:
    if name == "next":
        given = tiled()(images=pictures, return_tensors="pt")
        return {"pixel_values": given["pixel_values"].float(), "image_sizes": given["image_sizes"]}
    return {"pixel_values": torch.cat([pillow(each, pads) for each in pictures])}


@torch.no_grad()
def visual(name: str, model, pictures: list[np.ndarray], pads: bool = False) -> list[torch.Tensor]:
    config = model.config
    output = model.model.get_image_features(
        **inputs(name, pictures, pads), vision_feature_layer=config.vision_feature_layer,
        vision_feature_select_strategy=config.vision_feature_select_strategy, return_dict=True)
    return [tokens.float() for tokens in output.pooler_output]


# MARK: answers


def chunks(prompt: str) -> list[list[int]]:
    """As the original's tokenizer_image_token: each side of an image is a text of its own; the first begins with <s>."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(MODEL))
    parts = [processor.encode(part) for part in prompt.split("<image>")]
    parts[0].insert(0, processor.bos_id())
    return parts


def prompt(name: str, count: int) -> str:
    images = "<image>\n" * count
    if name == "next":
        return f"[INST] {images}What is this? [/INST]"
    return f"USER: {images}What is this? ASSISTANT:"


@torch.no_grad()
def answer(name: str, model, case: list[int], pictures, pads: bool = False):
    given, counts = {}, []
    if case:
        chosen = [pictures[index] for index in case]
        given = inputs(name, chosen, pads)
        counts = [len(tokens) for tokens in visual(name, model, chosen, pads)]
    parts = chunks(prompt(name, len(case)))
    ids = list(parts[0])
    for count, part in zip(counts, parts[1:]):
        ids += [IMAGE] * count + part
    found = answers.greedy(model, dict(input_ids=torch.tensor([ids]), **given), PIECES, STEPS)
    return {"chunks": parts, "tokens": counts, "greedy": found.ids}, found.logits, min(found.margins)


def search(name: str, kind, configuration, seed: int, pictures):
    for candidate in range(seed, seed + 600):
        model = build(kind, configuration(), candidate)
        found = []
        for case in CASES:
            facts, logits, margin = answer(name, model, case, pictures)
            if (margin <= SMALLEST_MARGIN or len(set(facts["greedy"])) < FEWEST_DISTINCT
                    or min(facts["greedy"]) < 3):
                break
            found.append((case, facts, logits, margin))
        if len(found) == len(CASES):
            return candidate, model, found
    raise SystemExit(f"{name}: no acceptable seed within 600 of {seed}")


# MARK: folders


def write_tokenizer(folder: Path, legacy: bool, template: str) -> None:
    shutil.copy(MODEL, folder / "tokenizer.model")
    added = {str(IMAGE): "<image>", str(PAD): "<pad>"}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    small_tokenizer.write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": True, "add_eos_token": False,
            "added_tokens_decoder": {index: {"content": text, **flags} for index, text in added.items()},
            "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
            "legacy": legacy, "clean_up_tokenization_spaces": False, "tokenizer_class": "LlamaTokenizer",
        },
    )
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def write_model(root: Path, name: str, kind, configuration, seed: int, template: str) -> None:
    pictures = [picture(index, *size) for index, size in enumerate(SIZES)]
    taken, model, found = search(name, kind, configuration, seed, pictures)
    folder = root / name
    folder.mkdir(parents=True)
    save_file(
        folders.stored(model.state_dict(), torch.bfloat16), folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": [kind.__name__], **model.config.to_dict()}
    config["dtype"] = "bfloat16"
    small_tokenizer.write_json(folder / "config.json", config)
    small_tokenizer.write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": PAD})
    (tiled() if name == "next" else cropped()).save_pretrained(folder)
    write_tokenizer(folder, True, template)
    tensors, images = {}, []
    for index, (given, size) in enumerate(zip(pictures, SIZES)):
        tokens = visual(name, model, [given])[0]
        tensors[f"visual.{index}"] = tokens
        if name != "next":
            tensors[f"visual.pad.{index}"] = visual(name, model, [given], True)[0]
        images.append({"height": size[0], "width": size[1], "tokens": len(tokens)})
    cases = [{"images": case, **facts, "smallestMargin": round(margin, 6)} for case, facts, _, margin in found]
    for number, (_, _, logits, _) in enumerate(found):
        tensors[f"logits.{number}"] = logits
    save_file({key: value.contiguous() for key, value in tensors.items()}, root / f"{name}.safetensors")
    document = {"seed": taken, "side": SIDE, "imageTokenId": IMAGE, "images": images, "cases": cases}
    (root / f"{name}.json").write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{name}: seed {taken}, smallest margins {[round(margin, 4) for *_, margin in found]}")


# MARK: counts of the published LLaVA-NeXT


class Counter:
    """What LlavaNextProcessor needs to count, without its parts."""

    patch_size, num_additional_image_tokens, vision_feature_select_strategy = 14, 1, "default"

    def __init__(self):
        self.image_processor = LlavaNextImageProcessorPil()

    _get_unpadded_features = LlavaNextProcessor._get_unpadded_features
    count = LlavaNextProcessor._get_number_of_features


def write_counts(path: Path, seed: int) -> None:
    """[height, width, tokens], the class token left out as the processor leaves it out behind."""
    counter, generator = Counter(), random.Random(seed)
    sizes = [(384, 384), (480, 640), (768, 768), (899, 1024), (1080, 1920), (2304, 2304), (3000, 2000), (100, 1000),
             (1000, 100), (336, 336), (220, 1056), (3000, 1), (1, 3000)]
    for _ in range(400):
        height = int(2 ** generator.uniform(0, 12.3))
        sizes.append((height, max(1, int(height * 2 ** generator.uniform(-3, 3)))))
    counts = [[height, width, counter.count(height, width, 336, 336) - 1] for height, width in sizes]
    path.write_text(json.dumps(counts, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(counts)} sizes, most tokens {max(count for *_, count in counts)}")


# MARK: FastVLM in tiles

# Width and height, as the original writes them.
GRIDS = [[192, 384], [384, 192], [384, 384], [192, 576]]
TILED_SIZES = [(192, 192), (150, 301), (384, 384), (77, 400)]
TILE = 192


def best_canvas(width: int, height: int) -> tuple[int, int]:
    """select_best_resolution of the original's program."""
    best, most, least = None, 0, math.inf
    for canvas_width, canvas_height in GRIDS:
        scale = min(canvas_width / width, canvas_height / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        wasted = canvas_width * canvas_height - kept
        if kept > most or (kept == most and wasted < least):
            best, most, least = (canvas_width, canvas_height), kept, wasted
    return best


def anyres(picture: np.ndarray) -> tuple[torch.Tensor, int, int]:
    """process_anyres_image: pixels [tiles, 3, S, S], the whole image first; columns and rows of tiles."""
    image = Image.fromarray(picture)
    canvas = best_canvas(*image.size)
    across, down = canvas[0] / image.width, canvas[1] / image.height
    if across < down:
        size = (canvas[0], min(math.ceil(image.height * across), canvas[1]))
    else:
        size = (min(math.ceil(image.width * down), canvas[0]), canvas[1])
    whole = Image.new("RGB", canvas, (0, 0, 0))
    whole.paste(image.resize(size), ((canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2))
    pictures = [image.resize((TILE, TILE))]
    for top in range(0, canvas[1], TILE):
        pictures += [whole.crop((left, top, left + TILE, top + TILE)) for left in range(0, canvas[0], TILE)]
    pixels = torch.stack([normalised(each, [0, 0, 0], [1, 1, 1]) for each in pictures])
    return pixels, canvas[0] // TILE, canvas[1] // TILE


@torch.no_grad()
def tile_tokens(model, picture: np.ndarray, merge: str, newline: torch.Tensor) -> torch.Tensor:
    """prepare_inputs_labels_for_multimodal: `flat`, `spatial` or `spatial_unpad`."""
    pixels, columns, rows = anyres(picture)
    features = torch.cat(
        [model.model.get_image_features(pixel_values=each[None], return_dict=True).pooler_output[0] for each in pixels]
    ).float().reshape(len(pixels), -1, model.config.text_config.hidden_size)
    if merge == "flat":
        return features.flatten(0, 1)
    side = int(math.sqrt(features.shape[1]))
    tiles = features[1:].view(rows, columns, side, side, -1)
    if merge == "spatial":
        return torch.cat([features[0], tiles.permute(0, 2, 1, 3, 4).flatten(0, 3)])
    tiles = tiles.permute(4, 0, 2, 1, 3).flatten(1, 2).flatten(2, 3)
    height, width = picture.shape[:2]
    current_height, current_width = tiles.shape[1:]
    if width / height > current_width / current_height:
        padding = (current_height - int(height * (current_width / width))) // 2
        tiles = tiles[:, padding : current_height - padding, :]
    else:
        padding = (current_width - int(width * (current_height / height))) // 2
        tiles = tiles[:, :, padding : current_width - padding]
    tiles = torch.cat([tiles, newline[:, None, None].expand(*tiles.shape[:-1], 1)], dim=-1)
    return torch.cat([features[0], tiles.flatten(1, 2).transpose(0, 1)])


def write_fastvlm(root: Path, seed: int) -> None:
    model = FastVlmForConditionalGeneration.from_pretrained(
        FIXTURES / "models" / "tiny-hf", dtype=torch.float32, attn_implementation="eager").eval()
    newline = exact(Seeder(seed).normal((model.config.text_config.hidden_size,), 1.0))
    tensors, images, cases = {"newline": newline}, [], []
    parts = small_tokenizer.chunks(small_tokenizer.chat([("user", "<image>\nWhat is this?")]))
    table = model.model.language_model.embed_tokens
    for index, size in enumerate(TILED_SIZES):
        given = picture(index, *size)
        counts = {}
        for merge in ["flat", "spatial", "spatial_unpad"]:
            tokens = tile_tokens(model, given, merge, newline)
            tensors[f"{merge}.{index}"] = tokens
            counts[merge] = len(tokens)
        images.append({"height": size[0], "width": size[1], "tokens": counts})
        tokens = tensors[f"spatial.{index}"]
        before, after = (table(torch.tensor(part)) for part in parts)
        prompt = dict(inputs_embeds=torch.cat([before, tokens, after]).detach()[None])
        found = answers.greedy(model, prompt, small_tokenizer.image_id(), STEPS)
        margin = min(found.margins)
        print(f"fastvlm {size}: {counts}, margin {margin:.4f}")
        tensors[f"logits.{index}"] = found.logits
        cases.append({"chunks": parts, "greedy": found.ids, "smallestMargin": round(margin, 6)})
    save_file({key: value.contiguous() for key, value in tensors.items()}, root / "fastvlm.safetensors")
    document = {"grids": GRIDS, "images": images, "cases": cases}
    (root / "fastvlm.json").write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=FIXTURES / "llava")
    parser.add_argument("--seed", type=int, default=20262)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one order of summation, so that the files can be made again
    root, seed = arguments.output, arguments.seed
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    write_counts(root / "next-counts.json", seed)
    write_fastvlm(root, seed)
    write_model(root, "llava-1.5", LlavaForConditionalGeneration, llava_configuration, seed, VICUNA)
    write_model(root, "next", LlavaNextForConditionalGeneration, next_configuration, seed, MISTRAL)
    manifest.write(root, "Tools/reference/llava_fixtures.py", {"seed": seed})
    total = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    print(f"{total / 1e3:.0f} kB in {root}")


if __name__ == "__main__":
    main()
