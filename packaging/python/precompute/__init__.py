"""What a run of Precompute saved, as Python values.

>>> import precompute
>>> run = precompute.load("runs/logit_lens-20260101-120000")
>>> list(run)                       # the names that can be asked for
>>> run["probabilities"]            # a numpy array, a data frame, a path of a picture, ...
>>> run.record["models"]            # run.json: what the run was

A file is read when it is asked for. Nothing that a run saved is executed: .npy files with pickled
objects are refused, and no name leads out of the run's directory.
"""

from __future__ import annotations

import csv
import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Run", "load"]

# The dtypes of .safetensors, as numpy names them. bfloat16, which numpy lacks, becomes float32.
_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "BF16": "<u2",
    "F32": "<f4",
    "F64": "<f8",
    "C64": "<c8",
    "C128": "<c16",
}

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|NaN|-?Infinity")

# The largest header of a .safetensors file, as the format's own library has it.
_LARGEST_HEADER = 100_000_000


def load(run_dir: str | pathlib.Path) -> Run:
    """The run whose output directory is ``run_dir``.

    Raises ``FileNotFoundError`` where there is no run.json, and ``ValueError`` where it is no record
    of a run.
    """
    return Run(run_dir)


class Run(Mapping):
    """The files of one run, by the names under which the script saved them.

    ``run[name]`` takes a file's name with its ending or without: ``run["sweep"]`` is ``sweep.csv``.
    Values are

    - ``.safetensors``: a numpy array where the file holds one tensor, else a dict of arrays,
    - ``.npy``: a numpy array,
    - ``.csv``, ``.parquet``: a pandas data frame; without pandas a list of dicts, one a row
      (``.parquet`` then needs pyarrow),
    - ``.json``: what it says, ``.jsonl``: a list of it, ``.txt``: a text,
    - pictures and anything else: the file's path.
    """

    def __init__(self, run_dir: str | pathlib.Path) -> None:
        self.path = pathlib.Path(run_dir)
        with open(self.path / "run.json", encoding="utf-8") as file:
            record = json.load(file)
        try:
            names = [saved["name"] for saved in record["files"]]
        except (KeyError, TypeError):
            names = None
        if names is None or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{self.path / 'run.json'} is not the record of a run")
        #: run.json: the script, its parameters, the models, the seed, the versions, the outcome.
        self.record: dict[str, Any] = record
        self._names: list[str] = names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<run {str(self.path)!r} with {', '.join(self._names) or 'no files'}>"

    def _ipython_key_completions_(self) -> list[str]:
        return self._names

    def file(self, name: str) -> pathlib.Path:
        """The path of a file that the run saved, by its name with its ending or without."""
        found = [n for n in self._names if n == name]
        found = found or [n for n in self._names if pathlib.PurePosixPath(n).with_suffix("") == pathlib.PurePosixPath(name)]
        if not found:
            raise KeyError(f"the run saved no {name!r}; it has {', '.join(self._names) or 'no files'}")
        if len(found) > 1:
            raise KeyError(f"{name!r} may be {' or '.join(found)}: say which, with the ending")
        # A record may come from a stranger: its names must stay in the directory, links included.
        path = (self.path / found[0]).resolve()
        if not path.is_relative_to(self.path.resolve()):
            raise ValueError(f"{found[0]!r} leads out of {self.path}")
        return path

    def __getitem__(self, name: str) -> Any:
        path = self.file(name)
        read = _READERS.get(path.suffix.lower())
        return path if read is None else read(path)


def _numpy():
    try:
        import numpy
    except ImportError as error:
        raise ImportError("tensors are given as numpy arrays: pip install numpy") from error
    return numpy


def _safetensors(path: pathlib.Path) -> Any:
    numpy = _numpy()

    def broken(why: str) -> ValueError:
        return ValueError(f"{path} is not a .safetensors file that can be read: {why}")

    with open(path, "rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if length > min(_LARGEST_HEADER, size - 8):
            raise broken("its header is longer than the file")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            entries = [(name, e["dtype"], e["shape"], *e["data_offsets"]) for name, e in header.items()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise broken("its header is malformed") from error
        tensors = {}
        for name, dtype, shape, begin, end in entries:
            if dtype not in _DTYPES:
                raise broken(f"{name} is of an unknown dtype, {dtype}")
            numpy_dtype = numpy.dtype(_DTYPES[dtype])
            if not 0 <= begin <= end <= size - 8 - length or any(n < 0 for n in shape):
                raise broken(f"{name} lies outside the file")
            if math.prod(shape) * numpy_dtype.itemsize != end - begin:
                raise broken(f"{name} has another size than its shape says")
            file.seek(8 + length + begin)
            array = numpy.frombuffer(file.read(end - begin), numpy_dtype).reshape(shape)
            if dtype == "BF16":
                array = (array.astype("<u4") << 16).view("<f4")
            tensors[name] = array
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors


def _npy(path: pathlib.Path) -> Any:
    return _numpy().load(path, allow_pickle=False)


def _cell(text: str) -> Any:
    """A cell of a .csv file as the number, the bool or the text that was saved.

    Texts that a spreadsheet would run as formulas are saved behind a quote, which is taken off.
    """
    if text == "":
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text[1:] if _is_quoted(text) else text


def _is_quoted(text: str) -> bool:
    return text.startswith("'") and text.lstrip("'")[:1] in tuple("=+-@\t\r\n＝＋－＠")


def _csv(path: pathlib.Path) -> Any:
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    header = [name[1:] if _is_quoted(name) else name for name in header]
    rows = [[_cell(cell) for cell in row] for row in rows]
    try:
        import pandas
    except ImportError:
        return [dict(zip(header, row)) for row in rows]
    return pandas.DataFrame(rows, columns=header)


def _parquet(path: pathlib.Path) -> Any:
    try:
        import pandas
    except ImportError:
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError(".parquet needs pandas with pyarrow, or pyarrow alone") from error
        return pyarrow.parquet.read_table(path).to_pylist()
    return pandas.read_parquet(path)


def _text(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8")


def _json(path: pathlib.Path) -> Any:
    return json.loads(_text(path))


def _json_lines(path: pathlib.Path) -> Any:
    return [json.loads(line) for line in _text(path).splitlines() if line]


_READERS = {
    ".safetensors": _safetensors,
    ".npy": _npy,
    ".csv": _csv,
    ".parquet": _parquet,
    ".json": _json,
    ".jsonl": _json_lines,
    ".txt": _text,
}
