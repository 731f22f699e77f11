"""What wheel and source distribution hold. They are those of `make wheel`."""

import os
import subprocess
import sys
import tarfile
import zipfile

import pytest

from conftest import REPOSITORY

DIST = REPOSITORY / "Python/dist"


def only(pattern):
    (file,) = DIST.glob(pattern)
    return file


def test_wheel():
    wheel = only("*.whl")
    assert "-py3-none-manylinux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    for needed in ("fastvlm/libfastvlm.so", "fastvlm/py.typed", "fastvlm/models/fastvlm-small/model.safetensors"):
        assert needed in names
    libraries = {os.path.basename(name).split("-")[0].split(".")[0] for name in names if name.startswith("fastvlm.libs/")}
    assert {"libjpeg", "libpng16", "libwebp", "liblcms2"} <= libraries
    assert not {"libswiftCore", "libFoundation", "libtiff", "libjbig"} & libraries
    assert (REPOSITORY / "Python/LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    assert not any(line.startswith("Requires-Dist") and "extra ==" not in line for line in metadata.splitlines())
    # What package indexes take by default.
    assert wheel.stat().st_size < 100 * 1000 * 1000


def test_source_distribution_says_what_it_needs(tmp_path):
    with tarfile.open(only("*.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert (folder / "LICENSE").read_text().strip()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FASTVLM_")}
    build = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(folder)], env=environment,
        capture_output=True, text=True)
    assert build.returncode != 0
    assert "make wheel" in build.stdout + build.stderr


@pytest.mark.parametrize("arguments", [[], ["--strict"]])
def test_types(tmp_path, arguments):
    """What a user of the package writes has types, and a wrong option is found."""
    program = tmp_path / "program.py"
    program.write_text(
        "import fastvlm\n"
        "model = fastvlm.Model(precision='int8', threads=2)\n"
        "text: str = model.answer('x', ['a.jpg', b''], max_tokens=3).text\n"
        "score: float = model.score('x', ['a', 'b'])[0].logprob\n"
        "model.answer('x', temprature=1)\n"
        "fastvlm.Model(precision='int3')\n")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments, "--cache-dir", str(tmp_path / "cache"), str(program)],
        capture_output=True, text=True, cwd=tmp_path)
    lines = [line.split(":")[1] for line in checked.stdout.splitlines() if ": error:" in line]
    assert lines == ["5", "6"], checked.stdout
