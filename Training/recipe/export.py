"""A trained model as a Hugging Face `fast_vlm` checkpoint, train-time or folded; and reading such a one."""

import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from recipe import encoder as encoders

VISION, PROJECTOR, DECODER = (
    "model.vision_tower.timm_model.",
    "model.multi_modal_projector.",
    "model.language_model.",
)
TEMPLATE = """\
{%- if messages[0]['role'] != 'system' -%}
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif -%}
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- set images = message['content'] | selectattr('type', 'equalto', 'image') | list -%}
{{ '<image>' * (images | length) }}
{%- for part in message['content'] if part['type'] == 'text' -%}
{{ ('\\n' if images else '') + part['text'] }}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""


def read_tensors(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        state |= load_file(path)
    if not state:
        raise FileNotFoundError(f"{folder}: no .safetensors file")
    return state


def settings_of(folder: str | pathlib.Path) -> dict:
    """[model] settings that fit a checkpoint in the `fast_vlm` layout, its encoder in inference form."""
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    if config.get("model_type") != "fast_vlm":
        raise ValueError(f'{folder}: model_type is "{config.get("model_type")}", expected fast_vlm')
    found = config["vision_config"].get("model_args", {})
    sizes = {key: found.get(key, value) for key, value in encoders.PUBLISHED.items()}
    branches = "folded" if found.get("inference_mode", False) else "multi"
    text = config["text_config"] | {"dtype": "float32"}
    return {"encoder": sizes | {"branches": branches}, "decoder": {"config": text}}


def read(network, folder: pathlib.Path) -> None:
    """Fills a network with an exported or published checkpoint; every tensor must find its place."""
    state = {k: v.float() if v.is_floating_point() else v for k, v in read_tensors(folder).items()}

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}

    if network.encoder.branches == "single":
        raise ValueError(
            "a folded encoder has no batch statistics: see encoder.unfold, or use branches = folded"
        )
    network.encoder.load_state_dict(part(VISION))
    network.projector.load_state_dict(part(PROJECTOR))
    network.decoder.base_model.load_state_dict(part(DECODER))
    if "lm_head.weight" in state:
        network.decoder.get_output_embeddings().weight.data.copy_(state["lm_head.weight"])


def tensors(network, form: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    from recipe.lora import merged

    decoder = merged(network.decoder)
    encoder = network.encoder
    if form == "folded":
        encoder = encoders.folded(encoder)
    elif encoder.branches == "single":
        raise ValueError(
            'an encoder with branches = "single" has no published train-time form: export it folded'
        )
    found = {VISION + k: v for k, v in encoder.state_dict().items()}
    found |= {PROJECTOR + k: v for k, v in network.projector.state_dict().items()}
    found |= {DECODER + k: v for k, v in decoder.base_model.state_dict().items()}
    if not decoder.config.tie_word_embeddings:
        found["lm_head.weight"] = decoder.get_output_embeddings().weight
    out = {}
    for name, value in found.items():
        value = value.detach().cpu()
        if value.is_floating_point():
            if not torch.isfinite(value).all():
                raise FloatingPointError(f"{name} is not finite; nothing is written")
            value = value.to(dtype)
        out[name] = value.contiguous().clone()
    return out


def files(network, tokenizer: Tokenizer, side: int, form: str, dtype: str) -> dict[str, dict]:
    """The JSON files beside the weights."""
    end, pad = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    image, text = network.image_token, network.decoder.config
    keep = (
        *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
        *(
            "intermediate_size",
            "max_position_embeddings",
            "hidden_act",
            "rms_norm_eps",
            "tie_word_embeddings",
        ),
        *("head_dim", "attention_bias", "mlp_bias"),
    )
    rope = {"rope_type": "default", "rope_theta": getattr(text, "rope_theta", 10000.0)}
    rope |= getattr(text, "rope_parameters", None) or {}
    text_config = {"model_type": text.model_type}
    text_config |= {k: getattr(text, k) for k in keep if getattr(text, k, None) is not None}
    text_config |= {
        "rope_theta": rope["rope_theta"],
        "rope_parameters": rope,
        "use_sliding_window": False,
        "eos_token_id": end,
        "pad_token_id": pad,
        "dtype": dtype,
    }
    vision = {
        "model_type": "timm_wrapper",
        "architecture": "fastvit_mci3",
        "do_pooling": True,
        "global_pool": "avg",
        "hidden_size": 2 * network.encoder.sizes["embed_dims"][4],
        "num_classes": 0,
        "initializer_range": 0.02,
        "model_args": {"inference_mode": form == "folded", **network.encoder.sizes},
        "dtype": dtype,
    }
    config = {
        "architectures": ["FastVlmForConditionalGeneration"],
        "model_type": "fast_vlm",
        "dtype": dtype,
        "image_token_id": image,
        "image_token_index": image,
        "image_seq_length": (side // 64) ** 2,
        "image_aspect_ratio": "pad",
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "tie_word_embeddings": text.tie_word_embeddings,
        "eos_token_id": end,
        "pad_token_id": pad,
        "text_config": text_config,
        "vision_config": vision,
    }
    return {
        "config.json": config,
        "generation_config.json": {
            "do_sample": False,
            "eos_token_id": end,
            "pad_token_id": pad,
            "max_new_tokens": 512,
        },
        "preprocessor_config.json": {
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "LlavaProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"shortest_edge": side},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": side, "width": side},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.0, 0.0, 0.0],
            "image_std": [1.0, 1.0, 1.0],
        },
        "processor_config.json": {
            "processor_class": "LlavaProcessor",
            "image_token": "<image>",
            "num_additional_image_tokens": 0,
            "patch_size": 64,
            "vision_feature_select_strategy": None,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "Qwen2Tokenizer",
            "add_prefix_space": False,
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "model_max_length": text.max_position_embeddings,
            "errors": "replace",
            "image_token": "<image>",
            "chat_template": TEMPLATE,
        },
    }


def network_of(run: pathlib.Path):
    """The trained network of a run of objective "answers" and its tokenizer."""
    from recipe.model import VisionLanguage, initial

    config = json.loads((run / "config.json").read_text())
    tokenizer = Tokenizer.from_file(config["model"]["tokenizer"])
    network = VisionLanguage(config["model"], tokenizer)
    if config["model"].get("lora"):
        from recipe.lora import adapt

        network.decoder = adapt(network.decoder, config["model"]["lora"])
    state = {k.removeprefix("model."): v for k, v in initial(run).items() if k.startswith("model.")}
    network.load_state_dict(state)
    return network, tokenizer, config


def write(
    network, tokenizer_file: str, out: pathlib.Path, side: int, form: str, dtype: str = "bfloat16"
) -> int:
    """Writes the checkpoint and returns its number of parameters."""
    tokenizer = Tokenizer.from_file(tokenizer_file)
    found = tensors(network, form, getattr(torch, dtype))
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files(network, tokenizer, side, form, dtype).items():
        (out / name).write_text(json.dumps(content, indent=2) + "\n")
    if pathlib.Path(tokenizer_file).resolve() != (out / "tokenizer.json").resolve():
        shutil.copy(tokenizer_file, out / "tokenizer.json")
    save_file(found, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    return sum(v.numel() for v in found.values())
