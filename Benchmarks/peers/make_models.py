#!/usr/bin/env python3
"""Makes what the peers load from one FastVLM checkpoint folder (Tools/reference/full_checkpoint.py makes it).

Files that exist are kept (--again makes them anew). If one part fails, the others are made all the same, and
the exit status is 1. Everything is seeded; calibration takes `models.pixels`.

  image-512.png, image-1024.png              what the whole programs are asked about
  encoder.onnx, encoder-int8.onnx            float32; static QDQ (quantisation at --calibration-side)
  encoder.xml/.bin, encoder-int8.xml/.bin    OpenVINO; NNCF's static quantisation
  decoder.xml, -int8, -int4                  OpenVINO, stateful; compressed weights (int4: groups of 128,
                                             embedding and lm_head int8)
  decoder-{bfloat16,float16,q8_0,q4_0,q4_k_m}.gguf  llama.cpp (which matrices keep 8 bits in 4-bit files is its own choice)
"""

import argparse
import importlib.util
import os
import shutil
import sys
import time
from pathlib import Path

import face


def make_image(options, target: Path) -> None:
    import numpy
    from PIL import Image

    import models

    values = models.pixels(int(target.stem.removeprefix("image-")))[0].transpose(1, 2, 0)
    Image.fromarray(numpy.round(values * 255).astype(numpy.uint8)).save(target)


def make_onnx(options, target: Path) -> None:
    import torch

    import models

    model = models.encoder(options.checkpoint)
    pixels = torch.from_numpy(models.pixels(options.calibration_side))
    with torch.no_grad():
        torch.onnx.export(
            model,
            (pixels,),
            str(target),
            input_names=["pixels"],
            output_names=["features"],
            dynamic_axes={"pixels": {2: "height", 3: "width"}, "features": {2: "rows", 3: "columns"}},
            opset_version=20,
            dynamo=False,
        )


def make_onnx_int8(options, target: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    import models

    class Pictures(CalibrationDataReader):
        def __init__(self):
            seeds = range(2, 2 + options.calibration_images)
            self.feeds = iter([{"pixels": models.pixels(options.calibration_side, seed)} for seed in seeds])

        def get_next(self):
            return next(self.feeds, None)

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(options.models / "encoder.onnx", prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        target,
        Pictures(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "MatMul", "Gemm"],
        per_channel=True,
        # Without these instructions products of unsigned and signed bytes saturate at 16 bits.
        reduce_range=not face.processor_flags() & {"avx512_vnni", "avx_vnni"},
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def make_openvino_encoder(options, target: Path) -> None:
    import openvino
    import torch

    import models

    pixels = torch.from_numpy(models.pixels(options.calibration_side))
    with torch.no_grad():
        model = openvino.convert_model(
            models.encoder(options.checkpoint), example_input=pixels, input=[1, 3, -1, -1]
        )
    openvino.save_model(model, target, compress_to_fp16=False)


def make_openvino_encoder_int8(options, target: Path) -> None:
    import nncf
    import openvino

    import models

    side, seeds = options.calibration_side, range(2, 2 + options.calibration_images)
    model = openvino.Core().read_model(options.models / "encoder.xml")
    model.reshape([1, 3, side, side])
    pictures = nncf.Dataset([models.pixels(side, seed) for seed in seeds])
    quantised = nncf.quantize(model, pictures, subset_size=len(seeds))
    quantised.reshape([1, 3, -1, -1])
    openvino.save_model(quantised, target, compress_to_fp16=False)


def make_openvino_decoder(options, target: Path) -> None:
    from openvino_decoder import convert

    convert(options.checkpoint, target)


def compress(options, target: Path, **settings) -> None:
    import nncf
    import openvino

    model = openvino.Core().read_model(options.models / "decoder.xml")
    openvino.save_model(nncf.compress_weights(model, **settings), target, compress_to_fp16=False)


def make_openvino_decoder_int8(options, target: Path) -> None:
    import nncf

    compress(options, target, mode=nncf.CompressWeightsMode.INT8_ASYM)


def make_openvino_decoder_int4(options, target: Path) -> None:
    import nncf

    compress(options, target, mode=nncf.CompressWeightsMode.INT4_SYM, group_size=128)


def make_gguf(options, target: Path) -> None:
    from gguf_decoder import write

    write(options.checkpoint, target, target.stem.removeprefix("decoder-"))


def requantise(options, target: Path) -> None:
    from gguf_decoder import requantise

    requantise(options.models / "decoder-bfloat16.gguf", target, options.threads)


PARTS = [  # file, package that the part needs, maker; later ones use earlier ones
    ("image-512.png", "PIL", make_image),
    ("image-1024.png", "PIL", make_image),
    ("encoder.onnx", "onnx", make_onnx),
    ("encoder-int8.onnx", "onnxruntime", make_onnx_int8),
    ("encoder.xml", "openvino", make_openvino_encoder),
    ("encoder-int8.xml", "nncf", make_openvino_encoder_int8),
    ("decoder.xml", "openvino", make_openvino_decoder),
    ("decoder-int8.xml", "nncf", make_openvino_decoder_int8),
    ("decoder-int4.xml", "nncf", make_openvino_decoder_int4),
    ("decoder-bfloat16.gguf", "gguf", make_gguf),
    ("decoder-float16.gguf", "gguf", make_gguf),
    ("decoder-q8_0.gguf", "llama_cpp", requantise),
    ("decoder-q4_0.gguf", "llama_cpp", requantise),
    ("decoder-q4_k_m.gguf", "llama_cpp", requantise),
]


def make(options, name: str, package: str, maker) -> bool:
    """-> whether the file is there afterwards; a file appears under its name only when complete."""
    target = options.models / name
    if target.exists() and not options.again:
        return True
    if importlib.util.find_spec(package) is None:
        print(f"{name}: skipped, {package} is not installed", flush=True)
        return False
    start = time.monotonic()
    # Some formats are several files that know each other's names, hence a folder and not another name.
    folder = options.models / "partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        maker(options, folder / name)
    except Exception as failure:
        print(f"{name}: {type(failure).__name__}: {str(failure)[:1000]}", flush=True)
        return False
    for path in sorted(folder.iterdir(), key=lambda path: path.name == name):
        path.replace(options.models / path.name)
    print(f"{name}: {target.stat().st_size / 1e6:.0f} MB, {time.monotonic() - start:.0f} s", flush=True)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    face.add_folders(parser)
    parser.add_argument("--only", nargs="+", metavar="FILE", choices=[name for name, *_ in PARTS])
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--calibration-side", type=int, default=256)
    parser.add_argument("--calibration-images", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if not (options.checkpoint / "model.safetensors").exists():
        sys.exit(f"no checkpoint in {options.checkpoint}: Tools/reference/full_checkpoint.py makes one")
    options.models.mkdir(parents=True, exist_ok=True)
    done = [make(options, *part) for part in PARTS if not options.only or part[0] in options.only]
    sys.exit(0 if all(done) else 1)


if __name__ == "__main__":
    main()
