#!/usr/bin/env bash
# install.sh WHAT PACKAGE...: installs Debian or Ubuntu packages and says so. WHAT tells what to install by hand where
# there is no apt-get.
set -euo pipefail

what=$1
shift
[ $# -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "setup: please install $what" >&2
    exit 1
fi
echo "setup: installing $*"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq "$@" >/dev/null
