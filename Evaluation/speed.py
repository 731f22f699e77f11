"""How many questions of benchmarks a model answers in an hour here, through the harness's own model but without lmms-eval.

    .venv-evaluate/bin/python Evaluation/speed.py downloads/fastvlm-0.5b-random --precision int8

processorSeconds is the work of all cores for a question, which other load on the machine changes little.

Questions with four options about JPEG files of 640 × 480 pixels, eight worked on at once, with answers of 2 tokens (a letter
and the end), and of 16; each about another image, then each about the same few. Random weights take the time of trained ones;
their answers are cut off at these lengths.
"""

import argparse
import io
import json
import time

import numpy
from PIL import Image

from fastvlm.harness._adapter import Adapter
from fastvlm.harness._requests import Job

QUESTION = (
    "What is the person in the picture most likely doing with the object in front of the building?\nA. Carrying it to the car\n"
    "B. Repairing it\nC. Taking a photograph of it\nD. Waiting for somebody\n"
    "Answer with the option's letter from the given choices directly.")


def pictures(number: int, generator: numpy.random.Generator) -> list[bytes]:
    """JPEG files of clouds of colour, as large as photographs are in bytes."""
    found = []
    for _ in range(number):
        small = Image.fromarray(generator.integers(0, 256, (60, 80, 3), numpy.uint8))
        file = io.BytesIO()
        small.resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def measure(adapter: Adapter, files: list[bytes], number: int, tokens: int) -> dict[str, float]:
    def prepare(index: int) -> Job:
        # As the harness: opened and decoded when its turn comes.
        image = Image.open(io.BytesIO(files[index % len(files)])).convert("RGB")
        return Job("speed", index, f"{index}: {QUESTION}", [image], {"max_tokens": tokens, "temperature": 0.0})

    adapter.engine.forget()
    start, worked = time.monotonic(), time.process_time()
    adapter.generate(list(range(number)), prepare)
    seconds, worked = time.monotonic() - start, time.process_time() - worked
    return {
        "questions": number, "images": min(number, len(files)), "tokens": tokens, "perHour": round(3600 * number / seconds),
        "processorSeconds": round(worked / number, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--questions", type=int, default=24)
    options = parser.parse_args()
    adapter = Adapter(options.model, precision=options.precision, threads=options.threads, progress=False)
    info = adapter.engine.info
    files = pictures(options.questions, numpy.random.default_rng(27))
    # The first request finds nothing warm.
    measure(adapter, files[:2], 2, 2)
    rows = [
        measure(adapter, files, options.questions, 2), measure(adapter, files, options.questions, 16),
        measure(adapter, files[:2], 2 * options.questions, 2)]
    print(json.dumps({
        "model": options.model, "precision": info.precision, "threads": info.threads, "instructionSet": info.instruction_set,
        "imageSize": info.image_size, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
