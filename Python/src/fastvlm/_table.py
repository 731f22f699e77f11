"""A question about every row of a table."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from ._answer import Answer
from ._errors import FastVLMError, ImageError, RequestError
from ._messages import Images, Question, user_message
from ._options import GenerationOptions, Path, generation_options
from ._progress import Progress
from ._tablefile import Table, table

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._model import Model

#: What is wrong with the call or the machine, and not with a row.
_FATAL = {"invalidArgument", "invalidOption", "invalidHandle", "forked", "cancelled"}


@dataclasses.dataclass(frozen=True)
class TableSummary:
    """What :func:`answer_table` has done."""

    path: str
    #: Rows of the table.
    rows: int
    #: Those of them that have an error in place of an answer.
    failed: int
    #: Those of them that an earlier run had answered.
    resumed: int


def answer_table(
    model: Model, input: Path, output: Path, question: str | None = None, *, image_column: str = "image",
    question_column: str | None = None, answer_column: str = "answer", error_column: str = "error",
    columns: Sequence[str] | None = None, image_root: Path | None = None, resume: bool = False, progress: bool = False,
    **options: Unpack[GenerationOptions],
) -> TableSummary:
    """Asks about the image of every row of a Parquet, CSV or TSV file, and writes the rows with their answers.

    A row that cannot be answered has its error, ``"code: sentence"``, in a column of its own, and the others go on. The
    output appears under its name when it is whole. Until then answers are kept beside it, in ``OUTPUT.partial``, one
    line each; ``resume`` goes on with them after a crash, or begins.

    >>> fastvlm.answer_table(model, "photos.parquet", "captions.parquet", "Describe the image.", max_tokens=64)
    TableSummary(path='captions.parquet', rows=1000, failed=2, resumed=0)

    :param input: ``.parquet`` (needs pyarrow), ``.csv`` or ``.tsv`` with a line of names, in UTF-8
    :param output: a file of the same kind that is not there yet
    :param question: the question about every row, unless ``question_column`` names a column of questions
    :param image_column: what has the image: a path; in Parquet also the bytes of a file, a structure with ``bytes`` or
        ``path`` (as Hugging Face's data sets have them), or a list of these. Without an image a row is not answered
    :param columns: which columns of the input the output has; all of them unless you say otherwise
    :param image_root: the folder that relative paths begin in; that of the input unless you say otherwise
    :param resume: go on with what an earlier run with the same input, question, model and options has left. Where the
        output is there, nothing is done
    :raises FileExistsError: where the output is there and ``resume`` is not given
    :raises ValueError: for a table that cannot be read, a column that is missing or there already, or a run that was not
        the same
    """
    if (question is None) == (question_column is None):
        raise RequestError("give either the question or question_column")
    # An option that is wrong ends the call before anything is written.
    generation_options(options, "answer_table")
    output = pathlib.Path(os.fspath(output))
    source = table(pathlib.Path(os.fspath(input)))
    kept = source.columns if columns is None else list(columns)
    needed = [image_column] + ([] if question_column is None else [question_column])
    source.require([*needed, *kept])
    added = [answer_column, error_column]
    if len({*kept, *added}) < len(kept) + 2:
        raise ValueError(f"the output would have a column twice: {', '.join([*kept, *added])}")
    if output.suffix.lower() != source.path.suffix.lower():
        raise ValueError(f"{output}: the output of {source.path.name} is {source.path.suffix.lower()} as well")
    if output.exists() or output.is_symlink():
        if not resume:
            raise FileExistsError(f"{output} is there; it is never overwritten")
        return _finished(output, source, [*kept, *added], error_column)
    root = pathlib.Path(os.fspath(image_root)) if image_root is not None else source.path.parent
    task = {
        "version": 1, "input": source.fingerprint(), "question": question, "image_column": image_column,
        "question_column": question_column, "precision": model.info.precision, "image_size": model.info.image_size,
        "model": "embedded" if model.path == "embedded" else model.info.directory,
        # As JSON has them, for comparing.
        "options": json.loads(json.dumps(dict(options), default=str)),
    }
    with _Journal(output.with_name(output.name + ".partial"), task, resume) as journal:
        rows = _rows(source, needed, journal.count, root, question)
        line = Progress("answered", progress)
        done, resumed = journal.count, journal.count
        try:
            for answer in _answers(model, rows, options):
                journal.add(answer)
                done += 1
                line.count(done, source.rows, resumed)
        finally:
            line.end()
        if done != source.rows:
            raise ValueError(f"{source.path} has changed: {done} rows instead of {source.rows}")
        failed = _write(source, output, kept, added, journal)
        journal.remove()
    return TableSummary(str(output), source.rows, failed, resumed)


_Row = tuple[str, Images]


def _rows(
    source: Table, needed: Sequence[str], skip: int, root: pathlib.Path, question: str | None,
) -> Iterator[_Row | FastVLMError]:
    """Question and images of each row behind those that are skipped."""
    for values in source.read(needed, skip):
        asked = question if question is not None else values[1]
        if not isinstance(asked, str) or not asked.strip():
            yield RequestError("the row has no question", "emptyPrompt")
            continue
        try:
            yield asked, _images(values[0], root)
        except FastVLMError as error:
            yield error


def _images(value: Any, root: pathlib.Path) -> list[Any]:
    several = value if isinstance(value, list) else [value]
    images = [_image(each, root) for each in several]
    if not images:
        raise ImageError("the row has no image", "unreadableImage", kind="image")
    return images


def _image(value: Any, root: pathlib.Path) -> str | bytes:
    if isinstance(value, Mapping) and {"bytes", "path"} & set(value):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, str) and value.strip():
        # Addresses get their own error where images are read.
        return value if ":" in value.split("/")[0] or value.startswith("~") else str(root / value)
    if value is None or value == "" or value == b"" or isinstance(value, str):
        raise ImageError("the row has no image", "unreadableImage", kind="image")
    raise ImageError(
        f"an image of a table is a path or the bytes of a file, not {type(value).__name__}", "unsupportedImage",
        kind="image")


def _answers(
    model: Model, rows: Iterator[_Row | FastVLMError], options: GenerationOptions,
) -> Iterator[Answer | FastVLMError]:
    """One for each row, in their order. Rows that cannot be asked keep their place among those that are."""
    places: collections.deque[FastVLMError | None] = collections.deque()

    def asked() -> Iterator[Question]:
        for row in rows:
            if isinstance(row, FastVLMError):
                places.append(row)
            else:
                places.append(None)
                yield [user_message(*row)]

    for result in model.iter_answers(asked(), on_error="return", **options):
        while (early := places.popleft()) is not None:
            yield early
        if isinstance(result, FastVLMError) and (result.code in _FATAL or result.kind == "system"):
            raise result
        yield result
    for last in places:
        if last is not None:
            yield last


def _finished(output: pathlib.Path, source: Table, columns: list[str], error_column: str) -> TableSummary:
    there = table(output)
    if there.columns != columns or there.rows != source.rows:
        raise ValueError(f"{output} is there, and it is not the output for {source.path} with these columns")
    failed = sum(error not in (None, "") for (error,) in there.read([error_column]))
    return TableSummary(str(output), there.rows, failed, there.rows)


class _Journal:
    """The answers of a run that has not come to its end: a line about the run, and one line for each row. A line is
    written whole or cut off by the next run. Nobody else may write to it meanwhile."""

    def __init__(self, path: pathlib.Path, task: dict[str, Any], resume: bool) -> None:
        self._path = path
        #: Rows that are answered.
        self.count = 0
        self._file: IO[bytes] = open(path, "r+b" if path.exists() else "x+b")  # noqa: SIM115
        try:
            self._lock()
            self._read(task, resume)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, answer: Answer | FastVLMError) -> None:
        failed = isinstance(answer, FastVLMError)
        text = f"{answer.code}: {answer}" if isinstance(answer, FastVLMError) else answer.text
        self._write({"error" if failed else "answer": text})
        self.count += 1

    def results(self) -> Iterator[tuple[str | None, str | None]]:
        """Answer and error of each row."""
        self._file.seek(0)
        next(self._file)
        for line in self._file:
            fields = json.loads(line)
            yield fields.get("answer"), fields.get("error")

    def remove(self) -> None:
        self._path.unlink()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(f"{self._path} is being written by another run") from None

    def _read(self, task: dict[str, Any], resume: bool) -> None:
        header = self._file.readline()
        earlier = _parsed(header) or {}
        if header.endswith(b"\n") and "version" not in earlier:
            raise ValueError(f"{self._path} is not what a run leaves; it stays as it is")
        end = len(header)
        for line in self._file:
            if not line.endswith(b"\n") or not {"answer", "error"} & set(_parsed(line) or ()):
                break
            end += len(line)
            self.count += 1
        if self.count == 0:
            # Nothing was answered, so nothing is lost.
            self._file.seek(0)
            self._file.truncate()
            self._write(task)
            return
        if not resume:
            raise FileExistsError(
                f"{self._path} has the answers of a run that did not come to its end: go on with resume=True, or remove it")
        differing = [key for key in task if earlier.get(key) != task[key]]
        if differing:
            raise ValueError(
                f"{self._path} is of a run with another {', another '.join(differing)}: remove it to begin anew")
        self._file.seek(end)
        self._file.truncate()

    def _write(self, fields: dict[str, Any]) -> None:
        self._file.write(json.dumps(fields).encode() + b"\n")
        self._file.flush()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _write(source: Table, output: pathlib.Path, kept: list[str], added: list[str], journal: _Journal) -> int:
    """-> rows with an error."""
    failed = 0

    def results() -> Iterator[tuple[str | None, str | None]]:
        nonlocal failed
        for answer, error in journal.results():
            failed += error is not None
            yield answer, error

    # The journal's lock guards this name, too.
    unfinished = output.with_name(output.name + ".partial.rows")
    try:
        source.copy(unfinished, kept, added, results())
        with open(unfinished, "rb") as file:
            os.fsync(file.fileno())
        if output.exists():
            raise FileExistsError(f"{output} has appeared meanwhile; it is never overwritten")
        os.replace(unfinished, output)
    finally:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()
    return failed
