#!/usr/bin/env bash
# Compiles the C test against the header and the built library, and runs it.
set -euo pipefail
cd "$(dirname "$0")/.."
library=$PWD/.build/stripped
mkdir -p .build/check
compiler=$(command -v clang || command -v cc)
"$compiler" -std=c11 -O1 -g -Wall -Wextra -Werror -I Sources/CFastVLM Tests/check.c -o .build/check/check \
    -L "$library" -lfastvlm -Wl,-rpath,"$library" -pthread
# The header is C++, too.
echo '#include <fastvlm.h>' | "$compiler" -x c++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only -I Sources/CFastVLM -
exec .build/check/check "$PWD/../Models/fastvlm-small" "$PWD/../Samples/single-banana.jpg"
