#!/usr/bin/env python3
"""PyTorch: timm's encoder in channels_last, transformers' Qwen2. --precision float32 or bfloat16."""

import face


def prepare(options) -> face.Prepared:
    if options.item == "ttft":
        raise face.Skip("transformers_peer.py has this item")
    if options.precision == "bfloat16":
        face.require_bfloat16(options)
    elif options.precision != "float32":
        raise face.Skip("float32 and bfloat16 only")
    import torch

    import models

    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    dtype = getattr(torch, options.precision)
    if options.item == "encoder":
        model = models.encoder(options.checkpoint, dtype).to(memory_format=torch.channels_last)
        pixels = torch.from_numpy(models.pixels(options.resolution)).to(dtype)
        pixels = pixels.to(memory_format=torch.channels_last)
        measure = face.timed(lambda: model(pixels))
        return face.Prepared(torch.__version__, measure, {"memoryFormat": "channels_last"})
    model = models.decoder(options.checkpoint, dtype)
    if options.item == "prefill":
        ids = torch.from_numpy(models.ids(options.positions))[None]
        measure = face.timed(lambda: model(input_ids=ids, use_cache=True, logits_to_keep=1))
        return face.Prepared(torch.__version__, measure)
    return face.Prepared(torch.__version__, decoding(options, model))


def decoding(options, model):
    """Greedy steps after a fixed context; the cache is cut back after each repetition."""
    import torch

    import models

    ids = torch.from_numpy(models.ids(options.context))[None]
    output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    cache, first = output.past_key_values, output.logits[:, -1].argmax(-1, keepdim=True)

    def steps() -> None:
        token = first
        for _ in range(options.tokens):
            logits = model(input_ids=token, past_key_values=cache, use_cache=True).logits
            token = logits[:, -1].argmax(-1, keepdim=True)

    measure = face.timed_tokens(steps, options.tokens)

    def repetition() -> dict:
        figures = measure()
        cache.crop(-options.tokens)
        return figures

    return repetition


if __name__ == "__main__":
    face.serve("torch", face.parser(__doc__).parse_args(), prepare)
