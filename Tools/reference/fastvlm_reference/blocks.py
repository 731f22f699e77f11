"""Single blocks of the network: timm's and transformers' own modules with seeded weights, input and output.

Feature maps are stored [H, W, C]. Weights have the canonical names and shapes of the Checkpoints room:
convolutions OIHW; the 1 x 1 convolutions of feed-forward and squeeze [out, in]; the BatchNorm of the
feed-forward folded (the output comes from the module that has it unfolded).
"""

from functools import partial

import torch
from timm.layers import LayerNorm2d
from timm.models import fastvit
from transformers import LlamaConfig, Qwen2Config
from transformers.cache_utils import DynamicCache
from transformers.models.fast_vlm.modeling_fast_vlm import FastVlmMultiModalProjector
from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2

from . import layouts
from .seeding import Seeder

ODD, NICE = (5, 7), (8, 8)


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x[0].permute(1, 2, 0).contiguous()


def run_maps(module, seeder: Seeder, channels: int, sizes) -> dict[str, torch.Tensor]:
    """`input`, `output` for the first size, `input.1`, `output.1` for the second, and so on."""
    tensors = {}
    for index, (height, width) in enumerate(sizes):
        x = seeder.normal((1, channels, height, width), 1.0)
        suffix = f".{index}" if index else ""
        tensors["input" + suffix] = nhwc(x)
        tensors["output" + suffix] = nhwc(module(x))
    return tensors


def stem(seed: int):
    seeder = Seeder(seed)
    module = seeder.fill(fastvit.convolutional_stem(3, 12, inference_mode=True, use_scale_branch=False))
    tensors = run_maps(module, seeder, 3, [(19, 26), (32, 32)])
    for index, block in enumerate(module):
        tensors[f"vision.stem.{index}.weight"] = block.reparam_conv.weight
        tensors[f"vision.stem.{index}.bias"] = block.reparam_conv.bias
    return tensors, {}


def repmixer(seed: int):
    seeder = Seeder(seed)
    module = seeder.fill(fastvit.RepMixerBlock(20, mlp_ratio=3, inference_mode=True))
    tensors = run_maps(module, seeder, 20, [ODD, NICE, (2, 3)])
    name = "vision.stages.0.blocks.0"
    tensors[f"{name}.mixer.weight"] = module.token_mixer.reparam_conv.weight
    tensors[f"{name}.mixer.bias"] = module.token_mixer.reparam_conv.bias
    tensors |= layouts.canonical_feed_forward(f"{name}.ffn", module.mlp)
    tensors[f"{name}.scale.ffn"] = module.layer_scale.gamma.flatten()
    return tensors, {}


def downsample(seed: int):
    seeder = Seeder(seed)
    module = seeder.fill(
        fastvit.PatchEmbed(
            patch_size=7, stride=2, in_chs=12, embed_dim=24, lkc_use_act=True, inference_mode=True
        )
    )
    tensors = run_maps(module, seeder, 12, [ODD, NICE, (3, 2)])
    name = "vision.stages.1.downsample"
    tensors[f"{name}.large.weight"] = module.proj[0].reparam_conv.weight
    tensors[f"{name}.large.bias"] = module.proj[0].reparam_conv.bias
    tensors[f"{name}.pointwise.weight"] = module.proj[1].reparam_conv.weight
    tensors[f"{name}.pointwise.bias"] = module.proj[1].reparam_conv.bias
    return tensors, {}


def position(seed: int):
    seeder = Seeder(seed)
    module = seeder.fill(fastvit.RepConditionalPosEnc(20, inference_mode=True))
    tensors = run_maps(module, seeder, 20, [ODD, NICE])
    tensors["vision.stages.3.position.weight"] = module.reparam_conv.weight
    tensors["vision.stages.3.position.bias"] = module.reparam_conv.bias
    return tensors, {}


def attention(seed: int):
    seeder = Seeder(seed)
    module = seeder.fill(fastvit.AttentionBlock(64, mlp_ratio=1, norm_layer=partial(LayerNorm2d, eps=1e-5)))
    tensors = run_maps(module, seeder, 64, [ODD, (4, 4)])
    name = "vision.stages.3.blocks.0"
    tensors[f"{name}.norm.weight"] = module.norm.weight
    tensors[f"{name}.norm.bias"] = module.norm.bias
    tensors[f"{name}.attention.qkv.weight"] = module.token_mixer.qkv.weight
    tensors[f"{name}.attention.projection.weight"] = module.token_mixer.proj.weight
    tensors[f"{name}.attention.projection.bias"] = module.token_mixer.proj.bias
    tensors[f"{name}.scale.mixer"] = module.layer_scale_1.gamma.flatten()
    tensors |= layouts.canonical_feed_forward(f"{name}.ffn", module.mlp)
    tensors[f"{name}.scale.ffn"] = module.layer_scale_2.gamma.flatten()
    return tensors, {"heads": 2, "headDimension": 32, "layerNormEpsilon": 1e-5}


def final(seed: int):
    seeder = Seeder(seed)
    module = seeder.fill(fastvit.MobileOneBlock(32, 64, 3, group_size=1, inference_mode=True, use_se=True))
    tensors = run_maps(module, seeder, 32, [ODD, NICE])
    tensors["vision.final.weight"] = module.reparam_conv.weight
    tensors["vision.final.bias"] = module.reparam_conv.bias
    for name, convolution in [("reduce", module.se.fc1), ("expand", module.se.fc2)]:
        tensors[f"vision.final.squeeze.{name}.weight"] = layouts.matrix(convolution.weight)
        tensors[f"vision.final.squeeze.{name}.bias"] = convolution.bias
    return tensors, {}


def projector(seed: int):
    class Part:
        def __init__(self, hidden_size):
            self.hidden_size = hidden_size

    class Configuration:
        vision_config, text_config = Part(48), Part(40)
        multimodal_projector_bias, projector_hidden_act = True, "gelu"

    seeder = Seeder(seed)
    module = seeder.fill(FastVlmMultiModalProjector(Configuration))
    x = seeder.normal((7, 48), 1.0)
    tensors = {"input": x, "output": module(x)}
    for index, linear in enumerate([module.linear_1, module.linear_2]):
        tensors[f"projector.{index}.weight"] = linear.weight
        tensors[f"projector.{index}.bias"] = linear.bias
    return tensors, {}


def decoder_layer(seed: int, family: str):
    """One layer over 11 positions at once, then two single steps on the same cache, then RoPE far out."""
    qwen2 = family == "qwen2"
    heads, groups, width = (4, 2, 64) if qwen2 else (3, 3, 48)
    shape = dict(
        hidden_size=width,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        intermediate_size=80,
        num_hidden_layers=1,
        vocab_size=64,
        max_position_embeddings=8192,
        attn_implementation="eager",
    )
    if qwen2:
        rope, epsilon, module = 1e6, 1e-6, modeling_qwen2
        config = Qwen2Config(
            **shape, rms_norm_eps=epsilon, rope_parameters={"rope_type": "default", "rope_theta": rope}
        )
        layer, rotary = module.Qwen2DecoderLayer(config, 0), module.Qwen2RotaryEmbedding(config)
    else:
        rope, epsilon, module = 1e4, 1e-5, modeling_llama
        config = LlamaConfig(
            **shape, rms_norm_eps=epsilon, rope_parameters={"rope_type": "default", "rope_theta": rope}
        )
        layer, rotary = module.LlamaDecoderLayer(config, 0), module.LlamaRotaryEmbedding(config)
    seeder = Seeder(seed)
    seeder.fill(layer)
    tensors = layouts.canonical_decoder_layer("decoder.layers.0", layer)
    cache = DynamicCache(config=config)
    past = 0
    for suffix, count in [("", 11), (".1", 1), (".2", 1)]:
        x = seeder.normal((1, count, width), 1.0)
        places = torch.arange(past, past + count)[None]
        mask = torch.full((count, past + count), float("-inf")).triu(past + 1)[None, None]
        y = layer(
            x,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            position_embeddings=rotary(x, places),
        )
        y = y[0] if isinstance(y, tuple) else y
        tensors["input" + suffix], tensors["output" + suffix] = x[0], y[0]
        past += count
    places = torch.tensor([[0, 1, 17, 1000, 8191]])
    q = seeder.normal((1, heads, 5, 16), 1.0)
    rotated, _ = module.apply_rotary_pos_emb(q, q, *rotary(q, places))
    tensors["rotary.positions"] = places[0]
    tensors["rotary.input"] = q[0].transpose(0, 1).reshape(5, width)
    tensors["rotary.output"] = rotated[0].transpose(0, 1).reshape(5, width)
    facts = {
        "heads": heads,
        "keyValueHeads": groups,
        "headDimension": 16,
        "rmsNormEpsilon": epsilon,
        "ropeTheta": rope,
    }
    return tensors, facts


BLOCKS = {
    "stem": stem,
    "repmixer": repmixer,
    "downsample": downsample,
    "position": position,
    "attention": attention,
    "final": final,
    "projector": projector,
    "decoder-qwen2": partial(decoder_layer, family="qwen2"),
    "decoder-llama": partial(decoder_layer, family="llama"),
}
