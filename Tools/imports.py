#!/usr/bin/env python3
"""Fails when a module imports what its line in Package.swift does not list, or lists what it does not import.

The compiler's own check (--explicit-target-dependency-import-check) accepts what a dependency depends on; this one
does not. It reads the import lines of the sources, takes a second, and builds nothing.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SYSTEM = {
    "Darwin", "Dispatch", "Foundation", "FoundationEssentials", "FoundationNetworking", "FoundationXML", "Glibc",
    "Musl", "Synchronization", "Testing",
}
IMPORT = re.compile(
    r"^\s*(?:@\w+(?:\(\w+\))?\s+)*(?:public |package |internal |fileprivate |private )?import\s+"
    r"(?:(?:struct|class|enum|protocol|typealias|func|let|var|actor)\s+)?(\w+)")


def folder(target):
    if target.get("path"):
        return ROOT / target["path"]
    return ROOT / ("Tests" if target["type"] == "test" else "Sources") / target["name"]


def imports(target):
    """Module -> the first place that imports it."""
    found = {}
    for file in sorted(folder(target).rglob("*.swift")):
        in_text = False
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not in_text and (match := IMPORT.match(line)):
                found.setdefault(match[1], f"{file.relative_to(ROOT)}:{number}")
            # A literal of several lines may hold another language.
            in_text ^= line.count('"""') % 2 == 1
    return found


def main():
    package = json.loads(subprocess.check_output(["swift", "package", "dump-package"], cwd=ROOT))
    targets = [target for target in package["targets"] if target["type"] != "system"]
    faults = []
    for target in targets:
        found = imports(target)
        if not found:
            continue  # C
        listed = {(d.get("byName") or d.get("target") or d.get("product"))[0] for d in target["dependencies"]}
        for module, place in found.items():
            if module not in listed | SYSTEM | {target["name"]}:
                faults.append(f"{place}: {target['name']} imports {module}; list it in Package.swift or do without")
        # TestSupport is for whoever needs it.
        for module in sorted(listed - set(found) - {"TestSupport"}):
            faults.append(f"Package.swift: {target['name']} lists {module} and never imports it; remove it")
    print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
