"""The C interface (CInterface/Sources/CFastVLM/fastvlm.h) through ctypes, which releases the GIL in every call."""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import threading
import weakref
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from ._errors import FastVLMError, error_from_json

# As in fastvlm.h.
_ABI_VERSION = 1
_FAILED, _OK, _EVENT, _END = -1, 0, 1, 2
FEATURES, VISUAL_TOKENS = 0, 1

#: Longest that a call waits in C. Python looks at signals between calls, so Ctrl-C takes no longer than this.
PATIENCE = 50

_Text = ctypes.c_void_p
_TextOutput = ctypes.POINTER(_Text)


class NativeImage(ctypes.Structure):
    """``fastvlm_image``."""

    _fields_ = [
        ("bytes", ctypes.c_void_p), ("length", ctypes.c_size_t), ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32), ("stride", ctypes.c_size_t),
    ]


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "fastvlm_abi_version": (ctypes.c_int32, []),
    "fastvlm_version": (ctypes.c_char_p, []),
    "fastvlm_load": (ctypes.c_int64, [ctypes.c_char_p, ctypes.c_size_t, _TextOutput]),
    "fastvlm_submit": (
        ctypes.c_int64,
        [ctypes.c_int64, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(NativeImage), ctypes.c_size_t, _TextOutput]),
    "fastvlm_next": (ctypes.c_int32, [ctypes.c_int64, ctypes.c_int32, _TextOutput, _TextOutput]),
    "fastvlm_features": (
        ctypes.c_int32,
        [ctypes.c_int64, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_size_t),
         ctypes.POINTER(ctypes.c_size_t), _TextOutput]),
    "fastvlm_cancel": (ctypes.c_int32, [ctypes.c_int64, _TextOutput]),
    "fastvlm_release": (ctypes.c_int32, [ctypes.c_int64, _TextOutput]),
    "fastvlm_free": (None, [_Text]),
}

_library: ctypes.CDLL | None = None
_opening = threading.Lock()


def library() -> ctypes.CDLL:
    """The shared library, opened when it is first needed: importing the package and forking afterwards is fine.

    ``FASTVLM_LIBRARY`` names another file than the one in the package.
    """
    global _library
    with _opening:
        if _library is None:
            path = os.environ.get("FASTVLM_LIBRARY") or str(pathlib.Path(__file__).with_name("libfastvlm.so"))
            opened = ctypes.CDLL(path)
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(opened, name)
                function.restype = result
                function.argtypes = arguments
            version = opened.fastvlm_abi_version()
            if version != _ABI_VERSION:
                raise ImportError(f"{path} has version {version} of the interface, this package needs {_ABI_VERSION}")
            _library = opened
        return _library


def version() -> str:
    """The engine's version."""
    text: bytes = library().fastvlm_version()
    return text.decode()


def load(options: dict[str, Any]) -> Work:
    """Begins to load a model."""
    text = json.dumps(options).encode()
    error = _Text()
    return _work(library().fastvlm_load(text, len(text), ctypes.byref(error)), error)


def submit(model: Work, request: dict[str, Any], images: Sequence[NativeImage]) -> Work:
    """Begins a request. The memory of the images may go when this returns."""
    text = json.dumps(request).encode()
    array = (NativeImage * len(images))(*images) if images else None
    error = _Text()
    return _work(
        library().fastvlm_submit(model.handle, text, len(text), array, len(images), ctypes.byref(error)), error)


def _work(handle: int, error: ctypes.c_void_p) -> Work:
    if not handle:
        raise _error(error)
    return Work(handle)


class Work:
    """A model or a request: what has a handle. It is released when nothing refers to it any more."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self._release = weakref.finalize(self, library().fastvlm_release, handle, None)

    def next(self, milliseconds: int = PATIENCE) -> dict[str, Any] | None:
        """The next event; None when there was none in this time.

        :raises StopIteration: after the last one
        :raises FastVLMError: when the work has failed
        """
        event, error = _Text(), _Text()
        status = library().fastvlm_next(self.handle, milliseconds, ctypes.byref(event), ctypes.byref(error))
        if status == _EVENT:
            return _taken(event)
        if status == _OK:
            return None
        if status == _END:
            raise StopIteration
        raise _error(error)

    def events(self) -> Iterator[dict[str, Any]]:
        """All events, waiting for each."""
        while True:
            try:
                event = self.next()
            except StopIteration:
                return
            if event is not None:
                yield event

    def last_event(self) -> dict[str, Any]:
        """Waits until the work is complete."""
        last: dict[str, Any] = {}
        for last in self.events():
            pass
        return last

    def features(self, which: int) -> tuple[int, int, int]:
        """Address, rows and columns of float32 numbers, which stay there until the work is released."""
        numbers, rows, columns, error = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t(), _Text()
        status = library().fastvlm_features(
            self.handle, which, ctypes.byref(numbers), ctypes.byref(rows), ctypes.byref(columns), ctypes.byref(error))
        if status != _OK:
            raise _error(error)
        return numbers.value or 0, rows.value, columns.value

    def release(self) -> None:
        """Gives the handle back, which cancels what goes on. Once is enough."""
        self._release()

    @property
    def is_released(self) -> bool:
        return not self._release.alive

    def __enter__(self) -> Work:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None,
    ) -> None:
        self.release()


def _taken(text: ctypes.c_void_p) -> dict[str, Any]:
    """Reads and frees a text of the library's."""
    value: dict[str, Any] = json.loads(ctypes.string_at(text.value or 0))
    library().fastvlm_free(text)
    return value


def _error(text: ctypes.c_void_p) -> FastVLMError:
    return error_from_json(_taken(text) if text.value else {})
