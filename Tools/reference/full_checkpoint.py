#!/usr/bin/env python3
"""Makes a FastVLM-0.5B of full width with seeded random weights, and what transformers computes with it.

For the check `make verify-full` and for benchmarks; never committed. The weights keep activations at an
ordinary scale through all layers, and are exact in bfloat16, so that --dtype float32 and bfloat16 hold the
same numbers. The vocabulary is Qwen2's when `qwen.tiktoken` (or the dashscope wheel that has it) lies under
downloads/ or --vocabulary; else the small tokenizer of the fixtures, whose ids fill only the first rows.

--expected adds expected.safetensors: for each side S of --sides
  image.S [S, S, 3] uint8, features.S [(S/64)^2, 3072], projected.S [(S/64)^2, 896], ids.S, logits.S [rows] of
  the last position, greedy.S (ids) and margins.S, all in float32 arithmetic; and image-S.png beside it.
"""

import argparse
import time
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import FastVlmConfig, FastVlmForConditionalGeneration, Qwen2Config
from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig

from fastvlm_reference import folders, qwen_vocabulary, seeding, small_tokenizer, tiny
from fastvlm_reference.seeding import Seeder, exact

ROOT = Path(__file__).resolve().parents[2]
ROWS = 152000  # 151,936 and the image token, padded to a multiple of 64
QUESTION = "What are these?"


class FullSeeder(Seeder):
    """Scales for depth: folded mixers near the identity, quiet residual branches."""

    def _fill_module(self, name: str, module: nn.Module) -> None:
        super()._fill_module(name, module)
        if isinstance(module, nn.Conv2d) and name.endswith(
            ("token_mixer.reparam_conv", "pos_emb.reparam_conv")
        ):
            side = module.kernel_size[0]
            identity = torch.zeros_like(module.weight)
            identity[:, 0, side // 2, side // 2] = 1
            module.weight.copy_(exact(identity + self.normal(identity.shape, 0.15 / side)))
            module.bias.copy_(exact(self.normal(module.bias.shape, 0.02)))
        elif type(module).__name__ == "LayerScale2d":
            module.gamma.copy_(exact(self.uniform(module.gamma.shape, 0.1, 0.4)))
        elif name.endswith(("o_proj", "down_proj")):
            module.weight.copy_(exact(module.weight / 2))
        elif name.endswith("linear_1"):  # features are louder here than in the small models
            module.weight.copy_(exact(module.weight / 32))


def configuration(image_id: int, specials: dict[str, int], tied: bool) -> FastVlmConfig:
    text = Qwen2Config(
        hidden_size=896,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        intermediate_size=4864,
        vocab_size=ROWS,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        max_position_embeddings=32768,
        tie_word_embeddings=tied,
        bos_token_id=specials["<|endoftext|>"],
        eos_token_id=specials["<|im_end|>"],
    )
    vision = TimmWrapperConfig(
        architecture="fastvit_mci3",
        model_args={"inference_mode": True},
        hidden_size=3072,
        num_classes=0,
        global_pool="avg",
        do_pooling=True,
        initializer_range=0.02,
    )
    return FastVlmConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image_id,
        image_seq_length=256,
        tie_word_embeddings=tied,
    )


def write_tokenizer(folder: Path, vocabulary_folder: Path) -> dict[str, int]:
    """-> ids of the special tokens, `<image>` among them."""
    content = qwen_vocabulary.find(vocabulary_folder)
    if content is None:
        print(f"no qwen.tiktoken under {vocabulary_folder}: taking the small tokenizer")
        small_tokenizer.write(folder, with_image=True, chat_template=True)
        return small_tokenizer.added(True)
    vocabulary, merges = qwen_vocabulary.derive(content)
    specials = qwen_vocabulary.SPECIALS
    small_tokenizer.write_json(
        folder / "tokenizer.json", small_tokenizer.tokenizer_document(vocabulary, merges, specials)
    )
    small_tokenizer.write_settings(folder, specials, chat_template=True)
    return specials


def write_checkpoint(folder: Path, model, dtype: torch.dtype, tied: bool) -> None:
    state = model.state_dict()
    if tied:
        del state["lm_head.weight"]
    for name, tensor in state.items():
        state[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    config |= {
        "architectures": ["FastVlmForConditionalGeneration"],
        "dtype": str(dtype).removeprefix("torch."),
    }
    small_tokenizer.write_json(folder / "config.json", config)
    model.generation_config.save_pretrained(folder)
    folders.write_processor(folder, 1024)


def expected(folder: Path, model, sides: list[int], steps: int) -> dict[str, torch.Tensor]:
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_file(str(folder / "tokenizer.json"))
    image_id = encoder.token_to_id("<image>")
    prompt = small_tokenizer.chat([("user", "<image>\n" + QUESTION)])
    before, after = [encoder.encode(part, add_special_tokens=False).ids for part in prompt.split("<image>")]
    result = {}
    for side in sides:
        picture = seeding.image(0, side)
        Image.fromarray(picture).save(folder / f"image-{side}.png")
        start = time.monotonic()
        features, projected = tiny.encode(model, picture)
        encoded = time.monotonic()
        ids = before + [image_id] * (side // 64) ** 2 + after
        answer = tiny.greedy(model, ids, [picture], image_id, steps)
        spent = f"encode {encoded - start:.1f} s, the rest {time.monotonic() - encoded:.1f} s"
        print(
            f"{side}: {len(ids)} ids, deviation of features {features.std():.3f}, "
            f"of logits {answer.logits.std():.3f}, "
            f"smallest margin {min(answer.margins):.4f}, ids {answer.ids}; {spent}",
            flush=True,
        )
        result |= {
            f"image.{side}": torch.from_numpy(picture),
            f"features.{side}": features,
            f"projected.{side}": projected,
            f"ids.{side}": torch.tensor(ids),
            f"logits.{side}": answer.logits,
            f"greedy.{side}": torch.tensor(answer.ids),
            f"margins.{side}": torch.tensor(answer.margins),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, nargs="?", default=ROOT / "downloads" / "fastvlm-0.5b-random")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tied", action="store_true", help="no lm_head: logits from the embedding table")
    parser.add_argument("--expected", action="store_true")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--steps", type=int, default=8, help="greedy tokens to record")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--vocabulary", type=Path, default=ROOT / "downloads", help="folder with qwen.tiktoken"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    specials = write_tokenizer(folder, arguments.vocabulary)
    config = configuration(specials["<image>"], specials, arguments.tied)
    with torch.device("meta"):
        model = FastVlmForConditionalGeneration(config)
    model.to_empty(device="cpu")
    model.tie_weights()
    restore_buffers(model)
    fill(model, arguments.seed)
    if arguments.expected:
        save_file(expected(folder, model, arguments.sides, arguments.steps), folder / "expected.safetensors")
    write_checkpoint(folder, model, getattr(torch, arguments.dtype), arguments.tied)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{size / 1e9:.2f} GB in {folder}")


@torch.no_grad()
def fill(model, seed: int) -> None:
    """Seeds every number of the model, and makes sure that none was forgotten."""
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(float("nan"))
    FullSeeder(seed).fill(model)
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise SystemExit(f"{name} has no seeded values")


def restore_buffers(model) -> None:
    """RoPE's frequencies are computed at construction, which the meta device skipped."""
    rotary = model.model.language_model.rotary_emb
    fresh = type(rotary)(model.config.text_config)
    model.model.language_model.rotary_emb = fresh


if __name__ == "__main__":
    main()
