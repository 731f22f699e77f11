#!/usr/bin/env python3
"""Makes Tests/Fixtures/checkpoints/precedence.json: what transformers reads where two places of a checkpoint disagree.

Each case changes the small checkpoint `folded` in one way; `expected` is what AutoConfig, GenerationConfig and
AutoImageProcessor of the installed transformers make of it. Nothing here is written by hand but the changes.

Run from the root of the repository, after checkpoint_fixtures.py:
    python Tools/reference/precedence_fixtures.py
"""

import argparse
import copy
import json
import shutil
import tempfile
from pathlib import Path

import transformers
from transformers import AutoConfig, AutoImageProcessor, FastVlmForConditionalGeneration

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parents[1] / "Tests" / "Fixtures" / "checkpoints"
CONFIG, GENERATION = "config.json", "generation_config.json"
OLDER, NEWER = "preprocessor_config.json", "processor_config.json"
TEXT = "text_config"

IMAGES = {
    "image_processor_type": "CLIPImageProcessor",
    "do_center_crop": True,
    "crop_size": {"height": 128, "width": 128},
    "size": {"shortest_edge": 128},
    "image_mean": [0.0, 0.0, 0.0],
    "image_std": [1.0, 1.0, 1.0],
    "resample": 3,
}
OTHER_IMAGES = IMAGES | {
    "crop_size": {"height": 192, "width": 192},
    "size": {"shortest_edge": 192},
    "image_mean": [0.5, 0.25, 0.125],
    "image_std": [0.5, 0.5, 0.25],
}


def put(path: list[str], value, file: str = CONFIG) -> dict:
    return {"file": file, "path": path, "value": value}


def drop(path: list[str], file: str = CONFIG) -> dict:
    return {"file": file, "path": path, "remove": True}


def both(key: str, outer, inner) -> list[dict]:
    return [put([key], outer), put([TEXT, key], inner)]


ROPE = [TEXT, "rope_parameters"]
CASES = {
    "as it is": [],
    "rope_theta flat and in rope_parameters": [put([TEXT, "rope_theta"], 1e4)],
    "rope_theta flat only": [drop(ROPE), put([TEXT, "rope_theta"], 5e5)],
    "rope_theta flat beside null rope_parameters": [put(ROPE, None), put([TEXT, "rope_theta"], 5e5)],
    "rope_theta flat beside rope_parameters without it": [
        put(ROPE, {"rope_type": "default"}),
        put([TEXT, "rope_theta"], 5e5),
    ],
    "rope_theta nowhere": [drop(ROPE)],
    "rope_theta at the root only": [drop(ROPE), put(["rope_theta"], 5e5)],
    "rope_theta at the root and in text_config": [put(["rope_theta"], 5e5)],
    "rope_parameters at the root only": [
        drop(ROPE),
        put(["rope_parameters"], {"rope_type": "default", "rope_theta": 5e5}),
    ],
    "rope_scaling beside rope_parameters": [put([TEXT, "rope_scaling"], {"type": "default"})],
    "rope_scaling with rope_theta beside rope_parameters": [
        put([TEXT, "rope_scaling"], {"type": "default", "rope_theta": 7e5})
    ],
    "rope_scaling beside rope_parameters and flat rope_theta": [
        put([TEXT, "rope_scaling"], {"type": "default"}),
        put([TEXT, "rope_theta"], 5e5),
    ],
    "empty rope_scaling": [put([TEXT, "rope_scaling"], {})],
    "null rope_scaling": [put([TEXT, "rope_scaling"], None)],
    "rope_type beside type": [
        put(ROPE, {"rope_type": "default", "type": "linear", "rope_theta": 3e5})
    ],
    "num_attention_heads in both": both("num_attention_heads", 4, 2),
    "num_key_value_heads in both": both("num_key_value_heads", 2, 1),
    "head_dim at the root": [put(["head_dim"], 16)],
    "head_dim in both": both("head_dim", 16, 8),
    "sizes at the root": [put(["hidden_size"], 99), put(["vocab_size"], 99), put(["num_hidden_layers"], 9)],
    "attention_bias at the root": [put(["attention_bias"], False)],
    "hidden_act at the root": [put(["hidden_act"], "gelu")],
    "rms_norm_eps in both": both("rms_norm_eps", 1e-3, 1e-5),
    "rms_norm_eps at the root only": [put(["rms_norm_eps"], 1e-3), drop([TEXT, "rms_norm_eps"])],
    "max_position_embeddings in both": both("max_position_embeddings", 100, 300),
    "max_position_embeddings at the root only": [
        put(["max_position_embeddings"], 100),
        drop([TEXT, "max_position_embeddings"]),
    ],
    "layer_types beside use_sliding_window": [
        put([TEXT, "use_sliding_window"], True),
        put([TEXT, "sliding_window"], 16),
        put([TEXT, "max_window_layers"], 0),
    ],
    "tie_word_embeddings: root false, text_config true": both("tie_word_embeddings", False, True),
    "tie_word_embeddings: root true, text_config false": both("tie_word_embeddings", True, False),
    "tie_word_embeddings in text_config only": [drop(["tie_word_embeddings"])],
    "image_token_id and image_token_index": [put(["image_token_id"], 37)],
    "image_token_id only": [put(["image_token_id"], 37), drop(["image_token_index"])],
    "eos_token_id: generation_config.json and text_config": [put(["eos_token_id"], 5, GENERATION)],
    "eos_token_id: a list in generation_config.json": [put(["eos_token_id"], [5, 6], GENERATION)],
    "eos_token_id: root and text_config": [put(["eos_token_id"], 7)],
    "eos_token_id: root only": [put(["eos_token_id"], 7), drop([TEXT, "eos_token_id"])],
    "eos_token_id: generation_config.json, root and text_config": [
        put(["eos_token_id"], 5, GENERATION),
        put(["eos_token_id"], 7),
    ],
    "sampling: generation_config.json": [
        put(["do_sample"], True, GENERATION),
        put(["eos_token_id"], 38, GENERATION),
        put(["temperature"], 0.7, GENERATION),
        put(["top_p"], 0.8, GENERATION),
        put(["top_k"], 20, GENERATION),
        put(["repetition_penalty"], 1.05, GENERATION),
    ],
    "sampling: generation_config.json and text_config": [
        put(["temperature"], 0.7, GENERATION),
        put(["eos_token_id"], 38, GENERATION),
        put([TEXT, "temperature"], 0.3),
        put([TEXT, "top_p"], 0.5),
    ],
    "sampling: text_config only": [put([TEXT, "temperature"], 0.3), put([TEXT, "top_p"], 0.5)],
    "sampling: root and text_config": [put(["temperature"], 0.4), put([TEXT, "temperature"], 0.3)],
    "images: preprocessor_config.json only": [put([], OTHER_IMAGES, OLDER)],
    "images: processor_config.json only": [put([], {"image_processor": OTHER_IMAGES}, NEWER)],
    "images: both files": [
        put([], IMAGES, OLDER),
        put([], {"image_processor": OTHER_IMAGES}, NEWER),
    ],
    "images: processor_config.json without an image processor": [
        put([], OTHER_IMAGES, OLDER),
        put([], {"patch_size": 64}, NEWER),
    ],
    "images: both files, one without normalisation": [
        put([], OTHER_IMAGES, OLDER),
        put([], {"image_processor": IMAGES | {"do_normalize": False, "image_mean": [0.5, 0.5, 0.5]}}, NEWER),
    ],
    "images: one number for three channels": [
        put([], OTHER_IMAGES | {"image_mean": 0.5, "image_std": 0.25}, OLDER)
    ],
    "images: crop_size without do_center_crop": [
        put([], OTHER_IMAGES | {"do_center_crop": False, "size": {"height": 256, "width": 256}}, OLDER)
    ],
    "images: sizes as numbers": [put([], OTHER_IMAGES | {"size": 256, "crop_size": 256}, OLDER)],
}


def change(documents: dict, step: dict) -> None:
    if not step["path"]:
        documents[step["file"]] = copy.deepcopy(step["value"])
        return
    node = documents.setdefault(step["file"], {})
    for key in step["path"][:-1]:
        node = node[key]
    if step.get("remove"):
        node.pop(step["path"][-1], None)
    else:
        node[step["path"][-1]] = copy.deepcopy(step["value"])


def expected(base: Path, steps: list[dict]) -> dict:
    """What transformers reads from `base` with these changes."""
    documents = {CONFIG: json.loads((base / CONFIG).read_text())}
    for step in steps:
        change(documents, step)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(base / "model.safetensors", folder)
        for file, document in documents.items():
            (folder / file).write_text(json.dumps(document))
        config = AutoConfig.from_pretrained(folder)
        model = FastVlmForConditionalGeneration.from_pretrained(folder)
        used, *_ = model._prepare_generation_config(None)
        text = config.text_config
        ends = used.eos_token_id
        result = {
            "rope_theta": text.rope_parameters["rope_theta"],
            "heads": text.num_attention_heads,
            "key_value_heads": text.num_key_value_heads,
            "head_dim": getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
            "rms_norm_eps": text.rms_norm_eps,
            "max_position_embeddings": text.max_position_embeddings,
            "image_token": config.image_token_index,
            "tied": bool(
                model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
            ),
            "eos": ends if isinstance(ends, list) else [] if ends is None else [ends],
            "sampling": {
                key: value
                for key in ["do_sample", "temperature", "top_p", "top_k", "repetition_penalty"]
                if (value := getattr(model.generation_config, key)) is not None
            },
        }
        if OLDER in documents or NEWER in documents:
            images = AutoImageProcessor.from_pretrained(folder)
            side = images.crop_size if images.do_center_crop else images.size
            result["image_side"] = side["height"]
            for key, none in [("image_mean", 0.0), ("image_std", 1.0)]:
                value = getattr(images, key) if images.do_normalize else none
                result[key] = [value] * 3 if isinstance(value, float) else list(value)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=DEFAULT)
    arguments = parser.parse_args()
    base = arguments.output / "folded"
    cases = [
        {"name": name, "changes": steps, "expected": expected(base, steps)} for name, steps in CASES.items()
    ]
    document = {
        "generator": "Tools/reference/precedence_fixtures.py",
        "transformers": transformers.__version__,
        "cases": cases,
    }
    (arguments.output / "precedence.json").write_text(json.dumps(document, indent=1) + "\n")
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
