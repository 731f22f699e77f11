#!/usr/bin/env python3
"""Time to first token of transformers on a FastVLM checkpoint folder in the Hugging Face layout, on the CPU.

image file -> decode and preprocess -> vision tower and projector -> prefill of the prompt -> argmax of the
last position. One JSON object on one line of stdout; times in seconds, medians over --repeats after --warm-up
runs.
`processStartToFirstToken` includes imports and loading, and is the first answer of the process.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path


def since_process_start() -> float:
    """Seconds since the kernel started this process (Linux)."""
    fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--side", type=int, help="image side, a multiple of 64 (default: the processor's)")
    parser.add_argument("--prompt-tokens", type=int, default=286, help="length with the visual tokens")
    parser.add_argument("--question", default="What are these?")
    parser.add_argument(
        "--channels-last", action="store_true", help="vision tower and pixels in channels_last"
    )
    parser.add_argument("--decode-tokens", type=int, default=0, help="also time this many further tokens")
    return parser.parse_args()


def load(options):
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, FastVlmForConditionalGeneration

    torch.set_num_threads(options.threads)
    model = FastVlmForConditionalGeneration.from_pretrained(
        options.checkpoint, dtype=getattr(torch, options.dtype)
    ).eval()
    if options.channels_last:
        model.model.vision_tower.to(memory_format=torch.channels_last)
    processor = AutoImageProcessor.from_pretrained(options.checkpoint)
    if options.side:
        processor.size = {"shortest_edge": options.side}
        processor.crop_size = {"height": options.side, "width": options.side}
    return model, processor, AutoTokenizer.from_pretrained(options.checkpoint)


def prompt_ids(options, model, tokenizer, visual: int):
    """Chat template ids around `visual` image ids, padded within the user's turn to --prompt-tokens."""
    content = [{"type": "image"}, {"type": "text", "text": options.question}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    before, after = [tokenizer(part, add_special_tokens=False).input_ids for part in text.split("<image>")]
    closing = tokenizer("<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False).input_ids
    filler = tokenizer(" please", add_special_tokens=False).input_ids[-1:]
    missing = max(0, options.prompt_tokens - len(before) - visual - len(after))
    after = after[: -len(closing)] + filler * missing + closing
    return before + [model.config.image_token_id] * visual + after


def answer(options, model, processor, tokenizer):
    """One run: stages in seconds, the first token's id, the number of prompt tokens."""
    import torch
    from PIL import Image

    start = time.perf_counter()
    image = Image.open(options.image).convert("RGB")
    pixels = processor(images=image, return_tensors="pt")["pixel_values"].to(model.dtype)
    if options.channels_last:
        pixels = pixels.to(memory_format=torch.channels_last)
    prepared = time.perf_counter()
    visual = model.get_image_features(pixels, return_dict=True)
    encoded = time.perf_counter()
    ids = prompt_ids(options, model, tokenizer, visual.pooler_output.shape[1])
    output = model(
        input_ids=torch.tensor([ids]), mm_encoder_outputs={"image": visual}, use_cache=True, logits_to_keep=1
    )
    token = int(output.logits[0, -1].argmax())
    first = time.perf_counter()
    stages = {
        "preprocess": prepared - start,
        "encode": encoded - prepared,
        "prefill": first - encoded,
        "timeToFirstToken": first - start,
    }
    age = since_process_start()
    if options.decode_tokens:
        stages["perToken"] = decode(options, model, output.past_key_values, token)
    return stages, token, len(ids), age


def decode(options, model, cache, token: int) -> float:
    import torch

    start = time.perf_counter()
    for _ in range(options.decode_tokens):
        output = model(input_ids=torch.tensor([[token]]), past_key_values=cache, use_cache=True)
        token = int(output.logits[0, -1].argmax())
    return (time.perf_counter() - start) / options.decode_tokens


def main() -> None:
    options = arguments()
    model, processor, tokenizer = load(options)
    import torch
    import transformers

    loaded = since_process_start()
    runs = []
    with torch.inference_mode():
        first, token, count, until_first = answer(options, model, processor, tokenizer)
        for index in range(options.warm_up - 1 + options.repeats):
            stages, *_ = answer(options, model, processor, tokenizer)
            if index >= options.warm_up - 1:
                runs.append(stages)
    runs = runs or [first]
    result = {
        "peer": "transformers",
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        "checkpoint": options.checkpoint.name,
        "dtype": options.dtype,
        "threads": options.threads,
        "channelsLast": options.channels_last,
        "promptTokens": count,
        "firstToken": token,
        "repeats": len(runs),
        "median": {key: round(statistics.median(run[key] for run in runs), 4) for key in runs[0]},
        "smallest": {key: round(min(run[key] for run in runs), 4) for key in runs[0]},
        "largest": {key: round(max(run[key] for run in runs), 4) for key in runs[0]},
        "processStartToLoaded": round(loaded, 3),
        "processStartToFirstToken": round(until_first, 3),
        "peakResidentBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
