#!/bin/sh
# Debian 12 packages that the training images are drawn with: pictures, typefaces, a word list; g++ for fast_cpu.
set -eu
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
    g++ fonts-noto-color-emoji fonts-symbola wamerican \
    fonts-dejavu fonts-liberation fonts-liberation2 fonts-freefont-ttf fonts-lato fonts-open-sans fonts-roboto \
    fonts-cantarell fonts-comfortaa fonts-quicksand fonts-crosextra-carlito fonts-crosextra-caladea \
    fonts-linuxlibertine fonts-cabin fonts-inter fonts-ebgaramond fonts-comic-neue fonts-dkg-handwriting \
    fonts-breip fonts-humor-sans fonts-dancingscript fonts-ecolier-court fonts-rufscript fonts-femkeklaver \
    fonts-courier-prime fonts-hack fonts-inconsolata fonts-junction fonts-jura fonts-play fonts-roboto-slab \
    fonts-averia-sans-gwf fonts-averia-serif-gwf fonts-clear-sans fonts-lobster fonts-lobstertwo fonts-kaushanscript
