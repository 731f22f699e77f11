#!/usr/bin/env python3
"""llama.cpp through llama-cpp-python: Qwen2. --precision bfloat16, float16, q8_0, q4_0 or q4_k_m."""

import face


def prepare(options) -> face.Prepared:
    if options.item not in ("prefill", "decode"):
        raise face.Skip("it has no FastViTHD")
    if options.precision not in ("bfloat16", "float16", "q8_0", "q4_0", "q4_k_m"):
        raise face.Skip("bfloat16, float16, q8_0, q4_0 and q4_k_m only")
    file = face.need(options.models / f"decoder-{options.precision}.gguf")
    import llama_cpp

    import models

    sequence = Sequence(llama_cpp, file, options)
    version = llama_cpp.__version__
    if options.item == "prefill":
        ids = models.ids(options.positions).tolist()

        def prefill() -> None:
            sequence.cut(0)
            sequence.feed(ids)

        return face.Prepared(version, face.timed(prefill), sequence.settings)
    sequence.feed(models.ids(options.context).tolist())
    first = sequence.likeliest()
    measure = face.timed_tokens(lambda: sequence.greedy(first, options.tokens), options.tokens)

    def repetition() -> dict:
        figures = measure()
        sequence.cut(options.context)
        return figures

    return face.Prepared(version, repetition, sequence.settings)


class Sequence:
    """One sequence of one context; logits of the last position only."""

    def __init__(self, library, file, options):
        self.library = library
        library.llama_backend_init()
        loading = library.llama_model_default_params()
        loading.n_gpu_layers = 0
        model = library.llama_model_load_from_file(str(file).encode(), loading)
        if not model:
            raise face.Skip(f"llama.cpp does not load {file.name}")
        length = options.positions if options.item == "prefill" else options.context
        parameters = library.llama_context_default_params()
        parameters.n_ctx = length + options.tokens + 8
        parameters.n_batch = parameters.n_ubatch = max(512, length)
        parameters.n_threads = parameters.n_threads_batch = options.threads
        self.context = library.llama_init_from_model(model, parameters)
        if not self.context:
            raise face.Skip("llama.cpp makes no context")
        self.rows = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
        self.model = model  # kept alive as long as its context
        self.settings = {
            "physicalBatch": parameters.n_ubatch,
            "system": library.llama_print_system_info().decode().strip(),
        }

    def feed(self, ids: list[int]) -> None:
        tokens = (self.library.llama_token * len(ids))(*ids)
        status = self.library.llama_decode(self.context, self.library.llama_batch_get_one(tokens, len(ids)))
        if status != 0:
            raise RuntimeError(f"llama_decode gives {status}")

    def logits(self):
        """Of the last position; a view that the next step overwrites."""
        import numpy

        values = self.library.llama_get_logits_ith(self.context, -1)
        return numpy.ctypeslib.as_array(values, (self.rows,))

    def likeliest(self) -> int:
        return int(self.logits().argmax())

    def greedy(self, token: int, steps: int) -> None:
        for _ in range(steps):
            self.feed([token])
            token = self.likeliest()

    def cut(self, length: int) -> None:
        """Forgets positions from `length` on."""
        memory = self.library.llama_get_memory(self.context)
        self.library.llama_memory_seq_rm(memory, 0, length, -1)


if __name__ == "__main__":
    face.serve("llama.cpp", face.parser(__doc__).parse_args(), prepare)
