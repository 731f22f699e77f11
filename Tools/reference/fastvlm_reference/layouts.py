"""Tensor names of the published checkpoint layouts, written by hand, and the runtime's canonical names.

The Hugging Face layout is the source (transformers and timm make it); the others are derived:
Apple's original `llava_qwen2`, the MLX conversion, and the folded canonical form of single blocks.
"""

import re

import torch

HF_VISION = "model.vision_tower.timm_model."
APPLE_VISION = "model.vision_tower.vision_tower.model."
MLX_VISION = "vision_tower.vision_model."

# (stage, what) -> index inside Apple's flat `network`: blocks and downsamples share one list with RepCPE.
APPLE_BLOCKS = {0: 0, 1: 2, 2: 4, 3: 7, 4: 10}
APPLE_DOWNSAMPLE = {1: 1, 2: 3, 3: 5, 4: 8}
APPLE_POSITION = {3: 6, 4: 9}

# Train-time branches: timm name -> Apple name.
BRANCHES = [
    ("conv_kxk.", "rbr_conv."),
    ("conv_scale.", "rbr_scale."),
    ("identity.", "rbr_skip."),
    ("large_conv.", "lkb_origin."),
    ("pos_enc.", "pe."),
]


def apple_vision_name(name: str) -> str:
    """timm name (without prefix) of FastViTHD -> Apple's name (without prefix)."""
    name = re.sub(r"^stem\.", "patch_embed.", name)
    name = re.sub(r"^final_conv\.", "conv_exp.", name)
    name = name.replace("conv_exp.se.fc1", "conv_exp.se.reduce").replace(
        "conv_exp.se.fc2", "conv_exp.se.expand"
    )
    name = re.sub(r"^stages\.(\d)\.blocks\.", lambda m: f"network.{APPLE_BLOCKS[int(m[1])]}.", name)
    name = re.sub(r"^stages\.(\d)\.downsample\.", lambda m: f"network.{APPLE_DOWNSAMPLE[int(m[1])]}.", name)
    name = re.sub(r"^stages\.(\d)\.pos_emb\.", lambda m: f"network.{APPLE_POSITION[int(m[1])]}.", name)
    name = name.replace("proj.0.reparam_conv", "proj.0.lkb_reparam")
    name = name.replace(".mlp.", ".convffn.")
    name = name.replace(".gamma", "")
    for timm_name, apple_name in BRANCHES:
        name = name.replace(timm_name, apple_name)
    return name


def to_apple(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Hugging Face state dict -> Apple's. Shapes stay; only names change."""
    result = {}
    for name, tensor in state.items():
        if name.startswith(HF_VISION):
            name = APPLE_VISION + apple_vision_name(name.removeprefix(HF_VISION))
        name = name.replace("model.multi_modal_projector.linear_1", "model.mm_projector.0")
        name = name.replace("model.multi_modal_projector.linear_2", "model.mm_projector.2")
        name = name.replace("model.language_model.", "model.")
        result[name] = tensor
    return result


def to_mlx(apple: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Apple's state dict -> MLX's: convolutions OHWI, layer scales [1, 1, C], counters dropped."""
    result = {}
    for name, tensor in apple.items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.startswith(APPLE_VISION):
            name = MLX_VISION + name.removeprefix(APPLE_VISION).replace("patch_embed.", "patch_embed.blocks.")
            if ".layer_scale" in name:
                tensor = tensor.permute(1, 2, 0)
            elif tensor.dim() == 4:
                tensor = tensor.permute(0, 2, 3, 1)
        elif name.startswith("model.mm_projector"):
            name = name.removeprefix("model.")
        else:
            name = "language_model." + name
        result[name] = tensor.contiguous()
    return result


def fold_batch_norm(weight: torch.Tensor, norm: torch.nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Convolution without bias, then BatchNorm -> one convolution with bias; in float64, then rounded."""
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    folded = weight.double() * factor.reshape(-1, 1, 1, 1)
    bias = norm.bias.double() - norm.running_mean.double() * factor
    return folded.float(), bias.float()


def matrix(weight: torch.Tensor) -> torch.Tensor:
    """[O, I, 1, 1] -> [O, I]."""
    return weight.reshape(weight.shape[0], -1)


def canonical_feed_forward(prefix: str, mlp) -> dict[str, torch.Tensor]:
    """timm's ConvMlp with the BatchNorm folded into the 7x7 depthwise convolution."""
    weight, bias = fold_batch_norm(mlp.conv.conv.weight, mlp.conv.bn)
    return {
        f"{prefix}.depthwise.weight": weight,
        f"{prefix}.depthwise.bias": bias,
        f"{prefix}.expand.weight": matrix(mlp.fc1.weight),
        f"{prefix}.expand.bias": mlp.fc1.bias,
        f"{prefix}.project.weight": matrix(mlp.fc2.weight),
        f"{prefix}.project.bias": mlp.fc2.bias,
    }


def canonical_decoder_layer(prefix: str, layer) -> dict[str, torch.Tensor]:
    """A Qwen2 or Llama decoder layer of transformers."""
    result = {
        f"{prefix}.input_norm.weight": layer.input_layernorm.weight,
        f"{prefix}.post_norm.weight": layer.post_attention_layernorm.weight,
        f"{prefix}.attention.output.weight": layer.self_attn.o_proj.weight,
        f"{prefix}.mlp.gate.weight": layer.mlp.gate_proj.weight,
        f"{prefix}.mlp.up.weight": layer.mlp.up_proj.weight,
        f"{prefix}.mlp.down.weight": layer.mlp.down_proj.weight,
    }
    for name, linear in [
        ("query", layer.self_attn.q_proj),
        ("key", layer.self_attn.k_proj),
        ("value", layer.self_attn.v_proj),
    ]:
        result[f"{prefix}.attention.{name}.weight"] = linear.weight
        if linear.bias is not None:
            result[f"{prefix}.attention.{name}.bias"] = linear.bias
    return result
