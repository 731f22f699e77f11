"""Prompts and scores of the paper's harnesses where today's lmms-eval differs: LLaVA-1.5's scripts (commit c121f04), which
scored GQA, ScienceQA, TextVQA and POPE, and lmms-eval 0.2.2, which scored the rest. The task files beside this one name
these functions. Written from what those programs do; tests hold them against examples that the programs themselves gave.
"""

import re

SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."


def image(doc):
    return [doc["image"].convert("RGB")] if doc["image"] is not None else []


# POPE by LLaVA: everything that does not say no is a yes, and the figure is the mean of the F1 of three categories.


def pope_text(doc):
    return doc["question"].strip() + SHORT


def pope_says_yes(text):
    """Looks at the words of the first sentence."""
    words = text.split(".")[0].replace(",", "").split(" ")
    return not {"No", "not", "no"} & set(words)


def pope_process(doc, results):
    entry = {"category": doc["category"], "says": pope_says_yes(results[0].strip()), "is": doc["answer"].strip().lower() == "yes"}
    return {"pope_llava_f1": entry, "pope_llava_accuracy": entry}


def f1(entries):
    right = sum(entry["says"] and entry["is"] for entry in entries)
    said, there = sum(entry["says"] for entry in entries), sum(entry["is"] for entry in entries)
    # LLaVA's script divides by zero where nothing is right.
    return 2 * right / (said + there) if right else 0.0


def pope_f1(results):
    categories = sorted({entry["category"] for entry in results})
    return sum(f1([entry for entry in results if entry["category"] == each]) for each in categories) / len(categories)


def pope_accuracy(results):
    return sum(entry["says"] == entry["is"] for entry in results) / len(results)


# ScienceQA by LLaVA.


def scienceqa_text(doc):
    lines = [f"Context: {doc['hint']}"] if doc["hint"] else []
    lines += [doc["question"], *(f"{letter}. {choice}" for letter, choice in zip("ABCDEFGH", doc["choices"]))]
    return "\n".join(lines) + LETTER


def scienceqa_target(doc):
    return "ABCDEFGH"[doc["answer"]]


def scienceqa_letter(text):
    """The letter that is taken for the answer; None where there is none."""
    if text in ("A", "B", "C", "D", "E"):
        return text
    if len(text) >= 3 and text[0] in "ABCDE" and text[1:3] == ". ":
        return text[0]
    # The dot is any sign in LLaVA's pattern: "The answer is B" without one is no answer.
    found = re.findall(r"The answer is ([A-Z]).", text)
    return found[0] if len(found) == 1 else None


def scienceqa_process(doc, results):
    letter = scienceqa_letter(results[0].strip())
    is_choice = letter is not None and letter in "ABCDE"[: len(doc["choices"])]
    return {"scienceqa_llava_accuracy": float(is_choice and letter == scienceqa_target(doc))}


# TextVQA by LLaVA: words that another program has read stand in the question.


def textvqa_text(doc):
    return f"{doc['question']}\nReference OCR token: {', '.join(doc['ocr_tokens'])}{SHORT}"


def vqa_accuracy(answer, answers):
    """Of normalised answers: for each of ten people a third for every other one who says the same, at most 1; the mean."""
    agreeing = answers.count(answer)
    others = [agreeing - (given == answer) for given in answers]
    return sum(min(1.0, other / 3) for other in others) / len(answers)


def textvqa_process(doc, results):
    from lmms_eval.tasks._task_utils.vqa_eval_metric import EvalAIAnswerProcessor

    # The same normaliser as in LLaVA's script.
    normalize = EvalAIAnswerProcessor()
    answers = [normalize(answer) for answer in doc["answers"]]
    return {"textvqa_llava_accuracy": vqa_accuracy(normalize(results[0].strip()), answers)}


# GQA by LLaVA.


def gqa_documents(dataset):
    from lmms_eval.tasks.gqa.utils import gqa_process_docs

    return gqa_process_docs(dataset)


def gqa_text(doc):
    return doc["question"] + SHORT


def gqa_process(doc, results):
    return {"gqa_llava_accuracy": float(results[0].strip().rstrip(".").lower() == doc["answer"])}


# DocVQA and InfographicVQA by lmms-eval 0.2.2, where every similarity of at least a half counts as 1.


def docvqa_text(doc):
    return doc["question"] + SHORT


def distance(one, other):
    """Levenshtein's, of code points."""
    row = list(range(len(other) + 1))
    for index, a in enumerate(one, 1):
        diagonal, row[0] = row[0], index
        for place, b in enumerate(other, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (a != b))
    return row[-1]


def similarity(answer, gold):
    """Average normalised Levenshtein similarity of one gold answer; 0 below a half."""
    length = max(len(gold), len(answer))
    one, other = (" ".join(text.strip().lower().split()) for text in (gold, answer))
    value = 1 - distance(one, other) / length if length else 1.0
    return value if value >= 0.5 else 0.0


def docvqa_process(doc, results):
    values = [similarity(results[0].strip(), gold) for gold in doc["answers"]]
    # Both: what 0.2.2 reported, and the metric as it is defined.
    return {"anls_v0_2_2": float(any(values)), "anls": max(values)}


# OCRBench by lmms-eval 0.2.2, which lower-cases an answer before it looks for a formula in it.


def ocrbench_text(doc):
    return doc["question"].strip()


def ocrbench_process(doc, results):
    text, golds = results[0].lower().strip(), doc["answer"]
    golds = golds if isinstance(golds, list) else [golds]
    if doc["dataset"] == "HME100k":
        text = text.replace("\n", " ").replace(" ", "")
        right = any(gold.strip().replace("\n", " ").replace(" ", "") in text for gold in golds)
    else:
        right = any(gold.lower().strip().replace("\n", " ") in text.replace("\n", " ") for gold in golds)
    return {"ocrbench_v0_2_2": float(right)}


def of_a_thousand(results):
    return sum(results) / 1000


# MMMU by lmms-eval 0.2.2: 16 tokens and images before the text; the scoring is today's.


def mmmu_text(doc):
    from lmms_eval.tasks.mmmu.utils import construct_prompt

    return construct_prompt(doc, LETTER.strip(), SHORT.strip(), "format")


def mmmu_visual(doc):
    from lmms_eval.tasks.mmmu.utils import mmmu_doc_to_visual

    return mmmu_doc_to_visual(doc)


def mmmu_process(doc, results):
    from lmms_eval.tasks.mmmu.utils import mmmu_process_results

    return {"mmmu_acc": mmmu_process_results(doc, results)["mmmu_acc"]}


def mmmu_mean(results):
    from lmms_eval.tasks.mmmu.utils import mmmu_aggregate_results

    return mmmu_aggregate_results(results)
