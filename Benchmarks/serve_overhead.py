#!/usr/bin/env python3
"""What a request costs beside its answer: our server and llama.cpp's Python server, the same images, in turns.

    PYTHONPATH=<a peers environment>/lib/python3.11/site-packages python Benchmarks/serve_overhead.py --gguf SmolLM2.gguf

The overhead is the time of a request over HTTP minus the time that the engine works on it: for ours what the response
says (`timings`), for llama.cpp's the same call in the server's own way but in this process. For ours also the time to
the first words of a stream, minus what the library says of it. The models differ; the
overhead is what does not depend on them. llama.cpp gets a vision model of random weights in front of a text model (a
CLIP tower of two layers, 256 tokens an image): none that is published can be had here.

Needs `llama-cpp-python`, `gguf`, and for its server fastapi, uvicorn, sse-starlette, starlette-context and
pydantic-settings.
"""

import argparse
import base64
import http.client
import io
import json
import pathlib
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import PIL.Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOKENS = 8


def make_tower(path: pathlib.Path, hidden: int) -> None:
    """A CLIP tower and LLaVA's projector with random weights, as llama.cpp loads them."""
    import gguf
    import numpy

    chance = numpy.random.default_rng(1)
    width, inner, side, patch, layers = 128, 512, 224, 14, 2
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", False)
    writer.add_file_type(0)
    for name, value in {"image_size": side, "patch_size": patch, "embedding_length": width, "projection_dim": hidden,
                        "feed_forward_length": inner, "block_count": layers, "attention.head_count": 4}.items():
        writer.add_uint32("clip.vision." + name, value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.48, 0.46, 0.41])
    writer.add_array("clip.vision.image_std", [0.27, 0.26, 0.28])

    def add(name, *shape):
        values = chance.normal(0, 0.02, shape) if len(shape) > 1 else numpy.ones(shape) * (".weight" in name)
        writer.add_tensor(name, values.astype(numpy.float32))

    add("v.class_embd", width)
    add("v.patch_embd.weight", width, 3, patch, patch)
    add("v.position_embd.weight", (side // patch) ** 2 + 1, width)
    for name in ["v.pre_ln", "v.post_ln"]:
        add(name + ".weight", width)
        add(name + ".bias", width)
    for layer in range(layers):
        for name, out, into in [("attn_q", width, width), ("attn_k", width, width), ("attn_v", width, width),
                                ("attn_out", width, width), ("ffn_up", inner, width), ("ffn_down", width, inner)]:
            add(f"v.blk.{layer}.{name}.weight", out, into)
            add(f"v.blk.{layer}.{name}.bias", out)
        for name in ["ln1", "ln2"]:
            add(f"v.blk.{layer}.{name}.weight", width)
            add(f"v.blk.{layer}.{name}.bias", width)
    for name, out, into in [("mm.0", hidden, width), ("mm.2", hidden, hidden)]:
        add(name + ".weight", out, into)
        add(name + ".bias", out)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def picture(number: int) -> str:
    """A JPEG of some 300 KB as a data address, another one for each number."""
    image = PIL.Image.frombytes("RGB", (420, 420), random.Random(number).randbytes(420 * 420 * 3))
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def request(url: str | None) -> dict:
    parts = [{"type": "image_url", "image_url": {"url": url}}] if url else []
    return {"model": "default", "max_tokens": TOKENS, "temperature": 0,
            "messages": [{"role": "user", "content": parts + [{"type": "text", "text": "What is this?"}]}]}


class Server:
    def __init__(self, command, port):
        self.log = tempfile.TemporaryFile()
        self.port = port
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while True:
            try:
                self.ask(request(None))
                return
            except (OSError, RuntimeError, http.client.HTTPException):
                if self.process.poll() is not None or time.monotonic() > end:
                    self.log.seek(0)
                    raise SystemExit(self.log.read().decode(errors="replace")[-2000:])
                time.sleep(0.2)

    def ask(self, content):
        """Seconds from before the connection to the whole answer, and the answer."""
        data = json.dumps(content).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        start = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        seconds = time.perf_counter() - start
        connection.close()
        if response.status != 200:
            raise RuntimeError(answer.decode(errors="replace")[:300])
        return seconds, json.loads(answer)

    def first_words(self, content):
        """Seconds from before the request to the first words of a stream, on an open connection, less the library's."""
        data = json.dumps(content | {"stream": True}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.connect()
        start = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text, first = b"", None
        while part := response.read1():
            text += part
            if first is None and re.search(rb'"content":"[^"]', text):
                first = time.perf_counter() - start
        connection.close()
        if first is None:
            raise RuntimeError(text.decode(errors="replace")[:300])
        return first - float(re.search(rb'"time_to_first_token_ms":([0-9.e-]+)', text)[1]) / 1000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=pathlib.Path, required=True, help="a text model of 576 channels (SmolLM2-135M)")
    parser.add_argument("--fastvlm", type=pathlib.Path, default=ROOT / ".build/release/fastvlm")
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    import llama_cpp
    from llama_cpp.llama_chat_format import Llava15ChatHandler

    with tempfile.TemporaryDirectory() as folder:
        tower = pathlib.Path(folder) / "tower.gguf"
        make_tower(tower, 576)
        ours = Server([options.fastvlm, "serve", "--port", str(port := free_port()), "--threads", "2"], port)
        theirs = Server([sys.executable, "-m", "llama_cpp.server", "--model", options.gguf, "--clip_model_path", tower,
                         "--chat_format", "llava-1-5", "--n_ctx", "2048", "--n_threads", "2", "--n_threads_batch", "2",
                         "--host", "127.0.0.1", "--port", str(port := free_port())], port)
        inside = llama_cpp.Llama(
            str(options.gguf), n_ctx=2048, n_threads=2, n_threads_batch=2, verbose=False,
            chat_handler=Llava15ChatHandler(str(tower), verbose=False))

        def engine(content):
            start = time.perf_counter()
            answer = inside.create_chat_completion(
                messages=content["messages"], max_tokens=TOKENS, temperature=0)
            return time.perf_counter() - start, answer

        try:
            for kind in ["text", "image"]:
                figures = {"ours": [], "theirs": []}
                whole = {"ours": [], "theirs": []}
                words = []
                for run in range(options.runs + 3):
                    content = request(picture(run) if kind == "image" else None)
                    # Another picture, so that neither request finds the other's.
                    before_words = ours.first_words(request(picture(1000 + run)) if kind == "image" else content)
                    seconds, answer = ours.ask(content)
                    timings = answer["timings"]
                    work = (timings["prompt_ms"] + timings["predicted_ms"]) / 1000
                    other, other_answer = theirs.ask(content)
                    alone, alone_answer = engine(content)
                    # Random visual tokens leave near-ties, so the words may differ; the work may not.
                    assert other_answer["usage"] == alone_answer["usage"], "the two ways of llama.cpp do unequal work"
                    if run >= 3:  # the first ones warm up
                        words.append(before_words)
                        figures["ours"].append(seconds - work)
                        figures["theirs"].append(other - alone)
                        whole["ours"].append(seconds)
                        whole["theirs"].append(other)
                print(f"{kind:5} ours   first words of a stream {1000 * statistics.median(words):.1f} ms after the "
                      f"library's (best {1000 * min(words):.1f})")
                for name, values in figures.items():
                    low, _, high = statistics.quantiles(values, n=4)
                    print(f"{kind:5} {name:6} overhead {1000 * statistics.median(values):6.1f} ms "
                          f"({1000 * low:.1f} to {1000 * high:.1f}) of {1000 * statistics.median(whole[name]):.0f} ms")
        finally:
            for server in (ours, theirs):
                server.process.terminate()


if __name__ == "__main__":
    main()
