"""Small data sets in the formats of ten benchmarks: our questions about images that Training/synth draws.

Written as lmms-eval's tasks find them without a network: `load_dataset("ORG/NAME")` takes a folder of that name under the
current directory first. The same seed draws the same bytes; a checksum of all questions and pixels is printed.

    data.py FOLDER --rows 60

In every question with letters the answer "E" is wrong, and it is no answer to the others either: the constant that must
score 0. MMMU's parser guesses a letter where it finds none of the options, so its questions have a fifth option.
"""

import argparse
import hashlib
import io
import json
import pathlib
import random
import sys

from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Training"))
from synth import documents, questions, world
from synth.scenes import Painter

SEED, SIDE = 27_000, 512
LETTERS = "ABCDE"
NONE = "none of these"
#: Words that TextVQA's normaliser changes.
CHANGED = {
    "a", "an", "the", "none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
}
SUBJECTS = ["Art", "Accounting", "Biology", "Math", "Pharmacy", "History", "Electronics", "Music", "Geography", "Design"]
TYPES = [
    "Regular Text Recognition", "Irregular Text Recognition", "Artistic Text Recognition", "Handwriting Recognition",
    "Digit String Recognition", "Non-Semantic Text Recognition", "Scene Text-centric VQA", "Doc-oriented VQA",
    "Key Information Extraction", "Handwritten Mathematical Expression Recognition",
]


class World:
    """Pictures and what is true of them, the same for the same task in every run."""

    def __init__(self, task: str):
        number = SEED + list(TASKS).index(task)
        self.painter = Painter(number, world.words()[1], invented=0, held=True, side=SIDE)
        self.random = random.Random(number)

    def scene(self, family: str, task: str):
        """A picture of a family that a question of the task can be asked about."""
        while True:
            image, scene = self.painter.paint(family)
            facts = questions.Facts(scene)
            if task in facts.possible():
                return image, facts

    def ask(self, family: str, task: str, **wanted) -> tuple[Image.Image, questions.Facts, str, str]:
        image, facts = self.scene(family, task)
        question, answer = questions.ask(facts, task, self.random, **wanted)
        return image, facts, question, short(answer)

    def word(self) -> tuple[Image.Image, str]:
        while True:
            image, _, _, answer = self.ask("word", "read")
            if answer.isalpha() and len(answer) > 2 and answer.lower() not in CHANGED:
                return image, answer

    def sheet(self, kinds: list[str], number: int) -> tuple[Image.Image, str, str]:
        """A document or a chart, and a question whose answer is not nearly "E"."""
        while True:
            image, scene = documents.paint(self.painter, kinds[number % len(kinds)])
            question, answer = documents.ask(scene, self.random)
            if "e" not in answer.lower() or len(answer) > 3:
                return image, question, short(answer)

    def named(self, number: int) -> tuple[Image.Image, str, list[str]]:
        """A picture of one thing, its name, and three other names."""
        image, facts, question, answer = self.ask("single", "name")
        others: list[str] = []
        while len(others) < 3:
            other = questions.noun(questions.absent(facts, self.random))
            if other not in others and other != answer:
                others.append(other)
        choices = [*others]
        choices.insert(number % 4, answer)
        return image, question, choices


def short(answer: str) -> str:
    """"A banana." → "banana": the single word or phrase that the benchmarks ask for."""
    answer = answer.removesuffix(".")
    for article in ("A ", "An ", "Some ", "The ", "These are "):
        answer = answer.removeprefix(article)
    return answer if answer.isupper() else answer[:1].lower() + answer[1:]


def encoded(image: Image.Image) -> dict:
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def pope(rows: int):
    of = World("pope")
    for number in range(rows):
        wanted = "No." if number % 2 else "Yes."
        image, facts = of.scene(["group", "pair", "single", "shapes", "mixed"][number % 5], "exists")
        name = of.random.choice(facts.order) if wanted == "Yes." else questions.absent(facts, of.random)
        yield {
            "id": str(number), "question_id": str(number), "question": f"Is there {questions.a(name)} in the image?",
            "answer": short(wanted), "image_source": f"{number:012d}", "image": encoded(image),
            "category": ["random", "popular", "adversarial"][number // 2 % 3]}


def seedbench(rows: int):
    of = World("seedbench")
    for number in range(rows):
        # One question in six is about a "video": several pictures, the last of which it is about.
        images = [of.named(0)[0] for _ in range(2)] if number % 6 == 5 else []
        image, question, choices = of.named(number)
        yield {
            "question_id": str(number), "question_type_id": 1, "data_id": str(number),
            "data_type": "video" if images else "image", "question": ("Last picture: " if images else "") + question,
            **{f"choice_{letter}": choice for letter, choice in zip("abcd", choices)}, "answer": LETTERS[number % 4],
            "image": [*map(encoded, images), encoded(image)], "segment": [0, 1] if images else []}


def mmmu(rows: int):
    of = World("mmmu_val")
    for number in range(rows):
        images: list[Image.Image] = []
        options: list[str] = []
        kind = ["name", "which", "name", "pictures", "count", "word"][number % 6]
        if kind == "name":
            image, question, options = of.named(number)
            images, question, options = [image], f"<image 1> {question}", [*options, NONE]
            answer = LETTERS[number % 4]
        elif kind == "which":
            (one, _, choices), (two, _, _) = of.named(0), of.named(0)
            images = [one, two] if number % 4 < 2 else [two, one]
            question = f"Look at <image 1> and <image 2>. Which of them shows {world.article(choices[0])}?"
            options, answer = ["the first", "the second", "both", "neither", NONE], "A" if number % 4 < 2 else "B"
        elif kind == "pictures":
            images = [of.named(0)[0] for _ in range(2)]
            image, _, choices = of.named(0)
            images.insert(number % 3, image)
            question = f"Which picture shows {world.article(choices[0])}?"
            options, answer = [*[f"<image {place}>" for place in (1, 2, 3)], "all of them", NONE], LETTERS[number % 3]
        elif kind == "count":
            image, _, question, answer = of.ask("group", "count")
            images, question = [image], f"{question} <image 1>"
        else:
            image, answer = of.word()
            images, question = [image], "What does <image 1> say?"
        yield {
            "id": f"validation_{SUBJECTS[number % len(SUBJECTS)]}_{number}", "question": question, "options": str(options),
            "explanation": "", **{f"image_{place}": None for place in range(1, 8)},
            **{f"image_{place}": encoded(image) for place, image in enumerate(images, 1)}, "img_type": "['Drawings']",
            "answer": answer, "topic_difficulty": "Easy", "question_type": "multiple-choice" if options else "open",
            "subfield": "Drawing"}


def textvqa(rows: int):
    of = World("textvqa_val")
    for number in range(rows):
        image, word = of.word()
        # Seven of ten people agree; one right answer of theirs is written differently, two are wrong.
        answers = [word] * 7 + [word.upper() + ".", word[::-1], "unanswerable"]
        yield {
            "image_id": f"{number:016x}", "question_id": number, "question": "What does the Image say?",
            "image": encoded(image), "image_width": SIDE, "image_height": SIDE, "answers": answers,
            "image_classes": ["Text"], "set_name": "val", "ocr_tokens": [word.upper(), "Inc"]}


def gqa(rows: int):
    of = World("gqa")
    for number in range(rows):
        family, task = [("shapes", "color"), ("pair", "side"), ("shapes", "shape"), ("group", "exists")][number % 4]
        image, _, question, answer = of.ask(family, task)
        yield {
            "id": str(number), "imageId": f"n{number}", "question": question, "answer": answer, "fullAnswer": answer,
            "isBalanced": True, "image": encoded(image)}


def docvqa(rows: int):
    of = World("docvqa_val")
    for number in range(rows):
        image, question, answer = of.sheet(["receipt", "label", "form", "table", "sign"], number)
        yield {
            "questionId": str(number), "question": question, "question_types": ["form"], "image": encoded(image),
            "docId": number, "ucsf_document_id": "", "ucsf_document_page_no": "", "answers": [answer, answer.upper()],
            "data_split": "val"}


def chartqa(rows: int):
    of = World("chartqa")
    for number in range(rows):
        image, question, answer = of.sheet(["bars", "curve", "pie"], number)
        yield {
            "type": ["human_test", "augmented_test"][number % 2], "question": question, "answer": answer,
            "image": encoded(image)}


def ai2d(rows: int):
    of = World("ai2d")
    for number in range(rows):
        image, question, choices = of.named(number)
        yield {"question": question, "options": choices, "answer": str(number % 4), "image": encoded(image)}


def ocrbench(rows: int):
    of = World("ocrbench")
    for number in range(rows):
        kind = TYPES[number % len(TYPES)]
        name, question = "Drawn", "what is written in the image?"
        if kind.startswith("Handwritten"):
            name, question = "HME100k", "Please write out the expression of the formula in the image."
            answer = f"{LETTERS[number % 4]} + {of.random.randrange(2, 99)} = {of.random.randrange(2, 99)}"
            image = Image.new("RGB", (SIDE, SIDE // 4), "white")
            ImageDraw.Draw(image).text((20, 30), answer, "black", ImageFont.load_default(60))
        elif kind.startswith(("Doc", "Key")):
            image, question, answer = of.sheet(["receipt", "form"], number)
        else:
            image, answer = of.word()
        yield {
            "dataset": name, "question": question, "question_type": kind, "answer": [answer], "image": encoded(image)}


def scienceqa(rows: int):
    of = World("scienceqa_img")
    for number in range(rows):
        image, question, choices = of.named(number)
        yield {
            "image": encoded(image), "question": question, "choices": choices, "answer": number % 4,
            "hint": "" if number % 2 else "The picture was drawn by a program.", "task": "closed choice", "grade": "grade2",
            "subject": "natural science", "topic": "biology", "category": "Drawings", "skill": "Name a drawing",
            "lecture": "", "solution": ""}


#: Task of lmms-eval → (folder, configuration, split, rows of it).
TASKS = {
    "pope": ("lmms-lab-encoder/POPE", None, "test", pope),
    "seedbench": ("lmms-lab-encoder/SEED-Bench", None, "test", seedbench),
    "mmmu_val": ("lmms-lab-encoder/MMMU", None, "validation", mmmu),
    "textvqa_val": ("lmms-lab-encoder/textvqa", None, "validation", textvqa),
    "gqa": ("lmms-lab-encoder/GQA", "testdev_balanced_instructions", "testdev", gqa),
    "docvqa_val": ("lmms-lab-encoder/DocVQA", "DocVQA", "validation", docvqa),
    "chartqa": ("lmms-lab-encoder/ChartQA", None, "test", chartqa),
    "ai2d": ("lmms-lab-encoder/ai2d", None, "test", ai2d),
    "ocrbench": ("echo840/OCRBench", None, "test", ocrbench),
    "scienceqa_img": ("lmms-lab-encoder/ScienceQA", "ScienceQA-IMG", "test", scienceqa),
}
IMAGES = {"image", *(f"image_{place}" for place in range(1, 8))}


def write(folder: pathlib.Path, config: str | None, split: str, rows: list[dict]) -> None:
    """Rows as the hub stores them: Parquet, and a README whose head names the files."""
    import datasets

    data = folder / (config or "data")
    data.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_list(rows)
    for name in IMAGES & set(table.column_names):
        image = datasets.Image()
        table = table.cast_column(name, datasets.List(image) if isinstance(rows[0][name], list) else image)
    table.to_parquet(data / f"{split}-00000-of-00001.parquet")
    readme = folder / "README.md"
    head = readme.read_text().removesuffix("---\n") if readme.exists() else "---\nconfigs:\n"
    path = f"{data.name}/{split}-*"
    readme.write_text(
        f"{head}- config_name: {config or 'default'}\n  data_files: [{{split: {split}, path: \"{path}\"}}]\n---\n")


def generate(folder: pathlib.Path, count: int, tasks: list[str]) -> str:
    """Writes data sets into an empty folder and returns their checksum."""
    checksum = hashlib.sha256()
    for task in tasks:
        name, config, split, rows_of = TASKS[task]
        rows = list(rows_of(count))
        for row in rows:
            for key, value in row.items():
                images = [each["bytes"] for each in (value if isinstance(value, list) else [value]) if key in IMAGES and each]
                for each in images:
                    checksum.update(Image.open(io.BytesIO(each)).tobytes())
                if key not in IMAGES:
                    checksum.update(json.dumps([key, value]).encode())
        if task == "gqa":
            # The images are a configuration of their own.
            write(folder / name, "testdev_balanced_images", split, [
                {"id": row["imageId"], "image": row.pop("image")} for row in rows])
        write(folder / name, config, split, rows)
        print(f"{task}: {len(rows)} rows", flush=True)
    return checksum.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=60, help="of each task")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    options = parser.parse_args()
    if options.folder.exists() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty")
    print(generate(options.folder, options.rows, options.tasks))


if __name__ == "__main__":
    main()
