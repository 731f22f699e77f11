import json
import os
import pathlib
import random
import shutil

import fastvlm
import numpy
import pyarrow
import pyarrow.parquet
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[1]
REPOSITORY = EXAMPLES.parents[1]
#: 300 and a few, so that nothing divides evenly.
COUNT = 331
#: Files that are no images: each gets an error in its row and nothing else happens.
BROKEN = {7: b"", 160: b"broken", 330: b"\xff\xd8\xff broken"}
QUESTION = "What is this?"
MAX_TOKENS = 12


def drawn(number: int) -> bytes:
    """A picture of its own for each number: some rectangles and circles, as a netpbm file."""
    chosen = random.Random(number)
    side = chosen.choice([192, 256, 320])
    pixels = numpy.full((side, side, 3), [chosen.randrange(200, 256) for _ in range(3)], numpy.uint8)
    rows, columns = numpy.mgrid[:side, :side]
    for _ in range(chosen.randrange(1, 5)):
        colour = [chosen.randrange(256) for _ in range(3)]
        x, y, size = chosen.randrange(side), chosen.randrange(side), chosen.randrange(side // 8, side // 3)
        if chosen.random() < 0.5:
            pixels[abs(rows - y) + 2 * abs(columns - x) < size] = colour
        else:
            pixels[(rows - y) ** 2 + (columns - x) ** 2 < size * size] = colour
    return b"P6\n%d %d\n255\n" % (side, side) + pixels.tobytes()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Images, and a table and lines that name them."""
    folder = tmp_path_factory.mktemp("photos")
    images = [BROKEN.get(number, drawn(number)) for number in range(COUNT)]
    ids = [f"{number:03}.ppm" for number in range(COUNT)]
    for name, data in zip(ids, images):
        (folder / name).write_bytes(data)
    pyarrow.parquet.write_table(pyarrow.table({"id": ids, "image": images}), folder / "photos.parquet")
    lines = [{"id": name, "image": name, "question": QUESTION, "max_tokens": MAX_TOKENS} for name in ids]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="session")
def expected(folder):
    """What one plain process answers, and which of them are errors: by id."""
    # One thread: two wait for each other where the machine has other work.
    with fastvlm.Model(threads=1) as model:
        answers = {}
        for number in range(COUNT):
            # One after the other, alone.
            try:
                answers[f"{number:03}.ppm"] = model.answer(
                    QUESTION, (folder / f"{number:03}.ppm").read_bytes(), max_tokens=MAX_TOKENS).text
            except fastvlm.ImageError:
                answers[f"{number:03}.ppm"] = None
    assert sum(answer is None for answer in answers.values()) == len(BROKEN)
    # Otherwise rows could take each other's place unseen.
    assert len(set(answers.values())) > 10
    return answers


@pytest.fixture(scope="session")
def program():
    found = os.environ.get("FASTVLM") or shutil.which("fastvlm") or REPOSITORY / ".build/release/fastvlm"
    if not pathlib.Path(found).exists():
        pytest.fail("build the command line first (make build), or name it: FASTVLM=…")
    return str(found)


@pytest.fixture
def report(capsys):
    """Prints a figure where somebody sees it."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}", flush=True)

    return say
