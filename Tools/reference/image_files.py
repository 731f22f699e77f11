"""Small image files, some of which no encoder writes, for the generators of fixtures."""

import base64
import io
import struct
import zlib

import numpy as np
from PIL import Image


def b64(data):
    return base64.b64encode(bytes(data)).decode("ascii")


def noise(width, height):
    """[height, width, 3] uint8 by a formula that the Swift test repeats."""
    y, x, c = np.meshgrid(
        np.arange(height, dtype=np.uint64), np.arange(width, dtype=np.uint64),
        np.arange(3, dtype=np.uint64), indexing="ij")
    mixed = (x * 73856093) ^ (y * 19349663) ^ (c * 83492791)
    mixed = ((mixed & 0xFFFFFFFF) * 2654435761) & 0xFFFFFFFF
    return (mixed >> 24).astype(np.uint8)


def picture(rng, width, height, channels=3):
    """Smooth colours with some edges: closer to a photograph than noise."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(channels):
        a, b, p = rng.uniform(0.05, 0.4, 3)
        plane = 128 + 80 * np.sin(a * x + p) * np.cos(b * y) + 40 * ((x // 7 + y // 5) % 2)
        planes.append(plane + rng.normal(0, 6, (height, width)))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


# -- PNG by hand: Pillow writes neither every depth nor interlacing -------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def pack_row(samples, depth):
    if depth == 16:
        return samples.astype(">u2").tobytes()
    if depth == 8:
        return samples.astype(np.uint8).tobytes()
    bits = ((samples[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8).reshape(-1)
    return np.packbits(bits).tobytes()


def filter_row(rng, row, above, step):
    kind = int(rng.integers(0, 5))
    row, above = np.frombuffer(row, np.uint8).astype(int), np.frombuffer(above, np.uint8).astype(int)
    left = np.concatenate([np.zeros(step, int), row])[: len(row)]
    corner = np.concatenate([np.zeros(step, int), above])[: len(row)]
    if kind == 4:
        p = left + above - corner
        pa, pb, pc = abs(p - left), abs(p - above), abs(p - corner)
        guess = np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, above, corner))
    else:
        guess = [0 * row, left, above, (left + above) // 2][kind]
    return bytes([kind]) + ((row - guess) & 255).astype(np.uint8).tobytes()


def png(rng, samples, colour, depth, interlaced=False, extra=b"", after=b""):
    """samples: [height, width, channels] integers below 2**depth."""
    height, width, channels = samples.shape
    step = max(1, channels * depth // 8)
    raw = b""
    for x0, y0, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[y0::dy, x0::dx]
        if part.size == 0:
            continue
        above = None
        for line in part:
            row = pack_row(line.reshape(-1), depth)
            raw += filter_row(rng, row, above if above is not None else bytes(len(row)), step)
            above = row
    packed = zlib.compress(raw, 9)
    cut = len(packed) // 2
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed[:cut])
            + chunk(b"IDAT", packed[cut:]) + after + chunk(b"IEND", b""))


def saved(array, kind, mode=None, **options):
    buffer = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array, mode)).save(buffer, kind, **options)
    return buffer.getvalue()


def webp_riff(chunks):
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(d)) + d + b"\0" * (len(d) & 1) for k, d in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# The case jpeg-420 in arithmetic coding, by libjpeg-turbo's `jpegtran -arithmetic`: Pillow reads but does not
# write it.
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAQDAwMDAgQDAwMEBAQFBgoGBgUFBgwICQcKDgwPDg4MDQ0PERYTDxAVEQ0NExoTFRcYGRkZ"
    "DxIbHRsYHRYYGRj/2wBDAQQEBAYFBgsGBgsYEA0QGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY"
    "GBj/yQARCAAdACsDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwDSufqsL4P0QJAbcx+v5Wi24ZfZh5pGEprUE6MCzT+H"
    "atthz593KwkQ8PwTfBRHZvkEknqWvxSPLbmS0ZWrNFagLYTy3N38fjeQb1emKdA+7/rmCUevkGqW3EQ5NSwV7r4ml230EH0pyuXyYV1I"
    "NOFWoLIP4gSV0XNbYgA8znNXtjQFXdX4dHco8XjMDII+oupHBfyINK2JsdKRgs7fMN5WPkG0gsGWLxiK/T2gmVQcPUFQHla09aRkzGyh"
    "J70uw2dZpM1bmjpqql4xOSbRUGSLzKQdFiwB/ItZjg4OjlnoIRcDD37krklCg1PDqVZ1/ngDgGqivOtx6secyE2ZHYRJT2/FJIGZyB4T"
    "9h8Im6ayYo8U9qJrZC52FA+T6yWyivFnOU9livUSQ5rldtOxN5K8RO7P/hPm7M41fy1Hpak0iKbpq0ECOszdbJ2KYcp4lSgJPkfYq0T1"
    "+UZNsyycUb1BytRi5/futa3m7r6xlyvQQcG5rsb9IgNbQci1qI9sB5hGPrYVYoWaAKYj2mHYhl0tatPNVfeZDXryV0xnqb/o8RUR9gXd"
    "OP4qcdqStx7Et2AdtERkpiu5Rb0QvCY0umc5+BP8zQXnaki/mrtPsRkkKQnbYUZO8KF7RgzWWEhOdwC1EadAklPYpGQKG9iW9ibLF30E"
    "oq7q3viLcJeVMJKIBQvcFgUHoB6j9OSCTemVZA7x89D15HPC04uGA0K37wgagZgleXAhLN+gz128pKKyMWHrFjhShMtZXTu/Fi3x+YpA"
    "7wyyZ3NSa+ni7FhassTcgALdgiKUEF/JoygxMRjIw77Z7XnC9hZdv5cp8MtODCDCPHqVPVi3179rGk/aHP/Z")
