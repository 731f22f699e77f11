"""Images of all kinds as the C interface takes them."""

from __future__ import annotations

import ctypes
import io
import os
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any, Union

from ._errors import ImageError
from ._native import NativeImage

if TYPE_CHECKING:
    import numpy
    import PIL.Image
    from typing_extensions import TypeAlias

#: A path, the bytes of a file, a PIL image, or an array of bytes [height, width, 3] (or 4 with transparency, or none for
#: grey).
Image: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, "PIL.Image.Image", "numpy.ndarray[Any, Any]"]


class RequestImages:
    """The images of one request: parts of its JSON, and memory that they refer to."""

    def __init__(self) -> None:
        self.native: list[NativeImage] = []
        #: What the pointers point into.
        self._kept: list[Any] = []

    def part(self, image: Image) -> dict[str, Any]:
        """Adds an image.

        :raises ImageError: for what is no image
        """
        if isinstance(image, (str, os.PathLike)):
            return self._file(os.fspath(image))
        if isinstance(image, (bytes, bytearray, memoryview)):
            return self._encoded(bytes(image))
        # PIL's images would pass as arrays, too.
        if hasattr(image, "mode") and hasattr(image, "tobytes"):
            return self._pil(image)
        if hasattr(image, "__array_interface__"):
            return self._array(image)
        raise ImageError(
            f"an image is a path, bytes, a PIL image or a NumPy array, not {type(image).__name__}", "unsupportedImage",
            kind="image")

    def _file(self, path: str) -> dict[str, Any]:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", path):
            raise ImageError(
                f"{path[:200]}: an image is a file of this machine; download it first and pass its bytes",
                "unreadableImage", kind="image")
        path = os.path.abspath(os.path.expanduser(path))
        try:
            path.encode()
        except UnicodeEncodeError:
            # A name that is no UTF-8 cannot be written in JSON.
            try:
                with open(path, "rb") as file:
                    return self._encoded(file.read())
            except OSError as error:
                raise ImageError(f"{path!r}: {error.strerror}", "unreadableImage", kind="image") from error
        return {"file": path}

    def _encoded(self, data: bytes) -> dict[str, Any]:
        return self._add(data, ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value, len(data))

    def _pil(self, image: Any) -> dict[str, Any]:
        # Its pixels as they are; what has more to say, transparency or a colour profile, becomes a PNG.
        if image.mode in ("RGB", "L") and not {"transparency", "icc_profile"} & set(image.info):
            width, height = image.size
            return self._pixels(image.convert("RGB").tobytes(), width, height)
        if image.mode not in ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"):
            image = image.convert("RGB")
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=1)
        return self._encoded(file.getvalue())

    def _array(self, array: Any) -> dict[str, Any]:
        interface = array.__array_interface__
        shape = interface["shape"]
        if interface["typestr"] not in ("|u1", "<u1", ">u1"):
            raise ImageError(
                f"an array must have 8 bits without sign for each value (numpy.uint8), not {interface['typestr']}",
                "unsupportedImage", kind="image")
        if len(shape) == 2:
            shape = (*shape, 1)
            array = array[..., None]
        if len(shape) != 3 or shape[2] not in (1, 3, 4) or 0 in shape:
            raise ImageError(
                f"an array must have the shape [height, width, 3], 4 with transparency, 1 or none for grey; got "
                f"{list(interface['shape'])}", "unsupportedImage", kind="image")
        height, width, channels = shape
        if channels == 1:
            array = array.repeat(3, axis=2)
        if channels == 4:
            return self._encoded(_png(array.tobytes(), width, height))
        interface = array.__array_interface__
        strides = interface["strides"] or (3 * width, 3, 1)
        if strides[1:] != (3, 1) or strides[0] < 3 * width:
            array = array.copy("C")
            interface = array.__array_interface__
            strides = (3 * width, 3, 1)
        length = strides[0] * (height - 1) + 3 * width
        return self._add(array, interface["data"][0], length, width, height, strides[0])

    def _pixels(self, data: bytes, width: int, height: int) -> dict[str, Any]:
        if not width or not height:
            raise ImageError(f"an image of {width} × {height} pixels has nothing to see", "invalidImage", kind="image")
        return self._add(
            data, ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value, len(data), width, height, 3 * width)

    def _add(
        self, memory: Any, address: int | None, length: int, width: int = 0, height: int = 0, stride: int = 0,
    ) -> dict[str, Any]:
        self._kept.append(memory)
        self.native.append(NativeImage(address, length, width, height, stride))
        return {"image": len(self.native) - 1}


def _png(rgba: bytes, width: int, height: int) -> bytes:
    """Rows of red, green, blue and opacity as a PNG: the one form in which the engine takes transparency."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = 4 * width
    # Every row begins with its filter, none.
    rows = b"".join(b"\0" + rgba[start:start + row] for start in range(0, row * height, row))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))
