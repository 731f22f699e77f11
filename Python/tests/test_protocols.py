"""Prompts and scores of the paper's harnesses, held against what those programs gave for the same answers; the table beside
the paper's figures."""

import importlib.util
import json
import os
import pathlib

import pytest

from fastvlm.harness import TASKS_FOLDER, __main__, _table, use_data

_found = importlib.util.spec_from_file_location("protocols", TASKS_FOLDER / "protocols.py")
protocols = importlib.util.module_from_spec(_found)
_found.loader.exec_module(protocols)


def test_pope_of_llava():
    # Labels yes, yes, no, no: what LLaVA's script reads is yes, no, yes, yes.
    texts = ["Yes", "No, there is no dog", "yes.", "Maybe"]
    assert [protocols.pope_says_yes(text) for text in texts] == [True, False, True, True]
    documents = [{"category": "random", "answer": answer} for answer in ("yes", "yes", "no", "no")]
    entries = [protocols.pope_process(each, [text])["pope_llava_f1"] for each, text in zip(documents, texts)]
    assert protocols.pope_f1(entries) == pytest.approx(0.4)
    assert protocols.pope_accuracy(entries) == 0.25
    assert protocols.pope_f1([{**entry, "says": False} for entry in entries]) == 0
    # The mean of categories, not of all questions.
    other = [{"category": "popular", "says": True, "is": True}]
    assert protocols.pope_f1(entries + other) == pytest.approx(0.7)
    assert not protocols.pope_says_yes("It is not there. Yes")
    assert protocols.pope_says_yes("Nobody")


def test_scienceqa_of_llava():
    letter = protocols.scienceqa_letter
    assert [letter(text) for text in ("B", "B. because", "The answer is B.")] == ["B"] * 3
    assert [letter(text) for text in ("B.", "b", "(B)", "The answer is B", "I choose B", "", "F")] == [None] * 7
    assert letter("The answer is A. The answer is B.") is None
    document = {"choices": ["one", "two"], "answer": 1, "hint": "", "question": "Which?"}
    assert protocols.scienceqa_text(document) == (
        "Which?\nA. one\nB. two\nAnswer with the option's letter from the given choices directly.")
    assert protocols.scienceqa_text({**document, "hint": "Look."}).startswith("Context: Look.\nWhich?\n")
    assert protocols.scienceqa_process(document, [" B "]) == {"scienceqa_llava_accuracy": 1.0}
    # A letter beyond the choices.
    assert protocols.scienceqa_process({**document, "answer": 1}, ["C"]) == {"scienceqa_llava_accuracy": 0.0}


def test_textvqa_of_llava():
    text = protocols.textvqa_text({"question": "What does IBM say?", "ocr_tokens": ["IBM", "Inc"]})
    assert text == (
        "What does IBM say?\nReference OCR token: IBM, Inc\nAnswer the question using a single word or phrase.")
    answers = ["nokia"] * 3 + ["nokia 3310"] * 7
    assert protocols.vqa_accuracy("nokia", answers) == pytest.approx(0.9)
    assert protocols.vqa_accuracy("nokia phone", answers) == 0
    assert [protocols.vqa_accuracy("a", ["a"] * n + ["b"] * (10 - n)) for n in (0, 1, 2, 4, 10)] == pytest.approx(
        [0, 0.3, 0.6, 1, 1])


def test_gqa_of_llava():
    document = {"answer": "left"}
    right = {"gqa_llava_accuracy": 1.0}
    assert protocols.gqa_process(document, ["Left."]) == right
    assert protocols.gqa_process(document, ["left,"]) != right and protocols.gqa_process(document, ["on the left"]) != right


def test_docvqa_of_lmms_eval_0_2_2():
    examples = [
        (["Sanofi"], "sanofi", 1.0), (["Sanofi"], "sanofi.", 1 - 1 / 7), (["2018"], "2019", 0.75), (["yes"], "no", 0.0),
        (["ab"], "ac", 0.5), (["May 4", "4 May"], "4 may", 1.0), (["x"], "", 0.0)]
    for golds, answer, value in examples:
        found = protocols.docvqa_process({"answers": golds}, [answer])
        assert found["anls"] == pytest.approx(value)
        assert found["anls_v0_2_2"] == (1.0 if value >= 0.5 else 0.0)


def test_ocrbench_of_lmms_eval_0_2_2():
    def score(dataset, gold, answer):
        return protocols.ocrbench_process({"dataset": dataset, "answer": [gold]}, [answer])["ocrbench_v0_2_2"]

    assert score("IIIT5K", "CHEERS", "The word is Cheers.") == 1
    assert score("IIIT5K", "12", "The total is 1200") == 1
    assert score("HME100k", r"\frac{1}{2}", r"\frac {1}{2}") == 1
    assert score("HME100k", r"\Delta x", r"\Delta x") == 0
    assert protocols.of_a_thousand([1.0, 0.0, 1.0]) == 0.002


def test_figures_have_sources():
    rows = _table.paper()
    assert len(rows) == 10
    for row in rows:
        assert row["harness"] in ("lmms-eval 0.2.2", "LLaVA-1.5's scripts") and row["questions"] > 500
        for figure in row["figures"]:
            assert 20 < figure["value"] < 100
            assert figure["source"].startswith(("arXiv:2412.13303v2, table", "model card of apple/FastVLM-"))
            assert figure["training"] in _table.TRAININGS
        for protocol in ("paper", "today"):
            task = row[protocol]["task"]
            file = TASKS_FOLDER / f"{task}.yaml"
            assert not file.exists() or f"metric: {row[protocol]['metric']}" in file.read_text()
    # Every task of ours is the protocol of a benchmark.
    assert {row["paper"]["task"] for row in rows} >= {path.stem for path in TASKS_FOLDER.glob("*.yaml")}


def test_names_of_tasks():
    assert _table.task_names(["pope", "paper", "pope_llava"])[:2] == ["pope", "seedbench"]
    assert len(_table.task_names(["paper"])) == len(_table.task_names(["today"])) == 10
    # SEED-Bench, ChartQA and AI2D have not changed.
    assert len(_table.task_names(["paper", "today"])) == 17


def result(**changes):
    return {
        "format": _table.FORMAT, "requests": "simple", "harness": {"name": "lmms-eval", "version": "0.7.3"},
        "model": {"name": "/models/FastVLM-1.5B", "precision": "int8", "imageSize": 1024, "sha256": "ab" * 32},
        "tasks": {"pope": {"metrics": {"pope_f1_score": 0.86, "pope_accuracy": 0.85}, "questions": 9000},
                  "pope_llava": {"metrics": {"pope_llava_f1": 0.879}, "questions": 9000}}, **changes}


def test_table():
    text = _table.table(result())
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["benchmark", "task", "this"]
    assert lines[1].split()[:6] == ["POPE", "pope_llava", "87.9", "87.8", "87.8", "–"]
    assert lines[2].split()[:3] == ["POPE", "pope", "86.0"] and lines[2].endswith("scripts: pope_llava")
    assert "pope_accuracy  85.0" in text and "FastVLM-1.5B, int8, 1024 pixels, checkpoint abababababab" in text
    assert "not comparable" not in text
    limited = result()
    limited["tasks"]["pope"] |= {"limit": 9, "failed": 2, "cutOff": 1, "questions": 9}
    text = _table.table(limited, "7B")
    assert "not comparable: 9 of pope" in text and "wrong answers: 2 of pope" in text and "tokens: 1 of pope" in text
    assert "87.2" in text and "FastVLM-7B" in text


def test_sizes_of_names():
    sizes = [_table.checkpoint_size(name) for name in (
        "apple/FastVLM-0.5B", "fastvlm_0.5b_stage3", "FastVLM-7B-int4", "x-1.5b", "embedded", "10.5B", "17B", "5b")]
    assert sizes == ["0.5B", "0.5B", "7B", "1.5B", None, None, None, None]


def test_result_files(tmp_path, capsys):
    path = tmp_path / "result.json"
    for text, message in (("{", "no result file"), ("[]", "no result file"), ('{"format": "other"}', "fastvlm-evaluation/1")):
        path.write_text(text)
        assert __main__.main(["table", str(path)]) == 64
        assert message in capsys.readouterr().err
    assert __main__.main(["table", str(tmp_path / "none.json")]) == 64
    assert "No such file" in capsys.readouterr().err
    path.write_text(json.dumps(result()))
    assert __main__.main(["table", str(path), "--size", "7B"]) == 0
    assert "87.2" in capsys.readouterr().out


def test_results_can_be_written_before_anything_is_asked(tmp_path):
    assert __main__._unwritable(tmp_path / "result.json") is None
    assert "is a folder" in __main__._unwritable(tmp_path)
    assert "no folder" in __main__._unwritable(tmp_path / "none/result.json")


def test_data_of_a_folder_is_not_that_of_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HF_DATASETS_CACHE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "")
    folders = [tmp_path / "one", tmp_path / "other"]
    caches = []
    for folder in folders:
        folder.mkdir()
        use_data(folder)
        caches.append(os.environ["HF_DATASETS_CACHE"])
        assert pathlib.Path.cwd() == folder and os.environ["HF_HUB_OFFLINE"] == "1"
    assert caches == [str(folder / ".datasets-cache") for folder in folders]


def test_command_line(capsys, monkeypatch):
    assert __main__.main(["tasks"]) == 0
    shown = capsys.readouterr().out
    assert "pope_llava" in shown and str(TASKS_FOLDER) in shown
    if importlib.util.find_spec("lmms_eval") is None:
        assert __main__.main(["run", "embedded", "--tasks", "pope"]) == 70
        assert "python -m fastvlm.harness install" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", open("/dev/null"))
    monkeypatch.setattr("subprocess.call", lambda step: pytest.fail("installed without being asked to"))
    assert __main__.main(["install"]) == 64
    shown = capsys.readouterr()
    assert "requirements.txt" in shown.out and "uninstall --yes torchvision" in shown.out and "--yes" in shown.err
