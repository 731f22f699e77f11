"""What the evaluation promises, with a stand-in for the runtime."""

import json
import math
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


def test_answers_of_another_model_are_not_mixed_and_a_line_that_was_cut_is_asked_again(tmp_path):
    suite, model, out = (tmp_path / name for name in ("suite", "model", "out"))
    for folder in (suite, model):
        folder.mkdir()
    items = [{"question_id": i, "image": f"{i}.png", "text": "?", "category": "naming", "answer": "A."} for i in range(3)]
    (suite / "naming.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (suite / "sha256").write_text("12\n")
    (model / "config.json").write_text("{}")
    runtime = tmp_path / "fastvlm"
    runtime.write_text(f"#!/bin/sh\necho '{json.dumps({'text': 'A.'})}'\necho x >> {tmp_path}/calls\n")
    runtime.chmod(0o755)
    command = [sys.executable, "evaluate.py", "--suite", suite, "--out", out, "--model", model, "--fastvlm", runtime]

    def ran():
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert ran().returncode == 0
    answers = out / "bfloat16.jsonl"
    answers.write_text(answers.read_text()[:-20])
    (model / "README.md").write_text("what it is")
    assert ran().returncode == 0 and len((tmp_path / "calls").read_text().splitlines()) == 4
    assert len([json.loads(line) for line in answers.read_text().splitlines()]) == 3
    (model / "config.json").write_text("{ }")
    (suite / "sha256").write_text("13\n")
    refused = ran()
    assert refused.returncode == 1 and "another suite and another model" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_character_error_is_the_edit_distance():
    sys.path.insert(0, str(ROOT))
    from evaluate import distance

    assert [distance(*p) for p in (("", "abc"), ("kitten", "sitting"), ("same", "same"))] == [3, 3, 0]


def test_precisions_are_compared_by_their_first_token_with_float32():
    sys.path.insert(0, str(ROOT))
    from evaluate import agreements, divergence

    half = math.log(0.5)
    sure = {"1": math.log(0.9), "2": math.log(0.1)}
    assert divergence(sure, sure) == 0
    assert math.isclose(divergence({"1": half, "2": half}, sure), 0.5 * math.log(0.25 / 0.09), rel_tol=1e-6)
    assert divergence(sure, {"3": math.log(0.999)}) == 0  # nothing in common: a lower bound, not a guess
    answers = {
        "float32": {"task": [{"said": "A.", "first": sure}, {"said": "B.", "first": sure}]},
        "int8": {"task": [{"said": "A.", "first": sure}, {"said": "C.", "first": {"2": half, "1": half}}]},
        "float32 at 512": {"task": [{"said": "A."}]},
        "int8 at 512": {"task": [{"said": "A."}]},  # kept from before first tokens were: not compared
    }
    found = agreements(answers)
    assert list(found) == ["int8"] and found["int8"]["first"] == found["int8"]["answer"] == 50
    assert found["int8"]["divergence"] > 0
