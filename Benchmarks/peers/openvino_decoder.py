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
        from transformers.cache_utils import DynamicCache, DynamicLayer

        past = [tensor.index_select(0, beam_idx) for tensor in past]
        cache = DynamicCache()
        for keys, values in zip(past[::2], past[1::2], strict=True):
            layer = DynamicLayer()  # filled by hand: its own way begins with an empty tensor without shape
            layer.keys, layer.values, layer.is_initialized = keys, values, True
            cache.layers.append(layer)
        places = torch.arange(past[0].shape[2] + input_ids.shape[1])
        mask = (places[None, :] <= position_ids[0, :, None])[None, None]
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
    shapes = {0: [-1, -1], 1: [-1, -1], 2: [-1]} | {
        3 + index: [-1, heads, -1, width] for index in range(len(names))
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
    begin_empty(converted)
    openvino.save_model(converted, target, compress_to_fp16=False)


def begin_empty(model) -> None:
    """Gives every state its first value, no positions, which the CPU plugin wants once it fuses attention."""
    import numpy
    from openvino import opset13

    for read in [node for node in model.get_ops() if node.get_type_name() == "ReadValue"]:
        shape = [dimension.min_length for dimension in read.get_output_partial_shape(0)]
        zero = opset13.constant(0.0, dtype=read.get_output_element_type(0))
        count = opset13.gather(
            opset13.shape_of(model.input("input_ids")), opset13.constant([0]), opset13.constant(0)
        )
        rest = opset13.constant(numpy.array(shape[1:], dtype=numpy.int64))
        read.set_arguments([opset13.broadcast(zero, opset13.concat([count, rest], axis=0))])
    model.validate_nodes_and_infer_types()
