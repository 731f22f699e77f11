"""Two workers on one machine, one of which is killed in the middle: nothing is lost, nothing is there twice, and every
answer is that of a plain process."""

import collections
import glob
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet
import pytest
from conftest import BROKEN, COUNT, EXAMPLES, MAX_TOKENS, QUESTION
from processes import descendants, run

LIBRARY = "libfastvlm.so"


def check(rows: list[tuple[str, str | None, str | None]], expected: dict[str, str | None]) -> None:
    counts = collections.Counter(name for name, _, _ in rows)
    assert [name for name, count in counts.items() if count > 1] == []
    assert set(expected) - set(counts) == set()
    assert {name: answer for name, answer, _ in rows} == expected
    assert all((answer is None) != (error is None) for _, answer, error in rows)
    assert sum(error is not None for _, _, error in rows) == len(BROKEN)


def parquet_rows(folder) -> list[tuple[str, str | None, str | None]]:
    files = glob.glob(f"{folder}/**/*.parquet", recursive=True)
    tables = [pyarrow.parquet.ParquetFile(file).read(["id", "answer", "error"]) for file in files]
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


def json_rows(paths) -> list[tuple[str, str | None, str | None]]:
    records = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return [(each["id"], each.get("text"), each.get("error") and each["error"]["code"]) for each in records]


def lines(path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("form", ["table", "folder"])
def test_ray(folder, expected, tmp_path, report, form):
    output = tmp_path / "captions"
    source = [str(folder / "photos.parquet")] if form == "table" else [str(folder), "--images"]
    seconds, behind, watch = run(
        [sys.executable, str(EXAMPLES / "ray_captions.py"), source[0], str(output), QUESTION, *source[1:],
         "--workers", "2", "--rows", "16", "--max-tokens", str(MAX_TOKENS)],
        LIBRARY, lambda worked: worked > 1.5, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"})  # fmt: skip
    assert watch.killed in watch.workers and len(watch.workers) == 3, "no worker took the place of the killed one"
    rows = [(os.path.basename(name), answer, error) for name, answer, error in parquet_rows(output)]
    check(rows, expected)
    report(f"Ray, {form}: {COUNT} rows once each in {seconds:.1f} s; a worker was killed {behind:.1f} s before the end")


def test_ray_job_goes_on(folder, expected, tmp_path, report):
    """The whole job is killed, driver and all, and started again."""
    output, checkpoint = tmp_path / "captions", tmp_path / "checkpoint"
    command = [
        sys.executable, str(EXAMPLES / "ray_captions.py"), str(folder / "photos.parquet"), str(output), QUESTION,
        "--rows", "16", "--max-tokens", str(MAX_TOKENS), "--checkpoint", str(checkpoint)]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:
        deadline = time.monotonic() + 300
        while not parquet_files(output) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        for each in reversed(descendants(process.pid)):
            os.kill(each, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it was done before it was killed"
    there = len(parquet_files(output))
    subprocess.run(command, check=True, timeout=600, **quiet)
    check(parquet_rows(output), expected)
    report(f"Ray, the job killed: {there} files were there, {COUNT} rows once each at the end")


def parquet_files(folder) -> list[str]:
    return glob.glob(f"{folder}/**/*.parquet", recursive=True)


@pytest.mark.parametrize("form", ["table", "folder"])
def test_spark(folder, expected, tmp_path, report, form):
    output = tmp_path / "captions"
    source = [str(folder / "photos.parquet")] if form == "table" else [str(folder), "--images"]
    seconds, behind, watch = run(
        [sys.executable, str(EXAMPLES / "spark_captions.py"), source[0], str(output), QUESTION, *source[1:],
         "--workers", "2", "--batch-size", "16", "--max-tokens", str(MAX_TOKENS)],
        LIBRARY, lambda worked: worked > 1.5, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    assert watch.killed in watch.workers and len(watch.workers) >= 3, "no worker took the place of the killed one"
    rows = [(os.path.basename(name), answer, error) for name, answer, error in parquet_rows(output)]
    check(rows, expected)
    report(f"Spark, {form}: {COUNT} rows once each in {seconds:.1f} s; a worker was killed {behind:.1f} s before the end")


def test_spark_job_goes_on(folder, expected, tmp_path, report):
    output = tmp_path / "captions"
    command = [
        sys.executable, str(EXAMPLES / "spark_captions.py"), str(folder / "photos.parquet"), str(output), QUESTION,
        "--parts", "3", "--tasks", "2", "--max-tokens", str(MAX_TOKENS)]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    done = output / "part=0-of-3/_SUCCESS"
    with subprocess.Popen(command, **quiet) as process:
        deadline = time.monotonic() + 300
        while not done.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        for each in reversed(descendants(process.pid)):
            os.kill(each, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it was done before it was killed"
    stamp = done.stat().st_mtime_ns
    subprocess.run(command, check=True, timeout=600, **quiet)
    assert done.stat().st_mtime_ns == stamp, "a part that was done was answered again"
    check(parquet_rows(output), expected)
    report(f"Spark, the job killed behind its first part: {COUNT} rows once each at the end")


def test_shards(program, folder, expected, tmp_path, report):
    """Two processes at once. One is killed in the middle and started again by hand."""

    def shard(number):
        return [program, "batch", str(folder / "questions.jsonl"), "-o", str(tmp_path / f"{number}.jsonl"), "--shard",
                f"{number}/2", "--resume", "--threads", "1", "--quiet"]  # fmt: skip

    processes = [subprocess.Popen(shard(number), stderr=subprocess.DEVNULL) for number in (1, 2)]
    first = tmp_path / "1.jsonl"
    deadline = time.monotonic() + 120
    while lines(first) < 50 and processes[0].poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    processes[0].kill()
    # 1: the broken images.
    assert [process.wait(120) for process in processes] == [-signal.SIGKILL, 1]
    there = lines(first)
    assert 50 <= there < 150
    assert subprocess.run(shard(1), stderr=subprocess.DEVNULL, check=False).returncode == 1
    check(json_rows([first, tmp_path / "2.jsonl"]), expected)
    report(f"shards: killed with {there} of {lines(first)} records, {COUNT} rows once each at the end")


def test_parallel(program, folder, expected, tmp_path, report):
    """GNU parallel starts a shard again that is killed."""
    output = tmp_path / "answers"
    seconds, behind, watch = run(
        [str(EXAMPLES / "parallel_captions.sh"), "4", "2", str(folder / "questions.jsonl"), str(output), "--threads", "1"],
        os.path.basename(program), lambda worked: worked > 1.0, stderr=subprocess.DEVNULL,
        env={**os.environ, "FASTVLM": program})  # fmt: skip
    assert len(watch.workers) == 5
    check(json_rows(output.glob("*-of-4.jsonl")), expected)
    report(f"GNU parallel: {COUNT} rows once each in {seconds:.1f} s; a shard was killed {behind:.1f} s before the end")


def test_slurm_task(program, folder, expected, tmp_path):
    """What Slurm runs in each task of an array, without Slurm: killed tasks ask to be queued again."""
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@" >> "$ASKED"\nexit 1\n')
    (tmp_path / "scontrol").chmod(0o755)

    def task(number, **more):
        return subprocess.Popen(
            ["bash", str(EXAMPLES / "slurm_captions.sbatch"), "2", str(folder / "questions.jsonl"), str(tmp_path / "answers")],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "FASTVLM": program,
                 "SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_JOB_ID": "9", "ASKED": str(tmp_path / "asked"), **more},
            stderr=subprocess.DEVNULL)  # fmt: skip

    first = tmp_path / "answers/1-of-2.jsonl"
    for restarts, asked in (("0", "requeue 9_1\n"), ("3", "requeue 9_1\n")):
        before = lines(first)
        with task(1, SLURM_RESTART_COUNT=restarts) as process:
            deadline = time.monotonic() + 120
            while lines(first) < before + 30 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.001)
            os.kill(descendants(process.pid)[-1], signal.SIGKILL)
        assert process.returncode == 128 + signal.SIGKILL
        assert (tmp_path / "asked").read_text() == asked
    with task(1) as one, task(2) as two:
        pass
    assert (one.returncode, two.returncode) == (0, 0)
    check(json_rows((tmp_path / "answers").glob("*-of-2.jsonl")), expected)
