#!/usr/bin/env python3
"""Makes Tests/Fixtures/onevision: vision transformers, a whole small LLaVA-OneVision, and what they compute.

A tower of each family (CLIP, SigLIP) alone, under this project's names; the small model as transformers saves it, with
images of odd sizes that are cut into tiles, and its answers; and how many visual tokens images of random sizes become in
the published model. Seeded; the seed is taken only if no greedy choice is so close that the last bits of float32 could
turn it.
"""

import argparse
import json
import random
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionProcessor,
    Qwen2Config,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from fastvlm_reference import answers, folders, manifest, small_tokenizer
from fastvlm_reference.seeding import Seeder, exact

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parents[1] / "Tests" / "Fixtures" / "onevision"
STEPS = 64
SMALLEST_MARGIN = 2e-3
FEWEST_DISTINCT = 12
TILE = 30
PATCH = 7
# Height and width: those of the reference table at TILE instead of 384 pixels, and others that divide nothing.
SIZES = [(30, 30), (37, 50), (67, 81), (84, 150), (180, 179), (8, 79), (234, 157)]
# Which images each prompt is about.
CASES = [[], [0], [1], [2], [3], [4], [5], [6], [1, 2], [3, 0, 5]]
# The template of the hub's llava-onevision-…-hf: a space after the role, images first, a line break before each text.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ '\\n' + content['text'] }}{% endfor %}"
    "{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ '\\n' + content['text'] }}{% endgeneration %}{% endfor %}"
    "{% endif %}{{'<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def picture(index: int, height: int, width: int) -> np.ndarray:
    """As seeding.image, of any shape, with cells of 3 x 3 pixels."""
    y, x, c = np.meshgrid(np.arange(height) // 3, np.arange(width) // 3, np.arange(3), indexing="ij")
    return ((37 * x + 61 * y + 89 * c + 113 * index + 17 * x * y) % 256).astype(np.uint8)


def positions(module, seeder: Seeder) -> None:
    """Positions of the size of patches, which the common way of seeding would drown in."""
    with torch.no_grad():
        module.position_embedding.weight.copy_(
            exact(seeder.normal(module.position_embedding.weight.shape, 0.3))
        )
        if hasattr(module, "class_embedding"):
            module.class_embedding.copy_(exact(seeder.normal(module.class_embedding.shape, 0.5)))


# MARK: towers


def canonical(name: str) -> str | None:
    """Transformers' name below the tower to this project's; None for what nothing uses."""
    name = name.removeprefix("vision_model.")
    fixed = {
        "embeddings.class_embedding": "class_token",
        "embeddings.patch_embedding.weight": "patch.weight",
        "embeddings.patch_embedding.bias": "patch.bias",
        "embeddings.position_embedding.weight": "positions.weight",
    }
    if name in fixed:
        return "vision." + fixed[name]
    if name.startswith("head."):
        return None
    for old, new in [
        ("pre_layrnorm", "pre_norm"),
        ("post_layernorm", "post_norm"),
        ("encoder.layers", "layers"),
        ("layer_norm1", "attention_norm"),
        ("layer_norm2", "mlp_norm"),
        ("self_attn.q_proj", "attention.query"),
        ("self_attn.k_proj", "attention.key"),
        ("self_attn.v_proj", "attention.value"),
        ("self_attn.out_proj", "attention.output"),
        ("mlp.fc1", "mlp.expand"),
        ("mlp.fc2", "mlp.project"),
    ]:
        name = name.replace(old, new)
    return "vision." + name


@torch.no_grad()
def write_tower(path: Path, model, seed: int) -> None:
    """Weights in bfloat16, which holds them exactly; pixels, and the outputs of every block in float32."""
    seeder = Seeder(seed)
    seeder.fill(model)
    inner = model.vision_model if hasattr(model, "vision_model") else model
    positions(inner.embeddings, seeder)
    side = model.config.image_size
    pixels = (picture(3, side, side).astype(np.float32) / 255 - 0.5) / 0.5
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    output = model(pixel_values=given, output_hidden_states=True, return_dict=True)
    tensors = {"input": torch.from_numpy(pixels)}
    for index, states in enumerate(output.hidden_states):
        tensors[f"hidden.{index}"] = states[0].float()
    tensors["last"] = output.last_hidden_state[0].float()
    for name, value in model.state_dict().items():
        if (name := canonical(name)) is not None and not name.endswith("position_ids"):
            tensors[name] = value.to(torch.bfloat16)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, path)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def write_towers(folder: Path, seed: int) -> None:
    common = dict(num_hidden_layers=2, num_attention_heads=1, attn_implementation="eager")
    write_tower(
        folder / "clip.safetensors",
        CLIPVisionModel(
            CLIPVisionConfig(hidden_size=64, intermediate_size=96, image_size=42, patch_size=14, **common)
        ).eval(),
        seed,
    )
    write_tower(
        folder / "siglip.safetensors",
        SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=72,
                intermediate_size=100,
                image_size=30,
                patch_size=7,
                vision_use_head=False,
                **common,
            )
        ).eval(),
        seed + 1,
    )


# MARK: the whole model


def configuration() -> LlavaOnevisionConfig:
    added = small_tokenizer.added(True)
    vision = SiglipVisionConfig(
        hidden_size=48,
        intermediate_size=72,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=TILE,
        patch_size=PATCH,
        vision_use_head=False,
    )
    text = Qwen2Config(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        vocab_size=small_tokenizer.ROWS,
        tie_word_embeddings=True,
        max_position_embeddings=32768,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        bos_token_id=added["<|endoftext|>"],
        eos_token_id=added["<|im_end|>"],
    )
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=small_tokenizer.image_id(),
        video_token_index=small_tokenizer.ROWS - 1,
        image_grid_pinpoints=[[TILE * y, TILE * x] for y in range(1, 7) for x in range(1, 7)],
        tie_word_embeddings=True,
    )
    config._attn_implementation = "eager"
    return config


def build(seed: int) -> LlavaOnevisionForConditionalGeneration:
    model = LlavaOnevisionForConditionalGeneration(configuration())
    seeder = Seeder(seed)
    seeder.fill(model)
    inner = model.model
    positions(inner.vision_tower.embeddings, seeder)
    first = len(small_tokenizer.vocabulary())
    with torch.no_grad():
        inner.image_newline.copy_(exact(seeder.normal(inner.image_newline.shape, 1.0)))
        table = inner.language_model.embed_tokens.weight
        table[first : small_tokenizer.image_id() + 1] *= 1 / 16
        table.copy_(exact(table))
        model.lm_head.weight = table
    return model.eval()


def processor() -> LlavaOnevisionImageProcessorPil:
    return LlavaOnevisionImageProcessorPil(
        size={"height": TILE, "width": TILE},
        image_grid_pinpoints=configuration().image_grid_pinpoints,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def inputs(pictures: list[np.ndarray]) -> dict:
    """As `apply_chat_template` passes the images of a conversation: a list in a list."""
    given = processor()(images=[pictures], return_tensors="pt")
    return {
        "pixel_values": given["pixel_values"].float(),
        "image_sizes": given["image_sizes"],
        "batch_num_images": given["batch_num_images"],
    }


@torch.no_grad()
def visual(model, pictures: list[np.ndarray]) -> list[torch.Tensor]:
    """Visual tokens of each image, [tokens, hidden]."""
    config = model.config
    output = model.model.get_image_features(
        **inputs(pictures),
        vision_feature_layer=config.vision_feature_layer,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        vision_aspect_ratio=config.vision_aspect_ratio,
        return_dict=True,
    )
    return [tokens.float() for tokens in output.pooler_output]


def prompt(count: int) -> list[list[int]]:
    text = "<|im_start|>user " + "<image>" * count + "\nWhat is this?<|im_end|><|im_start|>assistant\n"
    return small_tokenizer.chunks(text)


@torch.no_grad()
def answer(model, case: list[int], pictures, limit: int):
    """Greedy ids, logits at the prompt's last position, the smallest margin between best and second."""
    given = {}
    counts = []
    if case:
        chosen = [pictures[index] for index in case]
        given = inputs(chosen)
        counts = [len(tokens) for tokens in visual(model, chosen)]
    chunks = prompt(len(case))
    ids = list(chunks[0])
    for count, chunk in zip(counts, chunks[1:]):
        ids += [small_tokenizer.image_id()] * count + chunk
    found = answers.greedy(model, dict(input_ids=torch.tensor([ids]), **given), limit, STEPS)
    return {"chunks": chunks, "tokens": counts, "greedy": found.ids}, found.logits, min(found.margins)


def levels_hash(pixels: torch.Tensor) -> str:
    """FNV-1a over the 8-bit levels of [tiles, 3, S, S] in the order tile, row, column, channel."""
    levels = torch.round((pixels * 0.5 + 0.5) * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    value = 0xCBF29CE484222325
    for byte in levels.numpy().tobytes():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return f"{value:016x}"


def search(seed: int, pictures):
    limit = small_tokenizer.image_id()
    for candidate in range(seed, seed + 300):
        model = build(candidate)
        found = []
        for case in CASES:
            facts, logits, margin = answer(model, case, pictures, limit)
            acceptable = (
                margin > SMALLEST_MARGIN
                and len(set(facts["greedy"])) >= FEWEST_DISTINCT
                and max(facts["greedy"]) < len(small_tokenizer.vocabulary())
            )
            if not acceptable:
                break
            found.append((case, facts, logits, margin))
        if len(found) == len(CASES):
            return candidate, model, found
    raise SystemExit(f"no acceptable seed within 300 of {seed}")


def write_model(root: Path, seed: int) -> None:
    pictures = [picture(index, *size) for index, size in enumerate(SIZES)]
    taken, model, found = search(seed, pictures)
    folder = root / "tiny"
    folder.mkdir(parents=True)
    state = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}
    save_file(
        folders.stored(state, torch.bfloat16), folder / "model.safetensors", metadata={"format": "pt"}
    )
    config = {"architectures": ["LlavaOnevisionForConditionalGeneration"], **model.config.to_dict()}
    config["dtype"] = "bfloat16"
    small_tokenizer.write_json(folder / "config.json", config)
    processor().save_pretrained(folder)
    small_tokenizer.write(folder, with_image=True)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    tensors, images = {}, []
    for index, (given, size) in enumerate(zip(pictures, SIZES)):
        tokens = visual(model, [given])[0]
        tensors[f"visual.{index}"] = tokens
        pixels = inputs([given])["pixel_values"][0]
        images.append(
            {
                "height": size[0],
                "width": size[1],
                "tokens": len(tokens),
                "tiles": len(pixels),
                "levels": levels_hash(pixels),
            }
        )
    several = visual(model, [pictures[1], pictures[2]])
    tensors["visual.several.1"], tensors["visual.several.2"] = several
    for number, (_, _, logits, _) in enumerate(found):
        tensors[f"logits.{number}"] = logits
    save_file({name: value.contiguous() for name, value in tensors.items()}, root / "expected.safetensors")
    document = {
        "seed": taken,
        "tile": TILE,
        "imageTokenId": small_tokenizer.image_id(),
        "images": images,
        "cases": [
            {"images": case, **facts, "smallestMargin": round(margin, 6)} for case, facts, _, margin in found
        ],
    }
    (root / "expected.json").write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"tiny: seed {taken}, smallest margins {[round(margin, 4) for *_, margin in found]}")


# MARK: counts of the published model


class Counter:
    """What LlavaOnevisionProcessor needs to count, without its parts."""

    num_image_tokens = 729
    vision_aspect_ratio = "anyres_max_9"

    def __init__(self):
        self.image_processor = LlavaOnevisionImageProcessorPil()

    _get_unpadded_features = LlavaOnevisionProcessor._get_unpadded_features
    count = LlavaOnevisionProcessor._get_number_of_features


def write_counts(path: Path, seed: int) -> None:
    """[height, width, tokens] of sizes of all proportions, those where the two ways of unpadding differ among them."""
    counter, generator = Counter(), random.Random(seed)
    sizes = [(624, 1872), (700, 2520), (1500, 1750), (1280, 853), (853, 1280), (1246, 1027), (3000, 1), (1, 3000)]
    for _ in range(400):
        height = int(2 ** generator.uniform(0, 12.3))
        width = max(1, int(height * 2 ** generator.uniform(-3, 3)))
        sizes.append((height, width))
    counts = [[height, width, counter.count(height, width, 384, 384)] for height, width in sizes]
    path.write_text(json.dumps(counts, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(counts)} sizes, most tokens {max(count for *_, count in counts)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DEFAULT)
    parser.add_argument("--seed", type=int, default=20260)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one order of summation, so that the files can be made again
    root = arguments.output
    shutil.rmtree(root, ignore_errors=True)
    write_towers(root / "towers", arguments.seed)
    write_counts(root / "counts.json", arguments.seed)
    write_model(root, arguments.seed)
    manifest.write(root, "Tools/reference/onevision_fixtures.py", {"seed": arguments.seed})
    total = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    print(f"{total / 1e3:.0f} kB in {root}")


if __name__ == "__main__":
    main()
