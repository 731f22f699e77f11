"""Programs that say what a network thinks of token ids: transformers as the truth, ours, and llama.cpp.

The latter two have `logits(ids)` -> float32 [len(ids), vocabulary], nothing before the first id;
`greedy(ids, tokens)` -> the likeliest tokens after a prompt, which nothing ends; and `close()`.
"""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PRECISIONS = ("float32", "bfloat16", "int8", "int8-quantized", "int4", "int4-quantized")
LLAMA_KINDS = ("float32", "q8_0", "q4_k_m", "q4_0")


class Transformers:
    """float32; whole answers to many prompts at once, with the scores of every step."""

    def __init__(self, folder: Path):
        import torch
        from transformers import FastVlmForConditionalGeneration

        self.torch = torch
        self.model = FastVlmForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.model.generation_config.eos_token_id = None

    def log_probabilities(self, ids: list[int]) -> np.ndarray:
        """[len(ids), vocabulary], of what follows each."""
        with self.torch.no_grad():
            logits = self.model(input_ids=self.torch.tensor([ids])).logits[0]
            return logits.log_softmax(1).numpy()

    def answers(self, prompts: list[list[int]], tokens: int) -> tuple[list[list[int]], list[np.ndarray]]:
        """`generate` itself: ids, and scores [tokens, vocabulary], of each prompt."""
        torch, width = self.torch, max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.no_grad():
            result = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
                output_logits=True,
                return_dict_in_generate=True,
            )
        scores = torch.stack(result.logits, dim=1)
        return result.sequences[:, width:].tolist(), list(scores.numpy())


class Ours:
    """`fastvlm logits`, a process; of a precision while loading, or of a folder that `fastvlm quantize` wrote."""

    def __init__(self, program: Path, folder: Path, kind: str, threads: int):
        self.name = f"fastvlm {kind.replace('-', ', ')}"
        precision = kind.removesuffix("-quantized")
        if kind != precision:
            folder = quantized_folder(program, folder, precision)
        command = [program, "logits", "--model", folder, "--precision", precision, "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ready = json.loads(self.line())

    def line(self) -> bytes:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}")
        return line

    def ask(self, job: dict) -> None:
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()

    def logits(self, ids: list[int]) -> np.ndarray:
        self.ask({"ids": ids})
        result = np.empty((len(ids), self.ready["vocabulary"]), dtype="<f4")
        if self.process.stdout.readinto(memoryview(result).cast("B")) != result.nbytes:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}")
        return result

    def greedy(self, ids: list[int], tokens: int) -> list[int]:
        self.ask({"ids": ids, "tokens": tokens})
        return json.loads(self.line())["ids"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Llama:
    """llama.cpp through llama-cpp-python, on a file that its own quantiser made from float32."""

    def __init__(self, library, file: Path, kind: str, threads: int, positions: int):
        self.name, self.library = f"llama.cpp {kind.upper() if kind != 'float32' else kind}", library
        self.silence = library.llama_log_callback(lambda level, text, data: None)
        library.llama_log_set(self.silence, None)
        library.llama_backend_init()
        loading = library.llama_model_default_params()
        loading.n_gpu_layers = 0
        self.model = library.llama_model_load_from_file(str(file).encode(), loading)
        if not self.model:
            raise SystemExit(f"llama.cpp does not load {file}")
        parameters = library.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = positions
        parameters.n_ubatch = 512
        parameters.n_threads = parameters.n_threads_batch = threads
        self.context = library.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise SystemExit("llama.cpp makes no context")
        self.batch = library.llama_batch_init(positions, 0, 1)
        self.rows = library.llama_vocab_n_tokens(library.llama_model_get_vocab(self.model))

    def feed(self, ids: list[int], first: int, wants_all: bool) -> None:
        self.batch.n_tokens = len(ids)
        for index, token in enumerate(ids):
            self.batch.token[index] = token
            self.batch.pos[index] = first + index
            self.batch.n_seq_id[index] = 1
            self.batch.seq_id[index][0] = 0
            self.batch.logits[index] = wants_all or index == len(ids) - 1
        status = self.library.llama_decode(self.context, self.batch)
        if status != 0:
            raise SystemExit(f"llama_decode gives {status}")

    def begin(self) -> None:
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), True)

    def logits(self, ids: list[int]) -> np.ndarray:
        self.begin()
        self.feed(ids, 0, True)
        values = self.library.llama_get_logits(self.context)
        return np.ctypeslib.as_array(values, (len(ids), self.rows)).copy()

    def greedy(self, ids: list[int], tokens: int) -> list[int]:
        self.begin()
        answer, given, first = [], ids, 0
        while len(answer) < tokens:
            self.feed(given, first, False)
            first += len(given)
            scores = np.ctypeslib.as_array(
                self.library.llama_get_logits_ith(self.context, -1), (self.rows,)
            )
            given = [int(scores.argmax())]
            answer += given
        return answer

    def close(self) -> None:
        self.library.llama_batch_free(self.batch)
        self.library.llama_free(self.context)
        self.library.llama_model_free(self.model)


def quantized_folder(program: Path, folder: Path, precision: str) -> Path:
    """Made anew every time: it is the program's doing that is measured."""
    target = folder.with_name(f"{folder.name}-{precision}")
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run([program, "quantize", folder, "-o", target, "--precision", precision, "--quiet"], check=True)
    return target


def packed_bits(folder: Path) -> float:
    """Bits per weight of a quantised folder's packed matrices of the decoder, scales included."""
    with open(folder / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    size = weights = 0
    for name, text in header["__metadata__"].items():
        if name.startswith("fastvlm.decoder.") and name in header:
            first, end = header[name]["data_offsets"]
            shape = dict(field.split("=") for field in text.split())["shape"].split("x")
            size += end - first
            weights += math.prod(map(int, shape)) * (2 if "gate_up" in name else 1)
    return 8 * size / weights


def llama_file(base: Path, kind: str, threads: int) -> Path:
    """Quantised from `base`-float32.gguf if it is not there."""
    target = base.with_name(f"{base.name}-{kind}.gguf")
    if not target.exists():
        sys.path.insert(0, str(ROOT / "Benchmarks" / "peers"))
        import gguf_decoder

        gguf_decoder.requantise(base.with_name(f"{base.name}-float32.gguf"), target, threads)
    return target


def bits_per_weight(file: Path) -> float:
    """Of the matrices of a GGUF file."""
    import gguf

    matrices = [tensor for tensor in gguf.GGUFReader(file).tensors if len(tensor.shape) > 1]
    return 8 * sum(int(t.n_bytes) for t in matrices) / sum(int(t.n_elements) for t in matrices)
