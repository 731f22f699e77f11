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
