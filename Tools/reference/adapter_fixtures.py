#!/usr/bin/env python3
"""Makes Tests/Fixtures/adapters: LoRA adapters that PEFT trained on tiny-hf, and what PEFT's own merge makes of them.

| folder | holds |
|---|---|
| `patterns` | every linear layer of decoder and projector, other ranks and alphas for some |
| `stable` | `use_rslora`, queries and values only, the projector's second layer trained whole (`modules_to_save`) |
| `apple` | `patterns` under the names of Apple's layout |

`expected.safetensors`: for `patterns`, `stable` and `both` (one merged after the other) the logits of two prompts and
some merged matrices; `expected.json`: greedy ids.

Run from the root of the repository, after model_fixtures.py:
    python Tools/reference/adapter_fixtures.py
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import FastVlmForConditionalGeneration

from fastvlm_reference import manifest, prompts, small_tokenizer, tiny

import numpy

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parents[1] / "Tests" / "Fixtures"
SMALLEST_MARGIN = 2e-3
STEPS = 24
CASES = prompts.CASES[:2]
DECODER = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PREFIX = "base_model.model."

CONFIGURATIONS = {
    "patterns": dict(
        r=4,
        lora_alpha=8,
        target_modules=DECODER + ["linear_1", "linear_2"],
        rank_pattern={"q_proj": 8, "layers.1.mlp.down_proj": 2},
        alpha_pattern={"down_proj": 3, "^model.multi_modal_projector.linear_1": 5},
    ),
    "stable": dict(
        r=4,
        lora_alpha=6,
        use_rslora=True,
        target_modules=r".*language_model.*\.(q_proj|v_proj)",
        modules_to_save=["linear_2"],
    ),
}
SHOWN = {
    "q_proj.0": "model.language_model.layers.0.self_attn.q_proj.weight",
    "down_proj.1": "model.language_model.layers.1.mlp.down_proj.weight",
    "linear_2": "model.multi_modal_projector.linear_2.weight",
}


def base() -> FastVlmForConditionalGeneration:
    folder = FIXTURES / "models" / "tiny-hf"
    return FastVlmForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def write_adapter(folder: Path, settings: dict, seed: int) -> None:
    """An adapter with random numbers in every matrix, also in B, which PEFT starts at zero."""
    model = get_peft_model(base(), LoraConfig(**settings))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        if "lora_" in name or ("modules_to_save" in name and parameter.requires_grad):
            change = torch.randn(parameter.shape, generator=generator) * 0.15
            parameter.copy_(change if "lora_" in name else parameter + change)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    document = json.loads(path.read_text())
    document["base_model_name_or_path"] = "tiny-hf"
    # Sets come out in an order that changes from run to run.
    if isinstance(document["target_modules"], list):
        document["target_modules"].sort()
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def merged(folders: list[Path]) -> FastVlmForConditionalGeneration:
    model = base()
    for folder in folders:
        model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    return model.eval()


def apple_names(source: Path, target: Path) -> None:
    """The same adapter as if it had been trained on Apple's class."""
    target.mkdir(parents=True)
    renamed = {
        name.replace("model.language_model.", "model.")
        .replace("multi_modal_projector.linear_1", "mm_projector.0")
        .replace("multi_modal_projector.linear_2", "mm_projector.2"): tensor
        for name, tensor in load_file(source / "adapter_model.safetensors").items()
    }
    save_file(renamed, target / "adapter_model.safetensors", metadata={"format": "pt"})
    document = json.loads((source / "adapter_config.json").read_text())
    document["target_modules"] = sorted(DECODER + ["mm_projector.0", "mm_projector.2"])
    document["alpha_pattern"] = {"down_proj": 3, "^model.mm_projector.0": 5}
    (target / "adapter_config.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def answers(folders: list[Path], pictures) -> tuple[dict, dict] | None:
    """Tensors and ids; None when a choice is so close that the last bits could turn it."""
    model = merged(folders)
    state = model.state_dict()
    tensors = {name: state[key].clone() for name, key in SHOWN.items()}
    ids = {}
    for case in CASES:
        prompt = tiny.expanded(case.chunks(), tiny.Shape().tokens)
        images = [pictures[index] for index in case.images]
        answer = tiny.greedy(model, prompt, images, small_tokenizer.image_id(), STEPS)
        if min(answer.margins) < SMALLEST_MARGIN or len(set(answer.ids)) < 8:
            return None
        tensors[f"logits.{case.name}"] = answer.logits
        ids[case.name] = answer.ids
    return tensors, ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FIXTURES / "adapters")
    parser.add_argument("--seed", type=int, default=20261129)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    root = arguments.output
    pictures = [
        numpy.asarray(Image.open(FIXTURES / "models" / "images" / f"image-{index}.png").convert("RGB"))
        for index in range(3)
    ]
    for seed in range(arguments.seed, arguments.seed + 200):
        shutil.rmtree(root, ignore_errors=True)
        for index, (name, settings) in enumerate(CONFIGURATIONS.items()):
            write_adapter(root / name, settings, seed + 1000 * index)
        groups = {"patterns": ["patterns"], "stable": ["stable"], "both": ["patterns", "stable"]}
        found = {name: answers([root / part for part in parts], pictures) for name, parts in groups.items()}
        if all(found.values()):
            break
    else:
        raise SystemExit("no acceptable seed")
    apple_names(root / "patterns", root / "apple")
    tensors = {f"{name}.{key}": value for name, (some, _) in found.items() for key, value in some.items()}
    save_file({key: value.contiguous() for key, value in tensors.items()}, root / "expected.safetensors")
    document = {
        name: [{"name": case.name, "images": case.images, "chunks": case.chunks(), "greedy": ids[case.name]} for case in CASES]
        for name, (_, ids) in found.items()
    }
    (root / "expected.json").write_text(json.dumps(document) + "\n")
    manifest.write(root, "Tools/reference/adapter_fixtures.py", {"seed": seed})
    print(f"seed {seed}, {sum(path.stat().st_size for path in root.rglob('*') if path.is_file())} bytes")


if __name__ == "__main__":
    main()
