#!/usr/bin/env bash
# demo.sh DIR: trains a dense network and a pruned, quantized one on generated data, and prints both side by side.
# Called by ./dev demo inside the toolchain; needs `sparsify` on the PATH and nothing else.
set -euo pipefail

if [ $# -lt 1 ]; then
  echo "usage: demo.sh DIR [options of 'sparsify train' for both runs]" >&2
  exit 2
fi
dir=$1
shift

# Only folders that an earlier demo made are replaced.
for run in dense pruned_quant; do
  [ -e "$dir/$run" ] || continue
  if [ ! -f "$dir/.sparsify-demo" ]; then
    echo "demo.sh: $dir/$run exists and was not made by a demo; give another folder" >&2
    exit 2
  fi
  rm -rf "${dir:?}/$run"
done
mkdir -p "$dir"
touch "$dir/.sparsify-demo"

echo "== 1 of 2: a dense network, the baseline" >&2
sparsify train --recipe dense.yaml --output "$dir/dense" "$@" >/dev/null
echo "== 2 of 2: the same network pruned and quantized while it trains" >&2
sparsify train --recipe pruned_quant.yaml --output "$dir/pruned_quant" --baseline "$dir/dense" "$@"
echo "report: $dir/pruned_quant/report.html"
