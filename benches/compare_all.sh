#!/usr/bin/env bash
# Runs compare_pytorch.py for every row of the tables in docs/performance.md and leaves one JSON file a row in DIRECTORY.
#
# usage: benches/compare_all.sh DIRECTORY [OPTION...]      options go to compare_pytorch.py: --engine, --python, --precision, --rounds, --compile, --bf16, --avx2
#
# About 55 minutes on two cores with --rounds 5 --compile. A row whose file is there is not run again.
set -euo pipefail
[ $# -ge 1 ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
directory=$1
shift
options=("$@")
mkdir -p "$directory"

row() {
  local file=$directory/$1.json
  shift
  [ -s "$file" ] && return
  "$(dirname "$0")/compare_pytorch.py" "${options[@]}" --json "$@" >"$file.part"
  mv "$file.part" "$file"
}

row step-standard-32 --steps 2
row step-deep-32 --arch deep --steps 2
row step-residual-32 --arch residual --steps 2
row step-standard-64 --base 64 --batch 2 --steps 2
row step-standard-16-512 --base 16 --size 512 --steps 2
row infer-standard-32 --what infer --steps 5
row infer-standard-32-one --what infer --batch 1 --steps 15
row infer-deep-32 --what infer --arch deep --steps 5
row infer-residual-32 --what infer --arch residual --steps 5
row infer-standard-64 --what infer --base 64 --batch 2 --steps 4
row infer-standard-16-512 --what infer --base 16 --size 512 --steps 3
