#!/usr/bin/env python3
"""ONNX Runtime: the encoder. --precision float32, or int8 (static QDQ, made by make_models.py)."""

import face

FILES = {"float32": "encoder.onnx", "int8": "encoder-int8.onnx"}


def prepare(options) -> face.Prepared:
    if options.item != "encoder":
        raise face.Skip("only the encoder is measured with it")
    if options.precision not in FILES:
        raise face.Skip("float32 and int8 only: its CPU provider has no bfloat16 convolutions")
    file = face.need(options.models / FILES[options.precision])
    import onnxruntime

    import models

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.add_session_config_entry("session.force_spinning_stop", "1")  # spins within a run, not after
    for name in ("height", "width"):
        settings.add_free_dimension_override_by_name(name, options.resolution)
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: models.pixels(options.resolution)}
    return face.Prepared(onnxruntime.__version__, face.timed(lambda: session.run(None, feed)))


if __name__ == "__main__":
    face.serve("onnxruntime", face.parser(__doc__).parse_args(), prepare)
