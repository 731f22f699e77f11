"""Scores of raw answers, counted without a line of the harness's metrics, from what the benchmarks say about themselves
(Evaluation/README.md). Each function takes documents and answers in the same order, and returns its task's metrics.
"""

import ast
import re
import statistics
import string
from collections.abc import Callable

LETTERS = "ABCDEFGH"


def share(flags) -> float:
    flags = list(flags)
    return sum(map(bool, flags)) / len(flags)


def bare(text: str) -> str:
    """In lower case and without punctuation."""
    return "".join(sign for sign in text.lower() if sign not in string.punctuation)


# Letters


def seedbench(documents, answers):
    right = [answer.strip()[:1].upper() == document["answer"] for document, answer in zip(documents, answers)]
    kinds = [document["data_type"] for document in documents]
    return {
        "seed_all": share(right),
        **{f"seed_{kind}": share(flag for flag, each in zip(right, kinds) if each == kind) for kind in set(kinds)}}


def ai2d(documents, answers):
    def letter(answer):
        found = re.match(r"\s*([A-Z])\.", answer)
        return found.group(1) if found else answer

    golds = [LETTERS[int(document["answer"])] for document in documents]
    return {"exact_match": share(bare(letter(answer)) == gold.lower() for gold, answer in zip(golds, answers))}


def scienceqa_img(documents, answers):
    def is_right(document, answer):
        gold, answer = LETTERS[document["answer"]], answer.strip()
        return answer.upper() == gold or answer.startswith(gold + ".")

    return {"exact_match": share(map(is_right, documents, answers))}


def scienceqa_img_llava(documents, answers):
    def is_right(document, answer):
        gold, answer = LETTERS[document["answer"]], answer.strip()
        said = re.findall("The answer is ([A-Z])(?=.)", answer)
        return answer == gold or answer.startswith(gold + ". ") or (answer[1:3] != ". " and said == [gold])

    return {"scienceqa_llava_accuracy": share(map(is_right, documents, answers))}


def mmmu_val(documents, answers, parsed):
    """`parsed` is what the harness took for the answers: where none of the letters can be found, it guesses."""
    right, guesses = [], 0
    for document, answer, taken in zip(documents, answers, parsed):
        if document["question_type"] == "open":
            right.append(mmmu_open(document["answer"], answer))
            continue
        letter = mmmu_letter(answer, ast.literal_eval(document["options"]))
        if letter is None:
            guesses += 1
            letter = taken
        assert letter == taken, f"{answer!r}: {letter} or {taken}"
        right.append(letter == document["answer"])
    return {"mmmu_acc": round(share(right), 5)}, guesses


def mmmu_letter(answer, options):
    text = answer
    for sign in ",.!?;:'":
        text = text.strip(sign)
    text, letters = f" {text} ", LETTERS[: len(options)]
    for form, place in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        if found := [letter for letter in letters if form.format(letter) in text]:
            return found[0] if len(found) == 1 else max(found, key=lambda letter: (text.rfind(place.format(letter)), -ord(letter)))
    if len(text.split()) > 5:
        lower = text.lower()
        found = [letter for letter, option in zip(letters, options) if option.lower() in lower]
        if found:
            return max(found, key=lambda letter: (lower.rfind(options[LETTERS.index(letter)].lower()), -ord(letter)))
    return None


def mmmu_open(gold, answer):
    """Whether a part of the answer has the gold text in it, or is the gold number."""
    text = answer.strip().strip(".").lower()
    lines = text.split("\n")
    parts = []
    for line in lines:
        signs = ["could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result "]
        signs += ["="] if line is lines[-1] else []
        # What follows such a word; the shortest of several.
        ends = [line.rpartition(sign)[2].strip() for sign in signs if sign in line]
        if ends and min(ends, key=len) not in ("", *":,.!?;'"):
            parts.append(min(ends, key=len))
    parts = parts or [text]
    try:
        number = round(float(gold.replace(",", "")), 2)
    except ValueError:
        golds = [f" {gold.lower()}", f"{gold.lower()} "] if len(gold) == 1 else [gold.lower()]
        # A part that is a number is compared as a number only, one of a single sign with a blank on either side.
        texts = [each for part in parts if not is_number(part) for each in ([f" {part}", f"{part} "] if len(part) == 1 else [part])]
        return any(gold in each for gold in golds for each in texts)
    found = [part for part in parts if is_number(part)]
    for part in parts:
        found += re.findall(r"-?\b\d{1,3}(?:,\d{3})+\b|-?\d+(?:\.\d+)?e[+-]?\d+", part)
        found += re.findall(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?!e[+-]?\d)(?![,\d])", part)
    return number in [round(float(each.replace(",", "")), 2) for each in found]


def is_number(text):
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True


# Words


def pope(documents, answers):
    said = [answer.strip().lower() for answer in answers]
    gold = [document["answer"] for document in documents]
    pairs = list(zip(said, gold))
    # An answer that is neither yes nor no counts against accuracy alone.
    right, wrong, missed = (pairs.count(pair) for pair in (("yes", "yes"), ("yes", "no"), ("no", "yes")))
    precision = right / (right + wrong) if right + wrong else 0
    recall = right / (right + missed) if right + missed else 0
    return {
        "pope_accuracy": share(one == other for one, other in pairs), "pope_precision": precision, "pope_recall": recall,
        "pope_f1_score": 2 * precision * recall / (precision + recall) if right else 0,
        "pope_yes_ratio": gold.count("yes") / len(gold)}


def pope_llava(documents, answers):
    def says_no(answer):
        first = answer.strip().partition(".")[0]
        return bool(re.search(r"(?:^| )(?:No|no|not)(?: |$)", first.replace(",", "")))

    said = ["no" if says_no(answer) else "yes" for answer in answers]
    f1 = []
    for category in {document["category"] for document in documents}:
        pairs = [(one, document["answer"]) for one, document in zip(said, documents) if document["category"] == category]
        right, wrong, missed = (pairs.count(pair) for pair in (("yes", "yes"), ("yes", "no"), ("no", "yes")))
        f1.append(right / (right + (wrong + missed) / 2) if right else 0)
    return {
        "pope_llava_f1": statistics.mean(f1),
        "pope_llava_accuracy": share(one == document["answer"] for one, document in zip(said, documents))}


def gqa(documents, answers):
    return {"exact_match": share(bare(answer) == bare(document["answer"]) for document, answer in zip(documents, answers))}


def gqa_llava(documents, answers):
    return {"gqa_llava_accuracy": share(
        re.sub(r"\.+$", "", answer.strip()).lower() == document["answer"] for document, answer in zip(documents, answers))}


def vqa_words(text: str) -> str:
    """EvalAI's normaliser for texts without apostrophes, whose table of contractions is not repeated here."""
    assert "'" not in text and "’" not in text, text
    text = re.sub(r"[,?]", "", text.lower().strip()).strip()
    punctuation = ';/[]"{}()=+\\_-><@`!'
    joined = text
    for sign in punctuation:
        is_edge = f"{sign} " in text or f" {sign}" in text
        joined = joined.replace(sign, "" if is_edge else " ")
    joined = re.sub(r"\.(?!\d)", "", joined)
    numbers = {"none": "0", **{word: str(n) for n, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])}}
    return " ".join(numbers.get(word, word) for word in joined.split() if word not in ("a", "an", "the"))


def vqa(documents, answers):
    scores = []
    for document, answer in zip(documents, answers):
        people, said = [vqa_words(each) for each in document["answers"]], vqa_words(answer.strip())
        # With the answer of one person left out in turn, k of ten who agree make these shares.
        scores.append({0: 0.0, 1: 0.3, 2: 0.6, 3: 0.9}.get(people.count(said), 1.0))
    return statistics.mean(scores)


def textvqa_val(documents, answers):
    return {"exact_match": vqa(documents, answers)}


def textvqa_val_llava(documents, answers):
    return {"textvqa_llava_accuracy": vqa(documents, answers)}


# Documents


def edits(one: str, other: str) -> int:
    """Levenshtein's distance, by a table."""
    table = [[column + line if not column * line else 0 for column in range(len(other) + 1)] for line in range(len(one) + 1)]
    for line in range(1, len(one) + 1):
        for column in range(1, len(other) + 1):
            table[line][column] = min(
                table[line - 1][column] + 1, table[line][column - 1] + 1,
                table[line - 1][column - 1] + (one[line - 1] != other[column - 1]))
    return table[-1][-1]


def anls_values(documents, answers):
    for document, answer in zip(documents, answers):
        answer = answer.strip()
        best = max(
            1 - edits(" ".join(gold.lower().split()), " ".join(answer.lower().split())) / max(len(gold), len(answer), 1)
            for gold in document["answers"])
        yield best if best >= 0.5 else 0.0


def docvqa_val(documents, answers):
    return {"anls": statistics.mean(anls_values(documents, answers))}


def docvqa_val_v0_2_2(documents, answers):
    values = list(anls_values(documents, answers))
    return {"anls": statistics.mean(values), "anls_v0_2_2": share(values)}


def chartqa(documents, answers):
    def number(text):
        percent = text.endswith("%")
        try:
            return float(text.rstrip("%")) / (100 if percent else 1)
        except ValueError:
            return None

    def is_right(document, answer):
        answer, gold = answer.strip(), document["answer"]
        one, other = number(answer), number(gold)
        if one is not None and other:
            return abs(one - other) <= 0.05 * abs(other)
        return answer.lower() == gold.lower()

    right = [is_right(*each) for each in zip(documents, answers)]
    return {
        "relaxed_overall": share(right),
        "relaxed_human_split": share(flag for flag, document in zip(right, documents) if document["type"] == "human_test"),
        "relaxed_augmented_split": share(flag for flag, document in zip(right, documents) if document["type"] != "human_test")}


def ocrbench(documents, answers, lowers_formulas=False):
    """Right answers of a thousand, however many were asked."""
    def is_right(document, answer):
        answer = answer.strip()
        if document["dataset"] == "HME100k":
            answer = answer.lower() if lowers_formulas else answer
            return any("".join(gold.split()) in "".join(answer.split()) for gold in document["answer"])
        return any(gold.lower().strip() in answer.lower().replace("\n", " ") for gold in document["answer"])

    return {"ocrbench_accuracy": sum(map(is_right, documents, answers)) / 1000}


def ocrbench_v0_2_2(documents, answers):
    return {"ocrbench_v0_2_2": ocrbench(documents, answers, lowers_formulas=True)["ocrbench_accuracy"]}


# Losses


def seedbench_ppl(documents, losses):
    """`losses`: of each document's four choices."""
    def chosen(four):
        return LETTERS[min(range(len(four)), key=four.__getitem__)]

    return {"acc": share(chosen(four) == document["answer"] for document, four in zip(documents, losses))}


COUNTS: dict[str, Callable] = {
    name: found for name, found in list(globals().items())
    if callable(found) and name.removesuffix("_llava").removesuffix("_v0_2_2") in (
        "pope", "seedbench", "textvqa_val", "gqa", "docvqa_val", "chartqa", "ai2d", "ocrbench", "scienceqa_img")}
