#!/usr/bin/env python3
"""Whether the peers compute the same: each model file beside PyTorch in float32, on fresh inputs.

Prints a line per file: relative error (norm of the difference / norm) and cosine of the features at 256
pixels, or of the logits after 40 ids. --limit is for the unquantised files; quantised ones are only shown.
"""

import argparse
import sys

import face


def features(options) -> dict[str, tuple]:
    import numpy
    import torch

    import models

    pixels = models.pixels(256, seed=77)
    reference = models.encoder(options.checkpoint)(torch.from_numpy(pixels)).numpy()
    found = {}
    for name in ("encoder.onnx", "encoder-int8.onnx"):
        if (options.models / name).exists():
            import onnxruntime

            session = onnxruntime.InferenceSession(options.models / name, providers=["CPUExecutionProvider"])
            found[name] = session.run(None, {"pixels": pixels})[0]
    for name in ("encoder.xml", "encoder-int8.xml"):
        if (options.models / name).exists():
            import openvino

            hint = {"INFERENCE_PRECISION_HINT": "f32"}
            compiled = openvino.Core().compile_model(options.models / name, "CPU", hint)
            found[name] = next(iter(compiled({0: pixels}).values()))
    return {name: (numpy.asarray(value), reference) for name, value in found.items()}


def logits(options) -> dict[str, tuple]:
    import torch

    import models

    ids = models.ids(40, seed=77)
    reference = models.decoder(options.checkpoint)(torch.from_numpy(ids)[None]).logits[0, -1].numpy()
    found = {}
    for name in ("decoder.xml", "decoder-int8.xml", "decoder-int4.xml"):
        if (options.models / name).exists():
            import openvino

            from openvino_peer import Language

            hint = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
            compiled = openvino.Core().compile_model(options.models / name, "CPU", hint)
            language = Language(compiled.create_infer_request())
            for part in (ids[:30], ids[30:39], ids[39:]):
                language.feed(part)
            found[name] = language.request.get_tensor("logits").data[0, -1].copy()
    for file in sorted(options.models.glob("decoder-*.gguf")):
        try:
            import llama_cpp
        except ImportError:
            break
        from llama_cpp_peer import Sequence

        sequence = Sequence(llama_cpp, file, options)
        for part in (ids[:30], ids[30:39], ids[39:]):
            sequence.feed(part.tolist())
        found[file.name] = sequence.logits().copy()
    return {name: (value, reference) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=float, default=0.02, help="of the relative error")
    parser.add_argument("--threads", type=int, default=2)
    face.add_folders(parser)
    options = parser.parse_args(namespace=argparse.Namespace(item="decode", context=40, tokens=0))
    import torch

    torch.set_grad_enabled(False)
    torch.set_num_threads(options.threads)
    failed = False
    for name, (value, reference) in {**features(options), **logits(options)}.items():
        value, reference = value.ravel(), reference.ravel()
        error = float(((value - reference) ** 2).sum() ** 0.5 / (reference**2).sum() ** 0.5)
        cosine = float(value @ reference / ((value @ value) * (reference @ reference)) ** 0.5)
        exact = not any(mark in name for mark in ("int8", "int4", "q8_0", "q4_0", "q4_k_m"))
        failed |= exact and error > options.limit
        print(f"{name}: relative error {error:.2e}, cosine {cosine:.5f}{'' if exact else ' (quantised)'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
