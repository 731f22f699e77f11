"""Writes the trained parts as a Hugging Face `fast_vlm` checkpoint in bfloat16."""

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import vlm
import workers
from model import ENCODER, FEATURES, SIDE, load_folded

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


def configs(tokenizer: Tokenizer) -> dict[str, dict]:
    """The JSON files beside the weights."""
    end, pad = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    image = tokenizer.token_to_id("<image>")
    settings = {k: v for k, v in vlm.DECODER.items() if k != "rope_theta"}
    text = {
        "model_type": "qwen2",
        "vocab_size": tokenizer.get_vocab_size(),
        **settings,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-06,
        "rope_theta": vlm.DECODER["rope_theta"],
        "rope_parameters": {"rope_type": "default", "rope_theta": vlm.DECODER["rope_theta"]},
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "eos_token_id": end,
        "pad_token_id": pad,
        "dtype": "bfloat16",
    }
    vision = {
        "model_type": "timm_wrapper",
        "architecture": "fastvit_mci3",
        "do_pooling": True,
        "global_pool": "avg",
        "hidden_size": FEATURES,
        "num_classes": 0,
        "initializer_range": 0.02,
        "model_args": {"inference_mode": True, **ENCODER},
        "dtype": "bfloat16",
    }
    config = {
        "architectures": ["FastVlmForConditionalGeneration"],
        "model_type": "fast_vlm",
        "dtype": "bfloat16",
        "image_token_id": image,
        "image_token_index": image,
        "image_seq_length": vlm.TOKENS,
        "image_aspect_ratio": "pad",
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "tie_word_embeddings": True,
        "eos_token_id": end,
        "pad_token_id": pad,
        "text_config": text,
        "vision_config": vision,
    }
    return {
        "config.json": config,
        "generation_config.json": {
            "do_sample": False,
            "eos_token_id": end,
            "pad_token_id": pad,
            "max_new_tokens": 32,
        },
        "preprocessor_config.json": {
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "LlavaProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"shortest_edge": SIDE},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": SIDE, "width": SIDE},
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
            "model_max_length": vlm.DECODER["max_position_embeddings"],
            "errors": "replace",
            "image_token": "<image>",
            "chat_template": TEMPLATE,
        },
    }


def tensors(encoder: torch.nn.Module, language: vlm.Language) -> dict[str, torch.Tensor]:
    found = {"model.vision_tower.timm_model." + k: v for k, v in encoder.state_dict().items()}
    found |= {"model.multi_modal_projector." + k: v for k, v in language.projector.state_dict().items()}
    found |= {"model.language_model." + k: v for k, v in language.decoder.state_dict().items()}
    out = {}
    for name, value in found.items():
        if value.is_floating_point():
            if not torch.isfinite(value).all():
                raise FloatingPointError(f"{name} is not finite; nothing is written")
            value = value.to(torch.bfloat16)
        out[name] = value.contiguous().clone()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="decoder", help="checkpoint of train_decoder.py in runs/")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("../Models/fastvlm-small"))
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(workers.RUNS / "tokenizer.json"))
    language = vlm.Language(tokenizer)
    state = torch.load(workers.RUNS / f"{args.name}.pt")
    language.load_state_dict(state["language"])
    encoder = load_folded(workers.RUNS / f"{args.name}.pt")
    args.out.mkdir(parents=True, exist_ok=True)
    for file, content in configs(tokenizer).items():
        (args.out / file).write_text(json.dumps(content, indent=2) + "\n")
    shutil.copy(workers.RUNS / "tokenizer.json", args.out / "tokenizer.json")
    found = tensors(encoder, language)
    save_file(found, str(args.out / "model.safetensors"), metadata={"format": "pt"})
    (args.out / "model.safetensors").chmod(0o644)
    print(json.dumps({"tensors": len(found), "parameters": sum(v.numel() for v in found.values())}))


if __name__ == "__main__":
    main()
