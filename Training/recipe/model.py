"""FastVLM for training: timm's FastViTHD, a two-layer projector, any Hugging Face causal decoder."""

import pathlib

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from recipe import encoder as encoders


class Projector(nn.Module):
    """mlp2x_gelu."""

    def __init__(self, features: int, width: int):
        super().__init__()
        self.linear_1 = nn.Linear(features, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x):
        return self.linear_2(nn.functional.gelu(self.linear_1(x)))


def make_decoder(settings: dict, tokenizer) -> nn.Module:
    """A decoder from scratch (`type` and its configuration), or `pretrained` (a folder or name)."""
    settings = dict(settings)
    if "config" in settings:
        return AutoModelForCausalLM.from_config(
            AutoConfig.for_model(**settings["config"]), attn_implementation="sdpa"
        )
    if "pretrained" in settings:
        return AutoModelForCausalLM.from_pretrained(settings["pretrained"], dtype=torch.float32)
    kind = settings.pop("type", "qwen2")
    config = CONFIG_MAPPING[kind](
        vocab_size=tokenizer.get_vocab_size(),
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
        rope_parameters={"rope_type": "default", "rope_theta": settings.pop("rope_theta", 10000.0)},
        **settings,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def sizes_of(settings: dict) -> dict:
    """[model] settings with the sizes of the checkpoint that they are `like`, such as a published one."""
    if "like" not in settings:
        return settings
    from recipe.export import settings_of

    return settings_of(settings["like"]) | {k: v for k, v in settings.items() if k != "like"}


class VisionLanguage(nn.Module):
    """Parts: encoder, projector, decoder. `image_token` marks the places of visual tokens in `ids`."""

    def __init__(self, settings: dict, tokenizer):
        super().__init__()
        settings = sizes_of(settings)
        self.encoder = encoders.make_encoder(**settings["encoder"])
        self.decoder = make_decoder(settings["decoder"], tokenizer)
        width = self.decoder.config.hidden_size
        self.projector = Projector(2 * self.encoder.sizes["embed_dims"][4], width)
        self.image_token = tokenizer.token_to_id("<image>")

    def features(self, pixels):
        """pixels [N, S, S, 3] bytes -> [N, (S/64)^2, C]."""
        return encoders.tokens(self.encoder, pixels.permute(0, 3, 1, 2).float().div_(255))

    def images(self, batch: dict):
        """Projected visual tokens [N, T, D]."""
        return self.projector(batch["features"] if "features" in batch else self.features(batch["pixels"]))

    def hidden(self, batch: dict):
        """Last hidden states [N, L, D] of packed sequences (recipe/text.py)."""
        ids = batch["ids"]
        embedded = self.decoder.get_input_embeddings()(ids)
        images = self.images(batch).to(embedded.dtype)
        embedded = embedded.masked_scatter((ids == self.image_token)[..., None], images)
        out = self.decoder.base_model(
            inputs_embeds=embedded,
            attention_mask=batch["mask"],
            position_ids=batch["position"],
            use_cache=False,
        )
        return out.last_hidden_state, images

    def logits(self, hidden):
        return self.decoder.get_output_embeddings()(hidden)


def initial(path: str | pathlib.Path) -> dict[str, torch.Tensor]:
    """Weights of a run's checkpoint, under this module's names."""
    return torch.load(pathlib.Path(path) / "checkpoint" / "weights.pt", map_location="cpu")
