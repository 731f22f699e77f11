#!/usr/bin/env bash
# Makes sure that what the build needs is there: a Swift 6.1+ toolchain and the image libraries.
# Installs missing Debian or Ubuntu packages by itself and says so; changes nothing when all is there.
set -euo pipefail

if ! command -v swift >/dev/null; then
    echo "setup: Swift 6.1 or later is not installed; see https://www.swift.org/install/linux" >&2
    exit 1
fi

missing=()
need() { # header, Debian package
    [ -n "$(find /usr/include /usr/local/include -path "*/$1" -print -quit 2>/dev/null)" ] || missing+=("$2")
}
# On both systems this name stands for libjpeg-turbo, whose own packages are called differently.
need jpeglib.h libjpeg-dev
need png.h libpng-dev
need webp/demux.h libwebp-dev
need lcms2.h liblcms2-dev
need zlib.h zlib1g-dev
# For the traits GIF, TIFF and HEIF.
need gif_lib.h libgif-dev
need tiffio.h libtiff-dev
need libheif/heif.h libheif-dev
need libde265/de265.h libde265-dev
need dav1d/dav1d.h libdav1d-dev
# For the command line.
need histedit.h libedit-dev
need curl/curl.h libcurl4-openssl-dev
need openssl/evp.h libssl-dev
need archive.h libarchive-dev
command -v pkg-config >/dev/null || missing+=(pkg-config)

"$(dirname "$0")/install.sh" "the development files of libjpeg, libpng, libwebp, Little CMS, zlib, giflib, libtiff, libheif, libde265, dav1d, libedit, libcurl, OpenSSL and libarchive, and pkg-config" "${missing[@]}"
