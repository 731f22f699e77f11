"""The weights that a run begins with: those of an earlier run, made to fit a model of another form or size."""

import json
import pathlib
import re

import torch

from recipe import encoder as encoders
from recipe.model import VisionLanguage, sizes_of


def fitted(state: dict, network: VisionLanguage, run: pathlib.Path) -> dict:
    """What a run's state has for the network, under its names. A part (encoder, projector, decoder) is there as a
    whole or not at all."""
    state, own = {k.removeprefix("model."): v for k, v in state.items()}, network.state_dict()
    decoder = network.decoder.config
    if network.encoder.branches == "folded":
        state = folded(state, run)
    state = own_layers(state, own, decoder.num_hidden_layers)
    state = own_rows(own_heads(state, own, decoder.hidden_size // decoder.num_attention_heads), own)
    found = {k: v for k, v in state.items() if k in own}
    if unfit := [k for k, v in found.items() if own[k].shape != v.shape]:
        raise ValueError(f"{run}: tensors of another shape than configured, first {unfit[0]}")
    if not found:
        raise ValueError(f"{run}: no tensor of the checkpoint belongs to this model")
    parts = {k.partition(".")[0] for k in found}
    if missing := [k for k in own if k.partition(".")[0] in parts and k not in found]:
        raise ValueError(
            f"{run}: no {missing[0]}: another form of encoder (model.encoder.branches), another kind of decoder, or "
            "adapters, which export.py merges"
        )
    if extra := [k for k in state if k.partition(".")[0] in parts and k not in own]:
        raise ValueError(f"{run}: the model has no place for {extra[0]}: fewer layers than the checkpoint?")
    return found


def own_rows(state: dict, own: dict) -> dict:
    """Tables of tokens with the rows of tokens that the checkpoint's vocabulary did not have yet."""
    found = dict(state)
    for name, value in state.items():
        if name.endswith(("embed_tokens.weight", "lm_head.weight")) and name in own and len(own[name]) > len(value):
            found[name] = torch.cat([value, own[name][len(value) :]])
    return found


def own_heads(state: dict, own: dict, width: int) -> dict:
    """Key and value heads of `width` that query heads shared, repeated where the model has more of them."""
    found = dict(state)
    for name, value in state.items():
        if name in own and (".k_proj." in name or ".v_proj." in name) and len(own[name]) > len(value):
            heads = value.unflatten(0, (-1, width))
            found[name] = heads.repeat_interleave(len(own[name]) // len(value), 0).flatten(0, 1)
    return found


def own_layers(state: dict, own: dict, number: int) -> dict:
    """Those of a checkpoint of fewer decoder layers, spread over `number` of them. Those between add nothing at first.

    As in LLaMA Pro (Wu et al., 2024): a layer whose two last projections are 0 hands on what it is given.
    """
    layer = re.compile(r"(decoder\..*?layers\.)(\d+)(\..+)")
    parts = {name: layer.fullmatch(name) for name in state}
    had = len({part[2] for part in parts.values() if part})
    if not 0 < had < number:
        return state
    found = {(f"{p[1]}{int(p[2]) * number // had}{p[3]}" if p else name): state[name] for name, p in parts.items()}
    there = {part[2] for part in map(layer.fullmatch, found) if part}
    for name, part in ((name, layer.fullmatch(name)) for name in own):
        if part and part[2] not in there:
            last = ".o_proj." in name or ".down_proj." in name
            found[name] = torch.zeros_like(own[name]) if last else own[name]
    return found


def folded(state: dict, run: pathlib.Path) -> dict:
    """The state of a run with its encoder folded, where it has been trained with batch norms."""
    settings = sizes_of(json.loads((run / "config.json").read_text())["model"])["encoder"]
    if settings.get("branches", "multi") == "folded":
        return state
    net = encoders.make_encoder(**settings)
    net.load_state_dict({k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")})
    found = {k: v for k, v in state.items() if not k.startswith("encoder.")}
    return found | {f"encoder.{k}": v for k, v in encoders.folded(net).state_dict().items()}
