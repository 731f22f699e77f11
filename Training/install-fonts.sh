#!/bin/sh
# Debian 12 packages that the training images are drawn with: pictures, typefaces, and a word list.
set -eu
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
    fonts-noto-color-emoji wamerican \
    fonts-dejavu fonts-liberation2 fonts-freefont-ttf fonts-lato fonts-open-sans fonts-roboto \
    fonts-cantarell fonts-comfortaa fonts-quicksand fonts-crosextra-carlito fonts-crosextra-caladea \
    fonts-linuxlibertine fonts-cabin fonts-inter fonts-ebgaramond
