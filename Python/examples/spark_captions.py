#!/usr/bin/env python3
"""Answers about many images with Spark: one model in each of its Python workers.

  pip install fastvlm-*.whl -r requirements-spark.txt      # and Java 17 or later
  python spark_captions.py photos.parquet captions "Describe the image." --model apple/FastVLM-0.5B --precision int8
  spark-submit --conf spark.task.cpus=4 spark_captions.py … --threads 4          # on a cluster

photos.parquet, a file or a folder of them, has the columns `id` and `image`: paths that every machine can read, or the
bytes of files. With --images it is a folder of images that every machine sees; paths become the ids. captions becomes a folder of Parquet
files with `id`, `answer` and `error`, one of the two in every row.

Spark starts a worker that dies again and repeats its task; the files of a task appear when it is done. The job itself is
cut into --parts, folders of the output: started again, it goes on with those that are not done.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator

import fastvlm
import pandas
import pyspark
from pyspark.sql import SparkSession, functions

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".ppm"}


def answering(path, precision, threads, question, max_tokens):
    """-> what Spark calls in its workers, once for each task."""

    def answers(frames: Iterable[pandas.DataFrame]) -> Iterator[pandas.DataFrame]:
        # Workers are kept from task to task, and so is their model. Loaded by the driver it would be of no use: a
        # process does not pass a model on to those that it forks. Nobody waits for the next word of an answer, so answers
        # may wait for images and go on together.
        model = fastvlm.shared(path, precision=precision, threads=threads, prefers_throughput=True)
        for frame in frames:
            # No bytes are no image, and become an error; None would be a question about nothing.
            images = [image or b"" for image in frame["image"]]
            answered = model.answer_batch(question, images, on_error="return", max_tokens=max_tokens)
            errors = [f"{each.code}: {each}" if isinstance(each, fastvlm.FastVLMError) else None for each in answered]
            texts = [None if error else each.text for each, error in zip(answered, errors)]
            yield pandas.DataFrame({"id": frame["id"], "answer": texts, "error": errors})

    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("question")
    parser.add_argument("--images", action="store_true", help="the input is a folder of images")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--precision")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2, help="models, where no cluster is given")
    parser.add_argument("--threads", type=int, default=1, help="of each model; on a cluster also spark.task.cpus")
    parser.add_argument("--batch-size", type=int, default=32, help="rows that a worker gets at once")
    parser.add_argument("--tasks", type=int, help="of each part, what is lost when a worker dies; 4 for each worker")
    parser.add_argument("--parts", type=int, default=1, help="jobs, one after the other")
    options = parser.parse_args()

    builder = SparkSession.builder.appName("captions")
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        # Started without spark-submit: on this machine. Without the second number a task is never repeated.
        builder = builder.master(f"local[{options.workers},4]")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # The default, 10,000, is too many images to be in memory at once.
    spark = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", options.batch_size).getOrCreate()

    if options.images:
        # Paths, that workers read themselves. Spark's own source of files, binaryFile, says nothing of empty ones.
        found = (path for path in pathlib.Path(options.input).absolute().rglob("*") if path.suffix.lower() in ENDINGS)
        rows = spark.createDataFrame([(str(path), str(path)) for path in found], "id string, image string")
    else:
        rows = spark.read.parquet(options.input).select("id", "image")
    work = answering(options.model, options.precision, options.threads, options.question, options.max_tokens)
    schema = pyspark.sql.types.StructType([rows.schema["id"]]).add("answer", "string").add("error", "string")
    tasks = options.tasks or 4 * options.workers
    for part in range(options.parts):
        # The same rows whenever it is started, whatever else the input has.
        chosen = rows.where(functions.pmod(functions.xxhash64("id"), functions.lit(options.parts)) == part)
        folder = os.path.join(options.output, f"part={part}-of-{options.parts}")
        if is_done(spark, folder):
            continue
        # Small files would be few tasks, and one of them all the work.
        answers = chosen.repartition(tasks, "id").mapInPandas(work, schema)
        answers.write.mode("overwrite").parquet(folder)
    spark.stop()


def is_done(spark: SparkSession, folder: str) -> bool:
    """Whether Spark has said so, wherever the folder is."""
    path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(folder, "_SUCCESS")
    return path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).exists(path)


if __name__ == "__main__":
    main()
