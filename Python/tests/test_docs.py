"""The examples of the documentation run."""

import re

import pytest

from conftest import REPOSITORY


def examples(name):
    return re.findall(r"^```python\n(.*?)^```", (REPOSITORY / name).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", examples("docs/python.md"))
def test_examples_run(code, samples, monkeypatch, capsys):
    monkeypatch.chdir(samples)
    exec(compile(code, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out


def test_there_are_three():
    assert len(examples("docs/python.md")) == 3


def test_the_table_example_runs(samples, tmp_path, monkeypatch, capsys):
    (code,) = examples("docs/batch.md")
    (tmp_path / "photos.csv").write_text(f"image\n{samples / 'single-banana.jpg'}\nnowhere.jpg\n")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/batch.md", "exec"), {})
    assert capsys.readouterr().out == "1 of 2 rows have an answer\n"
