"""Whole small FastVLMs built by transformers and timm, run to give the expected numbers."""

from dataclasses import dataclass, field

import torch
from transformers import FastVlmConfig, FastVlmForConditionalGeneration, LlamaConfig, Qwen2Config
from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig

from . import answers, small_tokenizer
from .seeding import Seeder, exact, pixels

STEPS = 72


@dataclass
class Shape:
    """What differs between the small models."""

    family: str = "qwen2"
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    intermediate: int = 64
    tied: bool = False
    side: int = 192
    train_time: bool = False
    vision_layers: list[int] = field(default_factory=lambda: [1, 1, 2, 1, 1])
    dims: list[int] = field(default_factory=lambda: [4, 8, 16, 32, 64])
    ratios: list[int] = field(default_factory=lambda: [2, 3, 2, 1, 1])

    @property
    def tokens(self) -> int:
        return (self.side // 64) ** 2


def configuration(shape: Shape) -> FastVlmConfig:
    text = dict(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        intermediate_size=shape.intermediate,
        vocab_size=small_tokenizer.ROWS,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=8192,
        bos_token_id=small_tokenizer.added(True)["<|endoftext|>"],
        eos_token_id=small_tokenizer.added(True)["<|im_end|>"],
    )
    if shape.family == "qwen2":
        rope = {"rope_type": "default", "rope_theta": 1000000.0}
        text = Qwen2Config(**text, rms_norm_eps=1e-6, rope_parameters=rope)
    else:
        rope = {"rope_type": "default", "rope_theta": 10000.0}
        text = LlamaConfig(**text, rms_norm_eps=1e-5, rope_parameters=rope)
    arguments = {
        "inference_mode": not shape.train_time,
        "layers": shape.vision_layers,
        "embed_dims": shape.dims,
        "mlp_ratios": shape.ratios,
    }
    vision = TimmWrapperConfig(
        architecture="fastvit_mci3",
        model_args=arguments,
        hidden_size=2 * shape.dims[-1],
        num_classes=0,
        global_pool="avg",
        do_pooling=True,
        initializer_range=0.02,
    )
    return FastVlmConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=small_tokenizer.image_id(),
        image_seq_length=shape.tokens,
        tie_word_embeddings=shape.tied,
    )


def build(shape: Shape, seed: int) -> FastVlmForConditionalGeneration:
    """The model in float32 with seeded weights; rows of special tokens never win, padding rows may."""
    config = configuration(shape)
    config._attn_implementation = "eager"
    model = FastVlmForConditionalGeneration(config)
    Seeder(seed).fill(model)
    first = len(small_tokenizer.vocabulary())
    with torch.no_grad():
        if shape.tied:
            model.lm_head.weight = model.model.language_model.embed_tokens.weight
        model.lm_head.weight[first : small_tokenizer.image_id() + 1] *= 1 / 16
        model.lm_head.weight.copy_(exact(model.lm_head.weight))
    return model


@torch.no_grad()
def encode(model, picture) -> tuple[torch.Tensor, torch.Tensor]:
    """One image [S, S, 3] -> features [tokens, 2 C] and projected tokens [tokens, hidden], float32."""
    dtype = model.dtype
    output = model.model.get_image_features(pixels(picture).to(dtype), return_dict=True)
    features = output.last_hidden_state[0].flatten(1).T
    return features.float().contiguous(), output.pooler_output[0].float().contiguous()


@torch.no_grad()
def intermediates(model, picture) -> dict[str, torch.Tensor]:
    """Feature maps [H, W, C] after the stem and after each stage."""
    timm = model.model.vision_tower.timm_model
    x = timm.stem(pixels(picture))
    maps = {"stem": x[0].permute(1, 2, 0).contiguous()}
    for index, stage in enumerate(timm.stages):
        x = stage(x)
        maps[f"stage.{index}"] = x[0].permute(1, 2, 0).contiguous()
    return maps


def greedy(model, ids: list[int], pictures, limit: int, steps: int = STEPS) -> answers.Answer:
    prompt = dict(input_ids=torch.tensor([ids]))
    if pictures:
        prompt["pixel_values"] = torch.cat([pixels(picture) for picture in pictures]).to(model.dtype)
    return answers.greedy(model, prompt, limit, steps)


def expanded(chunks: list[list[int]], tokens: int) -> list[int]:
    """Chunks of ids -> one list with the image id repeated `tokens` times between neighbours."""
    ids = list(chunks[0])
    for chunk in chunks[1:]:
        ids += [small_tokenizer.image_id()] * tokens + chunk
    return ids
