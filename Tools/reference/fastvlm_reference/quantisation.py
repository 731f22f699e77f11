"""Affine quantisation in groups, as MLX stores it."""

import numpy as np
import torch


def quantise(weight: torch.Tensor, bits: int, group: int):
    """[out, in] -> uint32 [out, in * bits / 32], low bits first; scales, biases float16 [out, in / group].

    A weight is scale * q + bias with q in 0 ... 2^bits - 1.
    """
    outputs, inputs = weight.shape
    groups = weight.reshape(outputs, inputs // group, group)
    low, high = groups.amin(-1), groups.amax(-1)
    scales = ((high - low).clamp(min=1e-6) / (2**bits - 1)).to(torch.float16)
    biases = low.to(torch.float16)
    q = ((groups - biases.float()[..., None]) / scales.float()[..., None]).round().clamp(0, 2**bits - 1)
    values = q.reshape(outputs, inputs).numpy().astype(np.uint32)
    per_word = 32 // bits
    words = values.reshape(outputs, inputs // per_word, per_word)
    packed = np.zeros(words.shape[:2], dtype=np.uint32)
    for index in range(per_word):
        packed |= words[:, :, index] << np.uint32(bits * index)
    return packed, scales, biases


def dequantise(
    packed: np.ndarray, scales: torch.Tensor, biases: torch.Tensor, bits: int, group: int
) -> torch.Tensor:
    """The float32 weights [out, in] that the packed form stands for, read back from the packed words."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    values = (packed[:, :, None] >> shifts) & np.uint32(2**bits - 1)
    values = torch.from_numpy(values.reshape(packed.shape[0], -1).astype(np.float32))
    scales, biases = (factor.float().repeat_interleave(group, dim=1) for factor in (scales, biases))
    return values * scales + biases


def quantise_mlx(state: dict[str, torch.Tensor], bits: int, group: int):
    """An MLX state dict -> the same, projector, embeddings and decoder quantised where `group` divides.

    Returns (tensors as numpy or torch, dequantised weights by their MLX name).
    """
    stored, plain = {}, {}
    for name, tensor in state.items():
        linear = name.startswith(("language_model.", "mm_projector.")) and tensor.dim() == 2
        if not linear or tensor.shape[1] % group:
            stored[name] = tensor
            continue
        base = name.removesuffix(".weight")
        packed, scales, biases = quantise(tensor.float(), bits, group)
        stored[name], stored[base + ".scales"], stored[base + ".biases"] = packed, scales, biases
        plain[name] = dequantise(packed, scales, biases, bits, group)
    return stored, plain
