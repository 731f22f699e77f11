"""Tables in files: reading some columns, and copying them with further ones."""

from __future__ import annotations

import abc
import csv
import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

#: Answer and error of a row.
Result = tuple["str | None", "str | None"]

#: Bytes at either end of a file that tell it from others.
_SAMPLE = 1 << 20
#: Rows that are read at once, which may have images in them.
_READ = 32


class Table(abc.ABC):
    """A file with named columns."""

    path: pathlib.Path
    columns: list[str]
    rows: int

    @abc.abstractmethod
    def read(self, columns: Sequence[str], skip: int = 0) -> Iterator[list[Any]]:
        """The values of these columns, row by row, behind those that are skipped."""

    @abc.abstractmethod
    def copy(self, output: pathlib.Path, columns: Sequence[str], added: Sequence[str], results: Iterator[Result]) -> None:
        """Writes some columns, and two new ones that have the results."""

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Changes with the content."""

    def require(self, columns: Sequence[str]) -> None:
        """:raises ValueError: for a column that is not there, or twice"""
        for column in columns:
            if self.columns.count(column) != 1:
                how = "no column" if column not in self.columns else "more than one column"
                raise ValueError(f"{self.path} has {how} {column!r}; its columns are {', '.join(self.columns)}")


def table(path: pathlib.Path) -> Table:
    """Opens a table by the ending of its name."""
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        return _SeparatedTable(path, "," if kind == ".csv" else "\t")
    if kind in (".parquet", ".pq"):
        return _ParquetTable(path)
    raise ValueError(f"{path}: the name of a table ends in .parquet, .csv or .tsv")


class _SeparatedTable(Table):
    """Text in lines. Everything is looked at once before anything is answered, so that no error waits at its end."""

    def __init__(self, path: pathlib.Path, separator: str) -> None:
        self.path = path
        self._separator = separator
        self.columns = []
        self.rows = 0
        digest = hashlib.sha256()
        for row in self._lines():
            digest.update(json.dumps(row).encode())
            if not self.columns:
                self.columns = row
            else:
                self.rows += 1
        if not self.columns:
            raise ValueError(f"{path} is empty; its first line names the columns")
        self._digest = digest.hexdigest()

    def fingerprint(self) -> str:
        return self._digest

    def read(self, columns: Sequence[str], skip: int = 0) -> Iterator[list[Any]]:
        places = [self.columns.index(column) for column in columns]
        for row in itertools.islice(self._lines(), 1 + skip, None):
            yield [row[place] for place in places]

    def copy(self, output: pathlib.Path, columns: Sequence[str], added: Sequence[str], results: Iterator[Result]) -> None:
        with open(output, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=self._separator, lineterminator="\n")
            writer.writerow([*columns, *added])
            for values, (answer, error) in zip(self.read(columns), results):
                writer.writerow([*values, answer or "", error or ""])

    def _lines(self) -> Iterator[list[str]]:
        """The names, then the rows. Empty lines are left out."""
        length = 0
        with open(self.path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=self._separator, strict=True)
            try:
                for row in reader:
                    if not row:
                        continue
                    length = length or len(row)
                    if len(row) != length:
                        raise ValueError(
                            f"{self.path}, line {reader.line_num}: {len(row)} values where the first line has {length}")
                    yield row
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(f"{self.path}, line {reader.line_num + 1}: {error}") from error


class _ParquetTable(Table):
    def __init__(self, path: pathlib.Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError("tables in Parquet need pyarrow: pip install 'fastvlm[parquet]'", name="pyarrow") from error
        self.path = path
        self._arrow: Any = pyarrow
        self._parquet: Any = pyarrow.parquet
        try:
            with self._open() as file:
                self._schema = file.schema_arrow
                self.columns = list(self._schema.names)
                self.rows = file.metadata.num_rows
        except pyarrow.ArrowException as error:
            raise ValueError(f"{path} is no Parquet file that can be read: {error}") from error

    def fingerprint(self) -> str:
        # The end says where everything is, and how often what occurs.
        with open(self.path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            beginning = file.read(_SAMPLE)
            file.seek(max(0, size - _SAMPLE))
            return hashlib.sha256(b"%d " % size + beginning + file.read(_SAMPLE)).hexdigest()

    def read(self, columns: Sequence[str], skip: int = 0) -> Iterator[list[Any]]:
        with self._open() as file:
            groups: list[int] = []
            for group in range(file.metadata.num_row_groups):
                length = file.metadata.row_group(group).num_rows
                if not groups and skip >= length:
                    skip -= length
                else:
                    groups.append(group)
            if not groups:
                return
            for batch in file.iter_batches(_READ, row_groups=groups, columns=list(dict.fromkeys(columns))):
                passed = min(skip, batch.num_rows)
                batch = batch.slice(passed)
                skip -= passed
                values = [batch.column(column).to_pylist() for column in columns]
                for row in zip(*values):
                    yield list(row)

    def copy(self, output: pathlib.Path, columns: Sequence[str], added: Sequence[str], results: Iterator[Result]) -> None:
        schema = self._schema_of(columns, added)
        with self._open() as file, self._parquet.ParquetWriter(output, schema, compression="zstd") as writer:
            for group in range(file.metadata.num_row_groups):
                part = file.read_row_group(group, columns=list(columns)).select(list(columns))
                answers, errors = _columns(itertools.islice(results, part.num_rows))
                texts = [self._arrow.array(values, self._arrow.string()) for values in (answers, errors)]
                writer.write_table(self._arrow.Table.from_arrays([*part.columns, *texts], schema=schema))

    def _open(self) -> Any:
        return self._parquet.ParquetFile(self.path)

    def _schema_of(self, columns: Sequence[str], added: Sequence[str]) -> Any:
        fields = [self._schema.field(column) for column in columns]
        fields += [self._arrow.field(column, self._arrow.string()) for column in added]
        metadata = dict(self._schema.metadata or {})
        # What Hugging Face's data sets keep of their columns has to name all of them.
        with_features = metadata.get(b"huggingface")
        if with_features is not None:
            known = json.loads(with_features)
            features = known.get("info", {}).get("features", {})
            text = {"dtype": "string", "_type": "Value"}
            known.setdefault("info", {})["features"] = {
                **{column: features[column] for column in columns if column in features}, **{column: text for column in added}}
            metadata[b"huggingface"] = json.dumps(known).encode()
        return self._arrow.schema(fields, metadata=metadata)


def _columns(results: Iterable[Result]) -> tuple[list[str | None], list[str | None]]:
    answers, errors = [], []
    for answer, error in results:
        answers.append(answer)
        errors.append(error)
    return answers, errors
