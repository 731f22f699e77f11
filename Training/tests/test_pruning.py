"""What the comparison of smaller images with pruned tokens promises, with a stand-in for the runtime."""

import json
import subprocess
import sys

from conftest import ROOT

STAND_IN = '''#!{python}
import json, sys
arguments = sys.argv[1:]
questions, out = arguments[1], arguments[arguments.index("-o") + 1]
with open("{folder}/calls", "a") as calls:
    calls.write(" ".join(arguments) + chr(10))
side = int(arguments[arguments.index("--resolution") + 1])
tokens = (side // 64) ** 2
if "--prune" in arguments:
    tokens = {tokens} or int(arguments[arguments.index("--prune") + 1].split(":")[1])
answers = json.load(open("{folder}/answers.json"))
with open(out, "w") as file:
    for line in map(json.loads, open(questions)):
        said = answers[line["id"]] if tokens == 64 else "no"
        timings = {{"encode": side / 1e4, "project": 0.001, "prefill": tokens / 1e3}}
        usage = {{"prompt_tokens_details": {{"image_tokens": tokens}}}}
        file.write(json.dumps({{"id": line["id"], "text": said, "timings": timings, "usage": usage}}) + chr(10))
'''


def prepare(tmp_path, tokens=0):
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "sha256").write_text("0\n")
    answers = {}
    for task in ("naming", "reading"):
        lines = [
            {"question_id": n, "image": f"{task}-{n}.png", "text": "What?", "category": task, "answer": f"{task} {n}"}
            for n in range(4)
        ]
        (suite / f"{task}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        answers |= {f"{task}/{line['question_id']}": line["answer"] for line in lines}
    answers["reading/0"] = "something else"
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    runtime = tmp_path / "fastvlm"
    runtime.write_text(STAND_IN.format(python=sys.executable, folder=tmp_path, tokens=tokens))
    runtime.chmod(0o755)
    return [
        sys.executable, "pruning.py", "--suite", str(suite), "--model", str(suite), "--fastvlm", str(runtime),
        "--out", str(tmp_path / "out"), "--rounds", "2", "--timed", "3",
    ]  # fmt: skip


def test_every_way_is_scored_and_timed(tmp_path):
    done = subprocess.run(prepare(tmp_path), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert found["scores"]["512²"]["naming"]["exact"] == 100
    assert found["scores"]["512²"]["reading"]["exact"] == 75
    assert found["scores"]["512², merge:36"]["naming"]["exact"] == 0
    assert found["seconds"]["256²"] == {"encode": 0.0256, "project": 0.001, "prefill": 0.016}
    assert "| 512² | 64 | 100.0 | 75.0 | 87.5 | 51.20 ms | 1.00 ms | 64.00 ms |" in done.stdout
    calls = (tmp_path / "calls").read_text().splitlines()
    # Nine ways with all questions, and two rounds of nine with some.
    assert len(calls) == 27 and sum("--resume" in call for call in calls) == 9


def test_another_number_of_tokens_than_asked_for_is_an_error(tmp_path):
    done = subprocess.run(prepare(tmp_path, tokens=7), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "another number of visual tokens" in done.stderr


def test_answers_of_another_suite_are_not_mixed(tmp_path):
    command = prepare(tmp_path)
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    (tmp_path / "suite" / "sha256").write_text("1\n")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "another suite" in done.stderr
