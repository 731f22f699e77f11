"""Tables: a question about every row."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

import fastvlm

NAMES = ["single-banana.jpg", "count-snowflake.jpg", "pair-taco.png", "word-codify.jpg"]
ASK = "What is this?"


@pytest.fixture
def expected(model, samples):
    return [model.answer(ASK, samples / name).text for name in NAMES]


def write_csv(path, rows, separator=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    return path


def read_csv(path, separator=","):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=separator))


def begin(source, output, *arguments, **options):
    """Leaves what a run leaves that ends before its first answer."""
    with fastvlm.Model(threads=1) as closed:
        pass
    with pytest.raises(fastvlm.RequestError) as caught:
        fastvlm.answer_table(closed, source, output, *(arguments or ([] if options else [ASK])), **options)
    assert caught.value.code == "invalidHandle"


def lines(path):
    return path.read_text().splitlines()


@pytest.mark.parametrize("ending, separator", [("csv", ","), ("tsv", "\t")])
def test_text(model, samples, expected, tmp_path, ending, separator):
    rows = [["id", "image", "note"], *([f"n{number}", name, 'a, "b"\nc'] for number, name in enumerate(NAMES))]
    source, output = write_csv(tmp_path / f"in.{ending}", rows, separator), tmp_path / f"out.{ending}"
    summary = fastvlm.answer_table(model, source, output, ASK, image_root=samples)
    assert summary == fastvlm.TableSummary(str(output), 4, 0, 0)
    found = read_csv(output, separator)
    assert found[0] == ["id", "image", "note", "answer", "error"]
    assert found[1:] == [[*row, text, ""] for row, text in zip(rows[1:], expected)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, output.name])


def test_errors_have_their_rows(model, samples, expected, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (tmp_path / "here.jpg").write_bytes((samples / NAMES[0]).read_bytes())
    images = ["here.jpg", "", "broken.jpg", "nowhere.jpg", "https://example.com/a.jpg", str(samples / NAMES[1]), "here.jpg", ""]
    questions = [ASK, ASK, ASK, ASK, ASK, ASK, " ", ASK]
    source = write_csv(tmp_path / "in.csv", [["image", "ask"], *zip(images, questions)])
    summary = fastvlm.answer_table(
        model, source, tmp_path / "out.csv", question_column="ask", answer_column="text", error_column="wrong",
        columns=[], progress=True)
    assert (summary.rows, summary.failed) == (8, 6)
    assert "answered 8 of 8" in capsys.readouterr().err
    names, *rows = read_csv(tmp_path / "out.csv")
    assert names == ["text", "wrong"]
    assert [bool(text) for text, _ in rows] == [True, False, False, False, False, True, False, False]
    assert [text for text, _ in rows if text] == expected[:2]
    assert [error.split(":")[0] for _, error in rows] == [
        "", "unreadableImage", "invalidImage", "unreadableImage", "unreadableImage", "", "emptyPrompt", "unreadableImage"]
    assert "nowhere.jpg" in rows[3][1] and "no image" in rows[7][1]


def test_a_table_of_errors_only(model, tmp_path):
    source = write_csv(tmp_path / "in.csv", [["image"], *([f"{number}.jpg"] for number in range(40))])
    assert fastvlm.answer_table(model, source, tmp_path / "out.csv", ASK).failed == 40
    empty = write_csv(tmp_path / "empty.csv", [["image"]])
    assert fastvlm.answer_table(model, empty, tmp_path / "out2.csv", ASK).rows == 0
    assert read_csv(tmp_path / "out2.csv") == [["image", "answer", "error"]]


def test_what_is_refused(model, samples, tmp_path):
    source = write_csv(tmp_path / "in.csv", [["image", "image2"], [str(samples / NAMES[0]), "x"]])
    output = tmp_path / "out.csv"

    def refused(kind, says, *arguments, **options):
        with pytest.raises(kind, match=says):
            fastvlm.answer_table(model, *arguments, **options)

    refused(fastvlm.RequestError, "question", source, output)
    refused(fastvlm.RequestError, "question", source, output, ASK, question_column="image2")
    refused(TypeError, "temprature", source, output, ASK, temprature=1)
    refused(fastvlm.RequestError, "temperature", source, output, ASK, temperature=-1)
    refused(ValueError, "'picture'.* image, image2", source, output, ASK, image_column="picture")
    refused(ValueError, "'other'", source, output, ASK, columns=["other"])
    refused(ValueError, "twice", source, output, ASK, answer_column="image2")
    refused(ValueError, "csv as well", source, tmp_path / "out.parquet", ASK)
    refused(ValueError, "ends in", tmp_path / "in.xlsx", tmp_path / "out.xlsx", ASK)
    refused(FileNotFoundError, "nowhere", tmp_path / "nowhere.csv", output, ASK)
    for text, says in (
        ("", "empty"), ("image,b\n1\n", "line 2: 1 values"), ("image\n\"a", "line"), ("image,image\na,b\n", "more than one"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        refused(ValueError, says, tmp_path / "bad.csv", output, ASK)
    (tmp_path / "bad.csv").write_bytes(b"image\n\xff.jpg\n")
    refused(ValueError, "line", tmp_path / "bad.csv", output, ASK)
    output.write_text("mine")
    refused(FileExistsError, "never overwritten", source, output, ASK)
    refused(ValueError, "not the output", source, output, ASK, resume=True)
    assert output.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "in.csv", "out.csv", "out.csv.partial"]
    # Nothing was answered, so nothing is in the way.
    output.unlink()
    assert fastvlm.answer_table(model, source, output, ASK).failed == 0


def test_a_closed_model_ends_the_run_and_not_its_rows(samples, tmp_path):
    source = write_csv(tmp_path / "in.csv", [["image"], [str(samples / NAMES[0])]])
    begin(source, tmp_path / "out.csv")
    assert len(lines(tmp_path / "out.csv.partial")) == 1


def test_resume(model, samples, expected, tmp_path):
    source = write_csv(tmp_path / "in.csv", [["image"], *([str(samples / name)] for name in NAMES)])
    output, journal = tmp_path / "out.csv", tmp_path / "out.csv.partial"
    fastvlm.answer_table(model, source, output, ASK, resume=True)
    whole = output.read_bytes()
    assert fastvlm.answer_table(model, source, output, ASK, resume=True).resumed == 4
    # What a run leaves that is killed behind its second row: a half line, too.
    output.unlink()
    begin(source, output)
    header = json.loads(lines(journal)[0])
    left = "\n".join([json.dumps(header), '{"answer": "first"}', '{"error": "invalidImage: x"}', '{"answer": "thi'])
    journal.write_text(left)
    with pytest.raises(FileExistsError, match="resume"):
        fastvlm.answer_table(model, source, output, ASK)
    for change, says in (
        ({"question": "What?"}, "another question"), ({"max_tokens": 3}, "another options"),
        ({"image_column": "x", "input": "y"}, "another input, another image_column"),
    ):
        options = {"question": ASK} | {key: value for key, value in change.items() if key in ("question", "max_tokens")}
        journal.write_text(left.replace(lines(journal)[0], json.dumps({**header, **change})) if "input" in change else left)
        with pytest.raises(ValueError, match=says):
            fastvlm.answer_table(model, source, output, resume=True, **options)
    journal.write_text(left)
    summary = fastvlm.answer_table(model, source, output, ASK, resume=True)
    assert (summary.rows, summary.failed, summary.resumed) == (4, 1, 2)
    assert [row[1] for row in read_csv(output)[1:]] == ["first", "", *expected[2:]]
    assert not journal.exists()
    output.unlink()
    journal.write_text("my own text\n")
    with pytest.raises(ValueError, match="stays"):
        fastvlm.answer_table(model, source, output, ASK, resume=True)
    assert journal.read_text() == "my own text\n"
    journal.unlink()
    journal.write_text('{"half')
    fastvlm.answer_table(model, source, output, ASK, resume=True)
    assert output.read_bytes() == whole


def test_a_killed_run_goes_on(model, samples, tmp_path):
    rows = [[str(samples / NAMES[number % 4]), f"{ASK} {number}"] for number in range(60)]
    source, output = write_csv(tmp_path / "in.csv", [["image", "ask"], *rows]), tmp_path / "out.csv"
    journal = tmp_path / "out.csv.partial"
    code = f"""
import fastvlm
fastvlm.answer_table(
    fastvlm.Model(threads=1), {str(source)!r}, {str(output)!r}, question_column="ask", max_tokens=6, resume=True)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None and not (journal.exists() and len(lines(journal)) > 10):
            time.sleep(0.005)
        with pytest.raises(FileExistsError, match="another run"):
            fastvlm.answer_table(model, source, output, question_column="ask", max_tokens=6, resume=True)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not output.exists()
    summary = fastvlm.answer_table(model, source, output, question_column="ask", max_tokens=6, resume=True)
    assert 10 <= summary.resumed < 60 and summary.rows == 60 and summary.failed == 0
    alone = model.answer_batch([ask for _, ask in rows], [image for image, _ in rows], max_tokens=6)
    assert read_csv(output)[1:] == [[*row, answer.text, ""] for row, answer in zip(rows, alone)]


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow")


def test_parquet(arrow, model, samples, expected, tmp_path):
    from pyarrow import parquet

    data = [(samples / name).read_bytes() for name in NAMES]
    images = {
        "path": [str(samples / name) for name in NAMES],
        "data": data,
        "row": [{"bytes": data[0], "path": None}, {"bytes": None, "path": str(samples / NAMES[1])},
                {"bytes": data[2], "path": "x.png"}, {"bytes": data[3], "path": None}],
        "list": [[each] for each in data],
    }  # fmt: skip
    table = arrow.table({"id": arrow.array([1, 2, 3, 4], arrow.int16()), **images})
    features = {"features": {column: {"is": column} for column in table.column_names}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": features}), "other": "kept"})
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=3)
    for column in images:
        output = tmp_path / f"{column}.parquet"
        summary = fastvlm.answer_table(
            model, tmp_path / "in.parquet", output, ASK, image_column=column, columns=["path", "id"])
        assert (summary.rows, summary.failed) == (4, 0)
        found = parquet.read_table(output)
        assert found.column_names == ["path", "id", "answer", "error"]
        assert found.schema.field("id").type == arrow.int16()
        assert found.to_pydict() == {
            "path": images["path"], "id": [1, 2, 3, 4], "answer": expected, "error": [None] * 4}
        kept = json.loads(found.schema.metadata[b"huggingface"])["info"]["features"]
        assert list(kept) == ["path", "id", "answer", "error"] and kept["id"] == {"is": "id"}
        assert found.schema.metadata[b"other"] == b"kept"
        assert parquet.ParquetFile(output).metadata.num_row_groups == 2
    assert fastvlm.answer_table(
        model, tmp_path / "in.parquet", output, ASK, image_column=column, columns=["path", "id"], resume=True).resumed == 4
    fastvlm.answer_table(model, tmp_path / "in.parquet", tmp_path / "all.parquet", ASK, max_tokens=1, image_column="data")
    assert parquet.read_table(tmp_path / "all.parquet", columns=table.column_names).equals(table)


def test_errors_in_parquet(arrow, model, samples, tmp_path):
    from pyarrow import parquet

    good = (samples / NAMES[0]).read_bytes()
    table = arrow.table({
        "image": [good, None, b"", b"broken", good], "pair": [[good, good], [], None, [good, None], [good]],
        "number": [1, 2, None, 4, 5], "ask": [ASK, ASK, ASK, ASK, None],
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "in.parquet")

    def codes(column):
        output = tmp_path / f"{column}.parquet"
        fastvlm.answer_table(
            model, tmp_path / "in.parquet", output, image_column=column, question_column="ask", max_tokens=2)
        found = parquet.read_table(output).to_pydict()
        assert all((answer is None) != (error is None) for answer, error in zip(found["answer"], found["error"]))
        return [error and error.split(":")[0] for error in found["error"]]

    assert codes("image") == [None, "unreadableImage", "unreadableImage", "unsupportedImage", "emptyPrompt"]
    assert codes("pair") == [None, "unreadableImage", "unreadableImage", "unreadableImage", "emptyPrompt"]
    assert codes("number") == ["unsupportedImage", "unsupportedImage", "unreadableImage", "unsupportedImage", "emptyPrompt"]
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 broken PAR1")
    with pytest.raises(ValueError, match="no Parquet"):
        fastvlm.answer_table(model, tmp_path / "broken.parquet", tmp_path / "x.parquet", ASK)


def test_a_parquet_run_goes_on(arrow, model, samples, tmp_path):
    from pyarrow import parquet

    names = [str(samples / NAMES[number % 4]) for number in range(200)]
    asks = [f"{ASK} {number}" for number in range(200)]
    parquet.write_table(arrow.table({"image": names, "ask": asks}), tmp_path / "in.parquet", row_group_size=70)
    output, journal = tmp_path / "out.parquet", tmp_path / "out.parquet.partial"
    options = {"question_column": "ask", "max_tokens": 1}
    fastvlm.answer_table(model, tmp_path / "in.parquet", output, **options)
    whole = parquet.read_table(output)
    for rows in (1, 35, 70, 150, 199, 200):
        output.unlink()
        begin(tmp_path / "in.parquet", output, **options)
        with open(journal, "a") as file:
            file.writelines(json.dumps({"answer": text}) + "\n" for text in whole["answer"].to_pylist()[:rows])
        summary = fastvlm.answer_table(model, tmp_path / "in.parquet", output, resume=True, **options)
        assert summary.resumed == rows and parquet.read_table(output).equals(whole)


def test_parquet_without_pyarrow(tmp_path):
    code = f"""
import sys
sys.modules["pyarrow"] = None
import fastvlm
try:
    fastvlm.answer_table(None, {str(tmp_path / "in.parquet")!r}, {str(tmp_path / "out.parquet")!r}, "x")
except ImportError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "pip install 'fastvlm[parquet]'" in told
