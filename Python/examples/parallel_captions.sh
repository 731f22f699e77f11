#!/usr/bin/env bash
# Answers about many images on one machine, with GNU parallel: shards of `fastvlm batch`, some at a time. A shard that is
# killed begins again where it was, up to five times.
#
#   parallel_captions.sh SHARDS AT_ONCE QUESTIONS.jsonl FOLDER [options of fastvlm batch]
#   parallel_captions.sh 64 4 questions.jsonl answers --threads 2 --model apple/FastVLM-0.5B
#
# Started again, it goes on with all shards. At the end: cat answers/*-of-64.jsonl > answers.jsonl
set -uo pipefail
if (($# < 4)); then
    sed -n '5,6s/^# *//p' "$0" >&2
    exit 64
fi
export FASTVLM=${FASTVLM:-fastvlm} shards=$1 questions=$3 folder=$4
at_once=$2
shift 4
mkdir -p "$folder"
shard() {
    shard=$1
    shift
    "$FASTVLM" batch "$questions" --output "$folder/$shard-of-$shards.jsonl" --shard "$shard/$shards" --resume "$@"
    status=$?
    # 1: some items have no answer. Their records say why, and another run would say the same.
    ((status == 1)) || return $status
}
export -f shard
words=
(($#)) && words=$(printf '%q ' "$@")
seq "$shards" | SHELL=$BASH parallel --jobs "$at_once" --retries 6 shard {} "$words"
