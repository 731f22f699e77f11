"""Writes the fixtures of Tests/CheckpointsTests: one tiny FastVLM, once with training branches and once folded.

Both folders hold the same seeded model as `transformers` saves it. `train_time` has every branch of the tower
(timm, `inference_mode=False`); `folded` has what timm's own re-parameterisation makes of it. Before anything is
written, the script checks that the folded tower computes the same features as the branched one in eval mode.

Run from the root of the repository:
    python Tools/reference/checkpoint_fixtures.py --output Tests/Fixtures/checkpoints
"""

import argparse
import hashlib
import json
import pathlib

import numpy
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from timm.utils import reparameterize_model
from transformers import FastVlmConfig, FastVlmForConditionalGeneration

DEPTHS = [2, 1, 1, 1, 1]
WIDTHS = [4, 8, 8, 32, 32]
RATIOS = [3, 2, 2, 1, 1]


def configuration(inference_mode: bool) -> FastVlmConfig:
    return FastVlmConfig(
        vision_config=dict(
            model_type="timm_wrapper",
            architecture="fastvit_mci3",
            num_classes=0,
            hidden_size=2 * WIDTHS[-1],
            do_pooling=True,
            global_pool="avg",
            model_args=dict(
                inference_mode=inference_mode, layers=DEPTHS, embed_dims=WIDTHS, mlp_ratios=RATIOS),
        ),
        text_config=dict(
            model_type="qwen2",
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            vocab_size=40,
            rope_parameters=dict(rope_type="default", rope_theta=1e6),
            max_position_embeddings=512,
            eos_token_id=38,
            tie_word_embeddings=True,
        ),
        image_token_index=39,
        image_seq_length=16,
    )


def randomise(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Gives every norm, scale and bias a value that matters."""

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                uniform(value, 0.3, 2.0)
            elif name.endswith("running_mean"):
                uniform(value, -0.5, 0.5)
            elif ".bn." in name or ".identity." in name:
                uniform(value, 0.4, 1.6) if name.endswith("weight") else uniform(value, -0.4, 0.4)
            elif "gamma" in name:
                uniform(value, 0.2, 0.8)
            elif value.dtype.is_floating_point:
                uniform(value, -0.3, 0.3)


def save(model: FastVlmForConditionalGeneration, folder: pathlib.Path) -> None:
    model.save_pretrained(folder)
    # Counters are int64 in PyTorch; everything else stays float32.
    state = load_file(folder / "model.safetensors")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "generation_config.json").unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=20261123)
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(arguments.seed)

    branched = FastVlmForConditionalGeneration(configuration(inference_mode=False)).eval()
    randomise(branched, generator)
    folded = FastVlmForConditionalGeneration(configuration(inference_mode=True)).eval()
    tower = reparameterize_model(branched.model.vision_tower.timm_model, inplace=False)
    folded.model.language_model.load_state_dict(branched.model.language_model.state_dict())
    folded.model.multi_modal_projector.load_state_dict(branched.model.multi_modal_projector.state_dict())
    folded.model.vision_tower.timm_model.load_state_dict(tower.state_dict(), strict=True)

    pixels = torch.rand(1, 3, 128, 128, generator=generator)
    with torch.no_grad():
        expected = branched.model.vision_tower.timm_model.forward_features(pixels)
        got = folded.model.vision_tower.timm_model.forward_features(pixels)
    error = ((expected - got).norm() / expected.norm()).item()
    if error > 1e-5:
        raise SystemExit(f"timm's folding differs from its branches: {error}")

    lines = {}
    versions = dict(
        torch=torch.__version__.split("+")[0], timm=timm.__version__, transformers=transformers.__version__,
        numpy=numpy.__version__)
    for name, model in [("train_time", branched), ("folded", folded)]:
        folder = arguments.output / name
        folder.mkdir(parents=True, exist_ok=True)
        save(model, folder)
        for path in sorted(folder.iterdir()):
            lines[f"{name}/{path.name}"] = dict(
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                generator="Tools/reference/checkpoint_fixtures.py", seed=arguments.seed, versions=versions)
    (arguments.output / "MANIFEST.json").write_text(json.dumps(lines, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
