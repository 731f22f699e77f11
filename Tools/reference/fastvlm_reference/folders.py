"""Writes one small model as a checkpoint folder in each published layout."""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file
from transformers import CLIPImageProcessor

from . import layouts, quantisation, small_tokenizer
from .seeding import Seeder, exact
from .small_tokenizer import write_json
from .tiny import Shape


def stored(state: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Casts what is floating; every value must survive the trip."""
    result = {}
    for name, tensor in state.items():
        cast = tensor.detach().to(dtype) if tensor.is_floating_point() else tensor.detach()
        if not torch.equal(cast.to(tensor.dtype), tensor):
            raise ValueError(f"{name}: {dtype} does not hold its values exactly")
        result[name] = cast.clone().contiguous()
    return result


def hf_state(model, shape: Shape) -> dict[str, torch.Tensor]:
    state = dict(model.state_dict())
    if shape.tied:
        del state["lm_head.weight"]
    return state


def write_hf(folder: Path, model, shape: Shape, dtype=torch.float32, old: bool = False) -> None:
    """As `save_pretrained` gives; `old`: names and config keys of transformers 4 (no leading `model.`)."""
    folder.mkdir(parents=True, exist_ok=True)
    state = hf_state(model, shape)
    config = model.config.to_dict()
    config = {"architectures": ["FastVlmForConditionalGeneration"], **config}
    config["dtype"] = str(dtype).removeprefix("torch.")
    if old:
        state = {old_name(name): tensor for name, tensor in state.items()}
        config["torch_dtype"] = config.pop("dtype")
        text = config["text_config"]
        text["rope_theta"] = text.pop("rope_parameters")["rope_theta"]
        text["torch_dtype"] = config["torch_dtype"]
    save_file(stored(state, dtype), folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config)
    model.generation_config.save_pretrained(folder)
    write_processor(folder, shape.side)
    small_tokenizer.write(folder, with_image=True, chat_template=True)


def old_name(name: str) -> str:
    """LLaVA-like names of transformers before 4.52."""
    if name == "lm_head.weight":
        return "language_model.lm_head.weight"
    name = name.removeprefix("model.")
    return name.replace("language_model.", "language_model.model.", 1)


def write_processor(folder: Path, side: int) -> None:
    processor = CLIPImageProcessor(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=[0.0, 0.0, 0.0],
        image_std=[1.0, 1.0, 1.0],
    )
    processor.save_pretrained(folder)  # preprocessor_config.json
    write_json(
        folder / "processor_config.json",
        {
            "image_token": "<image>",
            "num_additional_image_tokens": 0,
            "patch_size": 64,
            "processor_class": "LlavaProcessor",
            "vision_feature_select_strategy": None,
        },
    )


def apple_state(model, shape: Shape, seed: int) -> dict[str, torch.Tensor]:
    """Apple's names, with the CLIP head that published files carry and nobody uses, and lm_head always."""
    state = layouts.to_apple(dict(model.state_dict()))
    width = 2 * shape.dims[-1]
    state[layouts.APPLE_VISION + "head.proj"] = exact(Seeder(seed + 77).normal((width, 24), 0.1))
    return state


def apple_config(model, shape: Shape) -> dict:
    text = model.config.text_config
    return {
        "architectures": ["LlavaQwen2ForCausalLM"],
        "model_type": "llava_qwen2",
        "attention_dropout": 0.0,
        "bos_token_id": text.bos_token_id,
        "eos_token_id": text.eos_token_id,
        "freeze_mm_mlp_adapter": False,
        "hidden_act": "silu",
        "hidden_size": text.hidden_size,
        "image_aspect_ratio": "pad",
        "image_grid_pinpoints": None,
        "initializer_range": 0.02,
        "intermediate_size": text.intermediate_size,
        "max_position_embeddings": text.max_position_embeddings,
        "max_window_layers": text.num_hidden_layers,
        "mm_hidden_size": 2 * shape.dims[-1],
        "mm_patch_merge_type": "flat",
        "mm_projector_lr": None,
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": f"mobileclip_l_{shape.side}",
        "num_attention_heads": text.num_attention_heads,
        "num_hidden_layers": text.num_hidden_layers,
        "num_key_value_heads": text.num_key_value_heads,
        "rms_norm_eps": text.rms_norm_eps,
        "rope_theta": 1000000.0,
        "sliding_window": text.max_position_embeddings,
        "tie_word_embeddings": shape.tied,
        "tokenizer_model_max_length": 8192,
        "tokenizer_padding_side": "right",
        "torch_dtype": "bfloat16",
        "transformers_version": "4.39.3",
        "tune_mm_mlp_adapter": False,
        "unfreeze_mm_vision_tower": True,
        "use_cache": True,
        "use_mm_proj": True,
        "use_sliding_window": False,
        "vocab_size": text.vocab_size,
    }


def write_apple(
    folder: Path, model, shape: Shape, seed: int, shards: int = 1, separate_files: bool = False
) -> None:
    """bfloat16, as published; several shards get an index."""
    folder.mkdir(parents=True, exist_ok=True)
    state = stored(apple_state(model, shape, seed), torch.bfloat16)
    if shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        write_shards(folder, state, shards)
    write_json(folder / "config.json", apple_config(model, shape))
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": model.config.text_config.bos_token_id,
            "do_sample": True,
            "eos_token_id": model.config.text_config.eos_token_id,
            "temperature": None,
            "top_p": None,
            "transformers_version": "4.39.3",
        },
    )
    small_tokenizer.write(folder, with_image=False, separate_files=separate_files)


def write_shards(folder: Path, state: dict[str, torch.Tensor], shards: int) -> None:
    names = sorted(state)
    size = -(-len(names) // shards)
    table = {}
    for index in range(shards):
        file = f"model-{index + 1:05}-of-{shards:05}.safetensors"
        part = {name: state[name] for name in names[index * size : (index + 1) * size]}
        save_file(part, folder / file, metadata={"format": "pt"})
        table |= dict.fromkeys(part, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": table}
    )


def write_mlx(folder: Path, model, shape: Shape, seed: int, bits: int = 0, group: int = 0) -> None:
    """float16; with `bits`, projector and decoder are quantised and `model` gets the dequantised weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = apple_config(model, shape)
    state = layouts.to_mlx(stored(apple_state(model, shape, seed), torch.float16))
    if shape.tied:
        del state["language_model.lm_head.weight"]
    config |= {"torch_dtype": "float16", "vision_config": {}}
    if bits:
        state, plain = quantisation.quantise_mlx(state, bits, group)
        adopt(model, plain)
        config["quantization"] = {"group_size": group, "bits": bits}
        config["quantization_config"] = config["quantization"]
    else:
        config["vision_config"] = {
            "model_type": "llava_qwen2",
            "image_size": shape.side,
            "patch_size": 64,
            "layers": shape.vision_layers,
            "embed_dims": shape.dims,
            "mlp_ratios": shape.ratios,
        }
    arrays = {
        name: value if isinstance(value, np.ndarray) else value.numpy() for name, value in state.items()
    }
    save_numpy(arrays, folder / "model.safetensors", metadata={"format": "mlx"})
    write_json(folder / "config.json", config)
    small_tokenizer.write(folder, with_image=False)


@torch.no_grad()
def adopt(model, plain: dict[str, torch.Tensor]) -> None:
    """Puts dequantised weights, named as in MLX, into the transformers model."""
    for name, weight in plain.items():
        name = name.replace("language_model.model.", "model.language_model.")
        name = name.replace("language_model.lm_head", "lm_head")
        name = name.replace("mm_projector.0", "model.multi_modal_projector.linear_1")
        name = name.replace("mm_projector.2", "model.multi_modal_projector.linear_2")
        model.get_parameter(name).copy_(weight)
