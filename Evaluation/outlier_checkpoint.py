#!/usr/bin/env python3
"""A copy of a FastVLM checkpoint that computes the same function with outlier channels.

Channels in front of products are multiplied with a power of two and the products' columns divided by it, where nothing
nonlinear stands between: behind norms, behind `up`, behind values. Exact in bfloat16, so every difference between the
copy's answers and the original's is what integers make of it.

    outlier_checkpoint.py Models/fastvlm-small outliers --factor 256 --channels 2
"""

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def pairs(tensors: dict, part: str):
    """(tensors whose rows or elements are multiplied, tensors whose columns are divided), by name."""
    for name in sorted(tensors):
        stem = name.rsplit(".", 2)[0]
        if part == "decoder":
            layer = name.removesuffix("input_layernorm.weight")
            if layer != name:
                attention, mlp = layer + "self_attn.", layer + "mlp."
                yield [name], [f"{attention}{p}_proj.weight" for p in "qkv"]
                yield [layer + "post_attention_layernorm.weight"], [mlp + "gate_proj.weight", mlp + "up_proj.weight"]
                yield [mlp + "up_proj.weight"], [mlp + "down_proj.weight"]
                values, outputs = tensors[attention + "v_proj.weight"], tensors[attention + "o_proj.weight"]
                if values.shape[0] == outputs.shape[1]:
                    yield [attention + "v_proj.weight", attention + "v_proj.bias"], [attention + "o_proj.weight"]
        elif name.endswith("mlp.conv.bn.weight"):
            mlp = stem.removesuffix(".conv")
            yield [name, name.replace("weight", "bias")], [f"{mlp}.fc1.weight"]
        elif name.endswith(".norm.weight") and "vision_tower" in name:
            block = name.removesuffix("norm.weight")
            yield [name, name.replace("weight", "bias")], [f"{block}token_mixer.qkv.weight"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--factor", type=int, default=256, help="a power of two")
    parser.add_argument("--channels", type=int, default=2, help="per product")
    parser.add_argument("--parts", default="decoder,tower", help="decoder, tower or both")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random = torch.Generator().manual_seed(arguments.seed)
    tensors = load_file(arguments.source / "model.safetensors")
    changed = 0
    for part in arguments.parts.split(","):
        for multiplied, divided in list(pairs(tensors, part)):
            count = tensors[divided[0]].shape[1]
            chosen = torch.randperm(count, generator=random)[: arguments.channels]
            for name in multiplied:
                if name in tensors:
                    tensors[name][chosen] *= arguments.factor
            for name in divided:
                tensors[name][:, chosen] /= arguments.factor
                changed += 1
    arguments.target.mkdir(parents=True, exist_ok=True)
    for file in arguments.source.iterdir():
        if file.name != "model.safetensors":
            shutil.copy(file, arguments.target)
    save_file(tensors, arguments.target / "model.safetensors", metadata={"format": "pt"})
    print(f"{changed} products, {arguments.channels} channels × {arguments.factor} each: {arguments.target}")


if __name__ == "__main__":
    main()
