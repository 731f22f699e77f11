"""The parts of the checkpoint as PyTorch modules, and the inputs all peers get."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

ENCODER = "model.vision_tower.timm_model."
DECODER = "model.language_model."


def part(checkpoint: Path, prefix: str) -> dict[str, torch.Tensor]:
    """The tensors under `prefix`, without it."""
    with safe_open(checkpoint / "model.safetensors", "pt") as file:
        return {
            key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)
        }


class Encoder(nn.Module):
    """FastViTHD: pixels [1, 3, S, S] -> features [1, 3072, S / 64, S / 64]."""

    def __init__(self, tower: nn.Module):
        super().__init__()
        self.tower = tower

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.tower.forward_features(pixels)


def encoder(checkpoint: Path, dtype: torch.dtype = torch.float32) -> Encoder:
    import timm

    config = json.loads((checkpoint / "config.json").read_text())["vision_config"]
    tower = timm.create_model(config["architecture"], num_classes=0, **config["model_args"])
    tower.load_state_dict(part(checkpoint, ENCODER))
    return Encoder(tower).to(dtype).eval()


def decoder(checkpoint: Path, dtype: torch.dtype = torch.float32):
    """Qwen2ForCausalLM with the checkpoint's weights."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = json.loads((checkpoint / "config.json").read_text())
    text = Qwen2Config(**config["text_config"])
    with torch.device("meta"):
        model = Qwen2ForCausalLM(text)
    state = {"model." + name: tensor.to(dtype) for name, tensor in part(checkpoint, DECODER).items()}
    state["lm_head.weight"] = (
        state["model.embed_tokens.weight"]
        if text.tie_word_embeddings
        else part(checkpoint, "lm_head.")["weight"].to(dtype)
    )
    model.load_state_dict(state, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(text)  # computed, hence not on the meta device
    return model.eval()


def pixels(side: int, seed: int = 1) -> np.ndarray:
    """[1, 3, side, side] float32 in 0...1: smooth shapes with noise on them."""
    random = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in random.uniform(-6, 6, (3, 3))]
    values = 0.5 + 0.35 * np.stack(waves) + random.normal(0, 0.08, (3, side, side))
    return np.clip(values, 0, 1)[None].astype(np.float32)


def ids(count: int, rows: int = 151_643, seed: int = 1) -> np.ndarray:
    """[count] int64: ordinary tokens of the vocabulary."""
    return np.random.default_rng(seed).integers(0, rows, count)
