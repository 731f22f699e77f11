#!/bin/sh
# Trains a model as the embedded one was trained: its data, stages and settings in their order; about 21 hours on two
# cores, 105 GB of images. Started again it goes on where it was. Runs were stopped and changed on the way, so this is
# the order and the settings, not a replay to the bit.
#
#   sh embedded.sh                    the whole of it, into data*/ and runs/
#   SIZE=50 STEPS=4 sh embedded.sh    a trial of every command, a quarter of an hour; that model knows nothing
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-.venv/bin/python}
trial=${STEPS:+train.steps=$STEPS train.log_every=2 train.save_every=2}
export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=
of="SIZE=${SIZE:-} STEPS=${STEPS:-}"
mkdir -p runs
[ -f runs/of ] || echo "$of" > runs/of
[ "$(cat runs/of)" = "$of" ] || { echo "data*/ and runs/ are those of $(cat runs/of): remove them first" >&2; exit 1; }

paint() { $python -m synth.shards --split train --size "${SIZE:-2000}" "$@"; }
watched() { $python -m synth.shards --split watch --shards 1 --size 1000 "$@"; }
collect() { [ -d "$1" ] || $python -m synth.collect --watch data512 --out "$@"; }
stage() { # NAME OUT SETTING=VALUE ...
    name=$1 out=$2
    shift 2
    settings="--set out=$out --set data.size=${SIZE:-2000}"
    for setting in "$@" $trial; do settings="$settings --set $setting"; done
    # shellcheck disable=SC2086  # several settings
    $python train.py "configs/embedded/$name.toml" --processes 2 $settings
}
features() { # RUN FOLDER SHARDS SIDE AT
    for split in watch train; do
        [ $split = train ] && shards=$3 size=${SIZE:-2000} || shards=1 size=1000
        [ -f "$2/features-$split-$5.bin" ] ||
            $python store_features.py "$1" "$2" $split "$shards" --size "$size" --side "$4" --at "$5"
    done
}

[ -f data/tokenizer.json ] || $python -m synth.tokenizer --out data/tokenizer.json

# Pictures, shapes, words and groups at 256 pixels: the encoder behind throw-away heads, then the decoder on its
# features, then everything together.
watched --out data
paint --shards 30 --out data
stage 1-see runs/see train.steps=4250
features runs/see data 20 256 256
stage 2-talk runs/talk train.steps=10000
stage 3-all runs/all

# Both resolutions, documents and charts; what every visual token should say of its cell.
watched --side 512 --documents 0.2 --out data512
paint --side 512 --shards 12 --most 12 --documents 0.25 --out data512
paint --side 512 --shards 12 --seed 5000 --invented 0.3 --out data-hard \
    --families group=0.48 word=0.34 lines=0.08 mixed=0.05 shapes=0.05
paint --side 512 --shards 4 --seed 9000 --families crowd=0.7 group=0.3 --out data-crowd
paint --side 512 --shards 3 --seed 9100 --families single=0.6 pair=0.4 --out data-single
paint --side 512 --shards 2 --seed 9300 --least 0.72 --families single --out data-large
collect data-ask data-crowd data512 data-hard data-single data-large
stage 4-sizes runs/sizes train.steps=1700
stage 5-name runs/name train.steps=1300
stage 4-sizes runs/again train.steps=1200 start.checkpoint=runs/name
stage 5-name runs/name-2 train.steps=2100 start.checkpoint=runs/again data.path=data-ask data.shards=33 \
    train.rate=6e-4 train.hold=0.2 train.floor=0.05

# Counting by pointing: first on stored features, then on the images, the guide kept.
ask="data.path=data-ask data.watch.path=data-ask data.shards=33 model.decoder.num_key_value_heads=3"
# shellcheck disable=SC2086
stage 4-sizes runs/sizes-2 $ask start.checkpoint=runs/name-2 train.steps=960 train.rate=8e-4 train.hold=0.15
features runs/sizes-2 data-ask 33 512 256
features runs/sizes-2 data-ask 33 512 512
stage 6-ask runs/ask start.checkpoint=runs/sizes-2 data.shards=33 train.steps=7000
# shellcheck disable=SC2086
stage 4-sizes runs/sizes-3 $ask start.checkpoint=runs/ask data.questions=8 guide=1.0 naming=0.4 \
    train.steps=1600 train.rate=7e-4 train.hold=0.2

# A deeper decoder on more groups, twice, and the mean of both states.
paint --side 512 --shards 2 --seed 9500 --families group=0.8 lines=0.12 mixed=0.08 --out data-group
paint --side 512 --shards 2 --seed 9600 --families group=0.8 lines=0.12 mixed=0.08 --out data-group-2
collect data-more data-group data512 data-hard data-crowd data-group-2 data-group data-single data-large data-group-2
deeper="model.decoder.num_key_value_heads=3 model.decoder.num_hidden_layers=6 guide=1.0 naming=0.4 train.floor=0.0"
more="$deeper data.path=data-more data.watch.path=data-more data.shards=41"
# shellcheck disable=SC2086
stage 4-sizes runs/sizes-4 $more start.checkpoint=runs/sizes-3 train.steps=2500 train.hold=0.25
# shellcheck disable=SC2086
stage 4-sizes runs/sizes-5 $more start.checkpoint=runs/sizes-4 train.steps=3000 train.rate=7e-4
[ -d runs/mean ] || $python average.py runs/sizes-4=0.3 runs/sizes-5=0.7 --out runs/mean

# Large groups, and shards of documents and charts only.
paint --side 512 --shards 1 --seed 9700 --families group=0.85 crowd=0.15 --fewest 6 --most 10 --out data-many
paint --side 512 --shards 1 --seed 9701 --families group=0.85 crowd=0.15 --fewest 7 --most 12 --out data-many-2
paint --side 512 --shards 2 --seed 9800 --documents 1.0 --out data-sheets
collect data-last data-many data512 data-hard data-sheets data-group data-crowd data-many-2 data-single data-group-2 \
    data-large data-many data-many-2
# shellcheck disable=SC2086
stage 4-sizes runs/sizes-6 $deeper data.path=data-last data.watch.path=data-last data.shards=43 \
    start.checkpoint=runs/mean train.steps=2600 train.rate=5e-4 train.hold=0.15
[ -d runs/mean-2 ] || $python average.py runs/mean=0.5 runs/sizes-6=0.5 --out runs/mean-2

# Half of it documents and charts.
paint --side 512 --shards 6 --seed 31000 --documents 1.0 --out data-sheets-2
paint --side 512 --shards 3 --seed 32000 --most 12 --documents 0.25 --out data-both
paint --side 512 --shards 2 --seed 33000 --invented 0.3 --out data-words \
    --families group=0.3 word=0.5 lines=0.1 mixed=0.05 shapes=0.05
paint --side 512 --shards 1 --seed 34000 --families group=0.85 crowd=0.15 --fewest 5 --most 12 --out data-many-3
paint --side 512 --shards 1 --seed 38000 --families single=0.6 pair=0.4 --out data-single-2
collect data-half data-sheets-2 data-both data-words data-many-3 data-single-2
# shellcheck disable=SC2086
stage 4-sizes runs/sizes-7 $deeper data.path=data-half data.watch.path=data-half data.shards=13 data.questions=8 \
    'data.sides={"256":0.2,"512":0.8}' start.checkpoint=runs/mean-2 train.steps=1330 train.rate=6e-4 train.hold=0.15 \
    naming=0.3
[ -d runs/mean-3 ] || $python average.py runs/mean-2=0.5 runs/sizes-7=0.5 --out runs/mean-3

$python export.py runs/mean-3 runs/model --side 512
