"""Puts the shared library and the embedded model into the wheel.

The library is `FASTVLM_LIBRARY`, or what `CInterface/build.sh` of the repository has built; the model is that of the
repository, or `FASTVLM_EMBEDDED_MODEL`.
"""

import os
import pathlib
import sysconfig

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NEEDED = """\
fastvlm's wheel holds a library that is written in Swift, and the source distribution does not bring it along. Either
install a wheel, or build one from the repository (Swift 6.2 or later; `make wheel` does all of it), or name what is built
already: FASTVLM_LIBRARY=/path/libfastvlm.so FASTVLM_EMBEDDED_MODEL=/path/fastvlm-small pip install …"""


class LibraryHook(BuildHookInterface):
    def initialize(self, version, build_data):
        if version == "editable":
            raise SystemExit("fastvlm cannot be installed in editable mode: its library is copied into the wheel")
        repository = pathlib.Path(self.root).resolve().parent
        library = pathlib.Path(
            os.environ.get("FASTVLM_LIBRARY") or repository / "CInterface/.build/stripped/libfastvlm.so")
        model = pathlib.Path(os.environ.get("FASTVLM_EMBEDDED_MODEL") or repository / "Models/fastvlm-small")
        for needed in (library, model / "config.json"):
            if not needed.is_file():
                raise SystemExit(f"{needed} is not there.\n\n{NEEDED}")
        build_data["force_include"][str(library)] = "fastvlm/libfastvlm.so"
        for file in sorted(model.iterdir()):
            build_data["force_include"][str(file)] = f"fastvlm/models/fastvlm-small/{file.name}"
        # ctypes needs no interface of Python's: one wheel for all its versions.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
