#!/bin/sh
# Runs a training script with a memory allocator that keeps its pages, detached from the shell.
# usage: ./run.sh NAME SCRIPT.py ARGUMENTS...   (log in runs/NAME.log)
name=$1
shift
mkdir -p runs
export GOMP_SPINCOUNT=0 GLIBC_TUNABLES=glibc.malloc.hugetlb=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000
exec setsid nohup "${PYTHON:-python3}" -u "$@" > "runs/$name.log" 2>&1 < /dev/null &
