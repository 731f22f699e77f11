#!/usr/bin/env python3
"""Answers about many images with Ray Data: actors that each hold a model.

  pip install fastvlm-*.whl -r requirements-ray.txt
  python ray_captions.py photos.parquet captions "Describe the image." --model apple/FastVLM-0.5B --precision int8

photos.parquet, a file or a folder of them, has the columns `id` and `image`: paths that every machine can read, or the
bytes of files. With --images it is a folder of images, whose paths become the ids. captions becomes a folder of Parquet
files with `id`, `answer` and `error`, one of the two in every row.

An actor that dies is started again and its rows are answered again. With --checkpoint a job that was ended itself goes on
when it is started again. On a cluster: RAY_ADDRESS=… or `ray job submit`; the package must be installed on all machines.
"""

import argparse
import os
import sys

import fastvlm
import pyarrow
import ray
import ray.data
from ray.data.checkpoint import CheckpointConfig

ENDINGS = ["jpg", "jpeg", "png", "webp", "ppm"]


class Answerer:
    """An actor's work. The model is loaded where it answers, once."""

    def __init__(self, path, precision, threads, question, max_tokens):
        # Nobody waits for the next word of an answer, so answers may wait for images and go on together.
        self.model = fastvlm.Model(path, precision=precision, threads=threads, prefers_throughput=True)
        self.question = question
        self.max_tokens = max_tokens

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        # No bytes are no image, and become an error; None would be a question about nothing.
        images = [image or b"" for image in batch["image"].to_pylist()]
        answers = self.model.answer_batch(self.question, images, on_error="return", max_tokens=self.max_tokens)
        errors = [f"{each.code}: {each}" if isinstance(each, fastvlm.FastVLMError) else None for each in answers]
        texts = [None if error else each.text for each, error in zip(answers, errors)]
        return pyarrow.table({
            "id": batch["id"], "answer": pyarrow.array(texts, pyarrow.string()),
            "error": pyarrow.array(errors, pyarrow.string()),
        })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("question")
    parser.add_argument("--images", action="store_true", help="the input is a folder of images")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--precision")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2, help="models")
    parser.add_argument("--threads", type=int, default=1, help="of each model: CPUs that Ray counts for it")
    parser.add_argument("--rows", type=int, default=256, help="of a task, what is lost when an actor dies, and of a file")
    parser.add_argument("--checkpoint", help="a folder, which all machines see, for going on with this job later")
    options = parser.parse_args()
    if not options.checkpoint and os.path.isdir(options.output) and os.listdir(options.output):
        sys.exit(f"{options.output} has files already; name a new folder")

    # Reading needs a CPU, and so does leaving out what a checkpoint has. Without one they wait for the actors, for ever.
    spare = 2 if options.checkpoint else 1
    taken = options.workers * options.threads
    if os.environ.get("RAY_ADDRESS"):
        ray.init()
        there = ray.cluster_resources().get("CPU", 0)
        if there < taken + spare:
            sys.exit(f"{options.workers} workers with {options.threads} threads and {spare} CPUs for reading are more than "
                     f"the {there:.0f} CPUs of the cluster")  # fmt: skip
    else:
        ray.init(num_cpus=taken + spare, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    if options.checkpoint:
        context.checkpoint_config = CheckpointConfig("id", options.checkpoint)

    if options.images:
        rows = ray.data.read_binary_files(options.input, include_paths=True, file_extensions=ENDINGS)
        rows = rows.rename_columns({"path": "id", "bytes": "image"})
    else:
        rows = ray.data.read_parquet(options.input, columns=["id", "image"])
    # A row group of Parquet would be one task, and a small table all the work of one actor.
    rows = rows.repartition(target_num_rows_per_block=options.rows)
    answers = rows.map_batches(
        Answerer,
        fn_constructor_args=(
            options.model, options.precision, options.threads, options.question, options.max_tokens),
        batch_format="pyarrow", batch_size=options.rows, num_cpus=options.threads,
        compute=ray.data.ActorPoolStrategy(size=options.workers),
    )  # fmt: skip
    answers.write_parquet(options.output, mode=ray.data.SaveMode.APPEND)
    print(answers.stats())


if __name__ == "__main__":
    main()
