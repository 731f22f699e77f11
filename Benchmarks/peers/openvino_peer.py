#!/usr/bin/env python3
"""OpenVINO: the encoder and Qwen2 with its key-value cache as the model's state.

--precision, encoder: float32, bfloat16 (hint), int8 (static quantisation of NNCF);
prefill and decode: float32, bfloat16, int8 and int4 (compressed weights; --group-size N is the group of the
dynamic quantisation of activations, 0 for none; without it the plugin's own choice).
"""

import face


def arguments():
    parser = face.parser(__doc__)
    parser.add_argument("--group-size", type=int, help="of dynamically quantised activations")
    return parser.parse_args()


def prepare(options) -> face.Prepared:
    if options.item == "ttft":
        raise face.Skip("no whole program: the sum of its parts is not measured as one")
    quantised = {"int8": "-int8"} if options.item == "encoder" else {"int8": "-int8", "int4": "-int4"}
    if options.precision not in ("float32", "bfloat16", *quantised):
        raise face.Skip(f"no {options.precision} {options.item}")
    if options.precision == "bfloat16":
        face.require_bfloat16(options)  # on AVX-512 without them OpenVINO emulates: 27 s for one encode
    name = "encoder" if options.item == "encoder" else "decoder"
    file = face.need(options.models / f"{name}{quantised.get(options.precision, '')}.xml")
    import openvino

    core = openvino.Core()
    model = core.read_model(file)
    if options.item == "encoder":
        model.reshape([1, 3, options.resolution, options.resolution])
    compiled = core.compile_model(model, "CPU", properties(options, openvino))
    request = compiled.create_infer_request()
    keys = ["INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS"]
    if options.item != "encoder":
        keys += ["DYNAMIC_QUANTIZATION_GROUP_SIZE", "KV_CACHE_PRECISION"]
    used = {key: shown(compiled.get_property(key)) for key in keys}
    if options.precision == "bfloat16":
        hint = compiled.get_property("INFERENCE_PRECISION_HINT")
        if hint != openvino.Type.bf16:
            raise face.Skip(f"the hint bfloat16 gives {hint.get_type_name()} on this processor")
    version = openvino.__version__.split("-")[0]
    return face.Prepared(version, measurement(options, request), used)


def shown(value) -> object:
    return value.get_type_name() if hasattr(value, "get_type_name") else value


def properties(options, openvino) -> dict:
    result = {
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": "1",
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # pinned threads of several idle peers would share one core
        "INFERENCE_PRECISION_HINT": "bf16" if options.precision == "bfloat16" else "f32",
    }
    if options.group_size is not None:
        result["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = options.group_size
    return result


def measurement(options, request):
    import models

    if options.item == "encoder":
        feed = {0: models.pixels(options.resolution)}
        return face.timed(lambda: request.infer(feed))
    language = Language(request)
    if options.item == "prefill":
        ids = models.ids(options.positions)

        def prefill() -> None:
            language.reset()
            language.feed(ids)

        return face.timed(prefill)
    context = models.ids(options.context)

    def repetition() -> dict:  # the state cannot be cut back, so the context is fed again outside the time
        language.reset()
        first = language.feed(context)
        return face.timed_tokens(lambda: language.greedy(first, options.tokens), options.tokens)()

    return repetition


class Language:
    """One sequence of a stateful model."""

    def __init__(self, request):
        self.request = request
        self.length = 0

    def reset(self) -> None:
        self.request.reset_state()
        self.length = 0

    def feed(self, ids) -> int:
        """-> the likeliest token after `ids`."""
        import numpy

        positions = numpy.arange(self.length, self.length + len(ids), dtype=numpy.int64)[None]
        self.length += len(ids)
        inputs = {
            "input_ids": numpy.asarray(ids, dtype=numpy.int64)[None],
            "position_ids": positions,
            "beam_idx": numpy.zeros(1, dtype=numpy.int32),
        }
        self.request.infer(inputs, share_inputs=True)
        return int(self.request.get_tensor("logits").data[0, -1].argmax())

    def greedy(self, token: int, steps: int) -> None:
        for _ in range(steps):
            token = self.feed([token])


if __name__ == "__main__":
    face.serve("openvino", arguments(), prepare)
