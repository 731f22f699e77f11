"""What the evaluation promises, with a stand-in for the runtime."""

import json
import subprocess
import sys

from conftest import ROOT


def test_answers_are_scored_exactly_kept_and_gone_on_with(tmp_path):
    suite = tmp_path / "suite"
    command = [
        sys.executable,
        "-m",
        "synth.suite",
        "--out",
        str(suite),
        "--items",
        "6",
        "--tasks",
        "reading",
        "naming",
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    right = json.loads((suite / "reading.jsonl").read_text().splitlines()[0])["answer"]
    runtime = tmp_path / "fastvlm"
    runtime.write_text(f"#!/bin/sh\necho '{json.dumps({'text': right})}'\necho x >> {tmp_path}/calls\n")
    runtime.chmod(0o755)
    asked = [sys.executable, "evaluate.py", "--suite", str(suite), "--out", str(tmp_path / "out")]
    for _ in range(2):
        done = subprocess.run(
            [*asked, "--fastvlm", str(runtime)], cwd=ROOT, check=True, capture_output=True, text=True
        )
    assert len((tmp_path / "calls").read_text().splitlines()) == 12  # the second run asked nothing again
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())["scores"]["bfloat16"]
    assert abs(scores["reading"]["exact"] - 100 / 6) < 1e-6 and scores["reading"]["characters"] > 0
    assert scores["naming"]["exact"] == 0 and "| reading | 6 |" in done.stdout
    assert (tmp_path / "out" / "failures-bfloat16.png").exists()


def test_the_character_error_is_the_edit_distance():
    sys.path.insert(0, str(ROOT))
    from evaluate import distance

    assert [distance(*p) for p in (("", "abc"), ("kitten", "sitting"), ("same", "same"))] == [3, 3, 0]
