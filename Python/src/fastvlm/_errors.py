"""What goes wrong, as exceptions with codes."""

from __future__ import annotations

from typing import Any


class FastVLMError(Exception):
    """An error of the engine.

    ``code`` says what happened, for programs: ``imageTooLarge``, ``contextExceeded``, ``overloaded``, … (those of the
    Swift library's ``FastVLMError.Code``, and ``invalidArgument``, ``cancelled``, ``forked``). ``needed``, ``limit`` and
    ``option`` are set where they say something.
    """

    code: str
    kind: str
    needed: int | None
    limit: int | None
    option: str | None

    def __init__(
        self, message: str, code: str = "invalidArgument", *, needed: int | None = None, limit: int | None = None,
        option: str | None = None, kind: str = "request",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        self.needed = needed
        self.limit = limit
        self.option = option

    def __reduce__(self) -> tuple[Any, ...]:
        # For exceptions that leave a worker process.
        state = {"code": self.code, "kind": self.kind, "needed": self.needed, "limit": self.limit, "option": self.option}
        return _restored, (type(self), str(self), state)


class ModelError(FastVLMError):
    """The checkpoint's folder: missing, damaged, or of a kind that is not read."""


class ImageError(FastVLMError):
    """An image: unreadable, damaged, too large, or of a format that is not decoded."""


class RequestError(FastVLMError):
    """The request: an option out of range, a prompt that does not fit into the context, a wrong order of turns."""


class MachineError(FastVLMError):
    """The machine: memory, threads, open files, more requests than it can take."""


class OutputError(FastVLMError):
    """A file that cannot be written."""


_KINDS: dict[str, type[FastVLMError]] = {
    "model": ModelError, "image": ImageError, "request": RequestError, "system": MachineError, "output": OutputError,
}


def error_from_json(fields: dict[str, Any]) -> FastVLMError:
    """The exception for an error of the C interface."""
    kind = fields.get("kind", "request")
    return _KINDS.get(kind, FastVLMError)(
        fields.get("message", "unknown error"), fields.get("code", "unknown"), needed=fields.get("needed"),
        limit=fields.get("limit"), option=fields.get("option"), kind=kind)


def _restored(kind: type[FastVLMError], message: str, state: dict[str, Any]) -> FastVLMError:
    return kind(message, **state)
