"""Qwen2 as an OpenVINO model whose key-value cache is its state, as OpenVINO's own exporters make it."""

from pathlib import Path

import torch
from torch import nn


class Flat(nn.Module):
    """Plain tensors in and out: logits of the last position, then keys and values of each layer."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, position_ids, beam_idx, *past):
        from transformers.cache_utils import DynamicCache

        past = [tensor.index_select(0, beam_idx) for tensor in past]
        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        keys = torch.arange(past[0].shape[2] + input_ids.shape[1])
        mask = (keys[None, :] <= position_ids[0, :, None])[None, None]
        output = self.model(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        present = [tensor for layer in output.past_key_values.layers for tensor in (layer.keys, layer.values)]
        return output.logits, *present


def convert(checkpoint: Path, target: Path) -> None:
    import openvino
    from openvino._offline_transformations import apply_make_stateful_transformation

    import models

    model = models.decoder(checkpoint)
    config = model.config
    heads, width = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
    names = [f"{kind}.{layer}" for layer in range(config.num_hidden_layers) for kind in ("key", "value")]
    inputs = ["input_ids", "position_ids", "beam_idx", *(f"past.{name}" for name in names)]
    outputs = ["logits", *(f"present.{name}" for name in names)]
    length, before = 5, 3
    example = (
        torch.from_numpy(models.ids(length))[None],
        torch.arange(before, before + length)[None],
        torch.zeros(1, dtype=torch.int32),
        *(torch.zeros(1, heads, before, width) for _ in names),
    )
    with torch.no_grad():
        converted = openvino.convert_model(Flat(model), example_input=example)
    shapes = {0: [1, -1], 1: [1, -1], 2: [1]} | {
        3 + index: [1, heads, -1, width] for index in range(len(names))
    }
    for port, name in zip(converted.inputs, inputs, strict=True):
        port.get_tensor().set_names({name})
    for port, name in zip(converted.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})
    converted.reshape(
        {converted.inputs[index]: openvino.PartialShape(shape) for index, shape in shapes.items()}
    )
    state = {f"past.{name}": f"present.{name}" for name in names}
    apply_make_stateful_transformation(converted, state)
    converted.validate_nodes_and_infer_types()
    openvino.save_model(converted, target, compress_to_fp16=False)
