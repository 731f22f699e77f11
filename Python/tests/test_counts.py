"""The independent counts of `make evaluate-check`, held against examples that the benchmarks' own programs gave."""

import importlib.util

import pytest
from conftest import REPOSITORY

_found = importlib.util.spec_from_file_location("counts", REPOSITORY / "Evaluation/check/counts.py")
counts = importlib.util.module_from_spec(_found)
_found.loader.exec_module(counts)

FRUIT = ["red apple", "green pear", "blue plum", "grey fig"]


@pytest.mark.parametrize(("answer", "letter"), [
    ("B", "B"), ("B.", "B"), ("(C)", "C"), ("The answer is (A) or (D)", "D"), ("A or B", "B"),
    ("I think it is B because A is wrong", "A"), ("D. grey fig", "D"), ("BD", "D"), ("The ABC store B ", "B"),
    ("The fruit shown in this picture is a green pear", "B"), ("green pear", None), ("a.", None), ("not sure", None), ("", None),
])
def test_letters_of_mmmu(answer, letter):
    assert counts.mmmu_letter(answer, FRUIT) == letter


@pytest.mark.parametrize(("gold", "answer", "is_right"), [
    ("24/7", "24/7", True), ("8.5", "The answer is 8.50", True), ("Paris", "The capital is Paris", True),
    ("3.14", "3.14159", True), ("12345", "12,345", True), ("1234.5", "The result is $1,234.50.", False),
    ("5000", "5e3", True), ("3", "It is about 24/7 = 3", True), ("24", "It is about 24/7 = 3", False),
    ("7", "banana", False), ("e", "e", True), ("e", "seven", False), ("two", "There are two of them", True),
])
def test_open_answers_of_mmmu(gold, answer, is_right):
    assert counts.mmmu_open(gold, answer) == is_right


@pytest.mark.parametrize(("text", "words"), [
    ("Yes.", "yes"), ("$1,000.50", "$1000.50"), ("Dr. Pepper", "dr pepper"), ("two", "2"), ("none", "0"),
    ("A red-ball", "red ball"), ("u.s.a", "usa"), ("U.S.A.", "usa"), ("3.5", "3.5"), ("no.1", "no.1"), ("10:30 am", "10:30 am"),
    ("20%", "20%"), ("1/2", "1 2"), ("a/b", "b"), ("-5", "5"), ("t-shirt", "t shirt"), ("(left)", "left"), (" a", ""),
])
def test_words_of_vqa(text, words):
    assert counts.vqa_words(text) == words


def test_shares_of_vqa():
    document = {"answers": ["nokia"] * 3 + ["nokia 3310"] * 7}
    assert counts.vqa([document] * 2, ["Nokia.", "nokia phone"]) == pytest.approx(0.45)


def test_similarity():
    documents = [{"answers": ["Sanofi"]}, {"answers": ["2018"]}, {"answers": ["yes"]}, {"answers": ["ab"]}]
    answers = ["sanofi.", "2019", "no", "ac"]
    assert counts.docvqa_val(documents, answers)["anls"] == pytest.approx(0.527, abs=1e-3)
    assert counts.docvqa_val_v0_2_2(documents, answers)["anls_v0_2_2"] == 0.75
    assert counts.docvqa_val([{"answers": ["May 4", "4 May"]}], ["4 may"])["anls"] == 1
    assert counts.docvqa_val([{"answers": ["x"]}], [""])["anls"] == 0


@pytest.mark.parametrize(("gold", "answer", "is_right"), [
    ("0.57", "0.55", True), ("100", "105", True), ("100", "106", False), ("20%", "21%", True), ("20%", "20", False),
    ("0", "0", True), ("0", "0.0", False), ("1000", "1,000", False), ("Yes", "yes", True), ("Yes", "yes.", False),
    ("2014", "2015", True),
])
def test_relaxed_answers_of_charts(gold, answer, is_right):
    both = [{"answer": gold, "type": kind} for kind in ("human_test", "augmented_test")]
    assert counts.chartqa(both, [answer] * 2)["relaxed_overall"] == is_right


def test_letters():
    documents = [{"answer": "C", "data_type": "image"}] * 5
    assert counts.seedbench(documents, ["C", "c", "C. dog", "(C)", "The answer is C"])["seed_image"] == pytest.approx(0.6)
    diagrams = [{"answer": "2"}] * 7
    answers = ["C", "c", "C.", "C. leaf", "(C)", "The answer is C", "leaf"]
    assert counts.ai2d(diagrams, answers)["exact_match"] == pytest.approx(5 / 7)
    science = [{"answer": 1, "choices": ["a", "b"]}] * 8
    answers = ["B", "B. because", "The answer is B.", "B.", "b", "(B)", "The answer is B", "I choose B"]
    assert counts.scienceqa_img_llava(science, answers)["scienceqa_llava_accuracy"] == pytest.approx(3 / 8)
    assert counts.scienceqa_img(science, answers)["exact_match"] == pytest.approx(4 / 8)


def test_pope():
    documents = [{"answer": answer, "category": "random"} for answer in ("yes", "yes", "no", "no")]
    answers = ["Yes", "No, there is no dog", "yes.", "Maybe"]
    today = counts.pope(documents, answers)
    assert (today["pope_accuracy"], today["pope_precision"], today["pope_recall"], today["pope_f1_score"]) == (0.25, 1, 1, 1)
    llava = counts.pope_llava(documents, answers)
    assert llava["pope_llava_f1"] == pytest.approx(0.4) and llava["pope_llava_accuracy"] == 0.25


def test_ocrbench():
    documents = [{"dataset": "IIIT5K", "answer": ["CHEERS"]}, {"dataset": "IIIT5K", "answer": ["12"]},
                 {"dataset": "HME100k", "answer": [r"\frac{1}{2}"]}, {"dataset": "HME100k", "answer": [r"\Delta x"]}]
    answers = ["The word is Cheers.", "The total is 1200", r"\frac {1}{2}", r"\Delta x"]
    assert counts.ocrbench(documents, answers)["ocrbench_accuracy"] == 0.004
    assert counts.ocrbench_v0_2_2(documents, answers)["ocrbench_v0_2_2"] == 0.003


def test_gqa():
    documents = [{"answer": "left"}] * 3
    assert counts.gqa(documents, ["Left.", "on the left", "left,"])["exact_match"] == pytest.approx(2 / 3)
    assert counts.gqa_llava(documents, ["Left.", "on the left", "left,"])["gqa_llava_accuracy"] == pytest.approx(1 / 3)


def test_losses():
    documents = [{"answer": "B"}, {"answer": "A"}]
    assert counts.seedbench_ppl(documents, [[2.0, 1.0, 3.0, 9.0], [2.0, 1.0, 3.0, 9.0]])["acc"] == 0.5


def test_every_task_is_counted():
    assert len(counts.COUNTS) == 15
