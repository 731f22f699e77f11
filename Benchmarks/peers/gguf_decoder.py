"""Qwen2 as a GGUF file for llama.cpp, without a vocabulary: the benchmark feeds ids."""

import json
from pathlib import Path

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def renamed(name: str) -> str:
    """Of transformers' Qwen2 -> of GGUF."""
    if name.startswith("layers."):
        _, layer, rest = name.split(".", 2)
        module, kind = rest.rsplit(".", 1)
        return f"blk.{layer}.{NAMES[module]}.{kind}"
    return {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]


def write(checkpoint: Path, target: Path, precision: str) -> None:
    """`precision`: bfloat16 or float16, of the matrices; vectors stay float32."""
    import gguf
    import torch

    import models

    text = json.loads((checkpoint / "config.json").read_text())["text_config"]
    kinds = {
        "bfloat16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
        "float16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    }
    kind, file_kind = kinds[precision]
    writer = gguf.GGUFWriter(target, "qwen2")
    writer.add_name("random weights")
    writer.add_file_type(file_kind)
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_rope_freq_base(text["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(text["vocab_size"])
    writer.add_tokenizer_model("none")
    tensors = {renamed(name): tensor for name, tensor in models.part(checkpoint, models.DECODER).items()}
    if not text["tie_word_embeddings"]:
        tensors["output.weight"] = models.part(checkpoint, "lm_head.")["weight"]
    for name, tensor in tensors.items():
        values = tensor.to(torch.float32).numpy()
        used = kind if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(values, used), raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def requantise(source: Path, target: Path, threads: int) -> None:
    """llama.cpp's own quantiser; the kind is the ending of the file's stem (q8_0, q4_0, q4_k_m)."""
    import llama_cpp

    kinds = {
        "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
        "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
        "q4_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    }
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = kinds[target.stem.rsplit("-", 1)[1]]
    parameters.nthread = threads
    parameters.allow_requantize = True
    llama_cpp.llama_backend_init()
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), parameters)
    if status != 0:
        raise RuntimeError(f"llama_model_quantize gives {status}")
