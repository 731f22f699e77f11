#!/usr/bin/env python3
"""Makes Tests/Fixtures/models: blocks, whole small FastVLMs in every checkpoint layout, and what they answer.

Everything is seeded. A seed is taken only if its greedy answers are varied and no choice is so close that the
last bits of float32 could turn it: the script searches upwards from --seed and writes the one it took.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import fastvit
from transformers import FastVlmForConditionalGeneration

from fastvlm_reference import blocks, folders, layouts, manifest, prompts, seeding, small_tokenizer, tiny
from fastvlm_reference.answers import Answer
from fastvlm_reference.tiny import Shape

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parents[1] / "Tests" / "Fixtures" / "models"
SMALLEST_MARGIN = 2e-3
FEWEST_DISTINCT = 16
# Where each search begins, relative to --seed: found once, so that making the files again is quick.
SEED_OFFSETS = {"tiny": 0, "tiny-train": 9, "tiny-mlx-q4": 0, "tiny-mlx-q8": 22, "tiny-llama": 1}
PICTURES = 3


def save(path: Path, tensors: dict[str, torch.Tensor], facts: dict | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    # One metadata key at most: safetensors writes several in an order that changes from run to run.
    save_file(plain, path, metadata={"settings": json.dumps(facts)} if facts else None)


@torch.no_grad()
def write_blocks(folder: Path, seed: int) -> None:
    for index, (name, make) in enumerate(blocks.BLOCKS.items()):
        tensors, facts = make(seed + index)
        save(folder / f"{name}.safetensors", tensors, facts)


def write_images(folder: Path, side: int) -> list:
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [seeding.image(index, side) for index in range(PICTURES)]
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"image-{index}.png", optimize=True)
    return pictures


def answers(model, cases, pictures, tokens: int) -> dict[str, Answer] | None:
    """Greedy answers by case; None as soon as one is not acceptable, or two are the same."""
    given = {}
    for case in cases:
        ids = tiny.expanded(case.chunks(), tokens)
        images = [pictures[index] for index in case.images]
        answer = tiny.greedy(model, ids, images, small_tokenizer.image_id())
        if not acceptable(answer) or any(other.ids == answer.ids for other in given.values()):
            return None
        given[case.name] = answer
    return given


def acceptable(answer: Answer) -> bool:
    """No close call, no monotony, never a special token."""
    plain = max(answer.ids) < len(small_tokenizer.vocabulary())
    return plain and min(answer.margins) > SMALLEST_MARGIN and len(set(answer.ids)) >= FEWEST_DISTINCT


def search(name: str, shape: Shape, seed: int, cases, pictures, prepare):
    """First seed from its start on whose model, once `prepare`d (written, quantised), answers acceptably."""
    start = seed + SEED_OFFSETS[name]
    for candidate in range(start, start + 300):
        model = tiny.build(shape, candidate)
        prepare(model, candidate)
        given = answers(model, cases, pictures, shape.tokens)
        if given:
            return candidate, model, given
    raise SystemExit(f"{name}: no acceptable seed within 300 of {start}")


def describe(shape: Shape, seed: int, used: list[str], cases, given) -> dict:
    decoder = small_tokenizer.tokenizer(True)
    return {
        "folders": used,
        "seed": seed,
        "imageSide": shape.side,
        "tokensPerImage": shape.tokens,
        "vocabularyRows": small_tokenizer.ROWS,
        "imageTokenId": small_tokenizer.image_id(),
        "greedyLimit": small_tokenizer.image_id(),
        "cases": [
            case.document()
            | {
                "ids": tiny.expanded(case.chunks(), shape.tokens),
                "greedy": given[case.name].ids,
                "text": decoder.decode(given[case.name].ids),
                "smallestMargin": round(min(given[case.name].margins), 6),
                "stepsWhereAPaddingRowLed": given[case.name].masked,
            }
            for case in cases
        ],
    }


def expect(path: Path, model, shape: Shape, seed: int, used, cases, given, pictures, more=None) -> None:
    """`path`.json (prompts, ids, greedy ids) and `path`.safetensors (features, projected tokens, logits)."""
    tensors = dict(more or {})
    for index in sorted({index for case in cases for index in case.images}):
        features, projected = tiny.encode(model, pictures[index])
        tensors[f"features.{index}"], tensors[f"projected.{index}"] = features, projected
    for name, answer in given.items():
        tensors[f"logits.{name}"] = answer.logits
    save(path.with_name(path.name + ".safetensors"), tensors)
    small_tokenizer.write_json(path.with_name(path.name + ".json"), describe(shape, seed, used, cases, given))
    margins = {name: f"{min(answer.margins):.4f}" for name, answer in given.items()}
    print(f"{path.name}: seed {seed}, smallest margins {margins}", flush=True)


def write_main(root: Path, seed: int, pictures) -> None:
    """tiny-hf, tiny-apple and tiny-mlx hold the same numbers and share tiny.expected."""
    shape = Shape()
    taken, model, given = search("tiny", shape, seed, prompts.CASES, pictures, lambda model, candidate: None)
    folders.write_hf(root / "tiny-hf", model, shape)
    folders.write_apple(root / "tiny-apple", model, shape, taken, shards=2)
    folders.write_mlx(root / "tiny-mlx", model, shape, taken)
    check_against_transformers(root / "tiny-hf", given, pictures, shape)
    half_side = seeding.image(0, 128)
    more = {"image128.0": torch.from_numpy(half_side)}
    more["features128.0"], more["projected128.0"] = tiny.encode(model, half_side)
    more |= {f"intermediate128.{name}": value for name, value in tiny.intermediates(model, half_side).items()}
    more |= brain_float(root / "tiny-hf", model, pictures, shape)
    used = ["tiny-hf", "tiny-apple", "tiny-mlx"]
    expect(root / "tiny.expected", model, shape, taken, used, prompts.CASES, given, pictures, more)


@torch.no_grad()
def check_against_transformers(folder: Path, given, pictures, shape: Shape) -> None:
    """The written folder, loaded by transformers, with its own `generate`, must give the same ids."""
    model = FastVlmForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    padding = list(range(small_tokenizer.image_id(), small_tokenizer.ROWS))
    model.generation_config.eos_token_id = None
    for case in prompts.CASES:
        ids = torch.tensor([tiny.expanded(case.chunks(), shape.tokens)])
        extra = {}
        if case.images:
            extra["pixel_values"] = torch.cat([seeding.pixels(pictures[index]) for index in case.images])
        result = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tiny.STEPS,
            do_sample=False,
            suppress_tokens=padding,
            pad_token_id=0,
            **extra,
        )
        if result[0, ids.shape[1] :].tolist() != given[case.name].ids:
            raise SystemExit(f"{folder.name}, {case.name}: transformers' generate gives other ids")


def brain_float(folder: Path, model, pictures, shape: Shape) -> dict[str, torch.Tensor]:
    """What transformers computes in bfloat16: a yardstick for how far bfloat16 may stray."""
    low = FastVlmForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).eval()
    result = {}
    for index, picture in enumerate(pictures):
        result[f"bf16.features.{index}"], result[f"bf16.projected.{index}"] = tiny.encode(low, picture)
        cosine = torch.cosine_similarity(
            result[f"bf16.features.{index}"].flatten(), tiny.encode(model, picture)[0].flatten(), dim=0
        )
        print(f"bf16 features of image {index}: cosine to float32 {cosine:.6f}")
    for case in prompts.CASES:
        given = tiny.greedy(
            low,
            tiny.expanded(case.chunks(), shape.tokens),
            [pictures[index] for index in case.images],
            small_tokenizer.image_id(),
            steps=1,
        )
        result[f"bf16.logits.{case.name}"] = given.logits
    return result


def write_variant(
    root: Path, name: str, shape: Shape, seed: int, pictures, used, prepare, after=None
) -> None:
    """One more model with its own expected files; `after` writes folders once the seed is known."""
    cases = prompts.CASES[:3]
    taken, model, given = search(name, shape, seed, cases, pictures, prepare)
    if after:
        after(model, taken)
    expect(root / f"{name}.expected", model, shape, taken, used, cases, given, pictures)


def write_train(root: Path, seed: int, pictures) -> None:
    """Un-folded training weights (Hugging Face and Apple names), tied embeddings, one key-value head."""
    shape = Shape(
        train_time=True, tied=True, hidden=32, layers=1, heads=4, key_value_heads=1, intermediate=48
    )

    def after(model, taken):
        folders.write_hf(root / "tiny-train", model, shape, dtype=torch.bfloat16)
        folders.write_apple(root / "tiny-apple-train", model, shape, taken, separate_files=True)
        check_apple_names(root / "tiny-apple-train" / "model.safetensors", model)

    used = ["tiny-train", "tiny-apple-train"]
    write_variant(root, "tiny-train", shape, seed, pictures, used, lambda model, candidate: None, after)


def check_apple_names(path: Path, model) -> None:
    """timm's own map from Apple's train-time names must find every tensor of its model again."""
    state = {
        name.removeprefix(layouts.APPLE_VISION): tensor.float()
        for name, tensor in load_file(path).items()
        if name.startswith(layouts.APPLE_VISION)
    }
    del state["head.proj"]
    timm_model = model.model.vision_tower.timm_model
    mapped = fastvit.checkpoint_filter_fn(state, timm_model)
    expected = timm_model.state_dict()
    if sorted(mapped) != sorted(expected):
        raise SystemExit(
            f"Apple names: {sorted(set(mapped) ^ set(expected))[:4]} have no counterpart in timm"
        )
    for name, tensor in expected.items():
        if not torch.equal(mapped[name], tensor.float()):
            raise SystemExit(f"Apple names: {name} holds other values")


def write_quantised(root: Path, seed: int, pictures) -> None:
    """Four bits in groups of 32; eight bits in groups of 64 (which skips the down projections), tied."""
    for bits, group, tied in [(4, 32, False), (8, 64, True)]:
        shape, name = Shape(tied=tied, layers=1, intermediate=96), f"tiny-mlx-q{bits}"

        def prepare(model, candidate, shape=shape, name=name, bits=bits, group=group):
            folders.write_mlx(root / name, model, shape, candidate, bits, group)

        write_variant(root, name, shape, seed, pictures, [name], prepare)


def write_llama(root: Path, seed: int, pictures) -> None:
    """A Llama decoder (no biases, as many key-value heads as heads), names without the leading `model.`."""
    shape = Shape(
        family="llama",
        hidden=32,
        heads=2,
        key_value_heads=2,
        layers=2,
        intermediate=48,
        vision_layers=[1, 1, 1, 1, 1],
        ratios=[1, 1, 1, 1, 1],
    )

    def after(model, taken):
        folders.write_hf(root / "tiny-llama", model, shape, dtype=torch.bfloat16, old=True)

    write_variant(
        root, "tiny-llama", shape, seed, pictures, ["tiny-llama"], lambda model, candidate: None, after
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DEFAULT)
    parser.add_argument("--seed", type=int, default=20260)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one order of summation, so that the files can be made again
    root = arguments.output
    shutil.rmtree(root, ignore_errors=True)
    pictures = write_images(root / "images", Shape().side)
    write_blocks(root / "blocks", arguments.seed)
    write_main(root, arguments.seed, pictures)
    write_train(root, arguments.seed, pictures)
    write_quantised(root, arguments.seed, pictures)
    write_llama(root, arguments.seed, pictures)
    small_tokenizer.write_json(root / "prompts.json", prompts.golden())
    manifest.write(root, "Tools/reference/model_fixtures.py", {"seed": arguments.seed})
    total = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    print(f"{total / 1e6:.2f} MB in {root}")


if __name__ == "__main__":
    main()
