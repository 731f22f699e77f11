"""Where fonts and the word list lie: in the folder $FASTVLM_ASSETS, else where Debian's packages put them.

python -m synth.assets data/assets      copies all of them there, to draw on a machine without the packages
"""

import functools
import os
import pathlib
import shutil
import sys

PLACES = ("/usr/share/fonts", "/usr/share/dict")
EMOJI, LINE_ART, WORDS = "NotoColorEmoji.ttf", "Symbola_hint.ttf", "american-english"


@functools.cache
def known() -> dict[str, str]:
    """File name -> path; of several files of a name the one whose path comes first."""
    folders = [os.environ["FASTVLM_ASSETS"]] if "FASTVLM_ASSETS" in os.environ else PLACES
    paths = [path for folder in folders for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    return {path.name: str(path) for path in sorted(paths, reverse=True)}


def find(name: str) -> str:
    if name not in known():
        raise FileNotFoundError(f"{name} is not installed: run install-fonts.sh")
    return known()[name]


def typefaces() -> list[str]:
    """The files named in typefaces.txt, in its order, so that a seed draws the same everywhere."""
    names = (pathlib.Path(__file__).parent / "typefaces.txt").read_text().split("\n")[:-1]
    return [find(name) for name in names]


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for path in [*typefaces(), find(EMOJI), find(LINE_ART), find(WORDS)]:
        shutil.copy(path, out)


if __name__ == "__main__":
    main()
