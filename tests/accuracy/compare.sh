#!/usr/bin/env bash
# Trains a dense baseline and recipes with several seeds on the same budget, and prints paired differences.
# Finished runs are kept, interrupted ones resumed: call it again to go on. A run that fails is left out of the table.
#
#   ./dev run tests/accuracy/compare.sh OUTPUT "SEEDS" DENSE RECIPE... [-- FLAGS OF sparsify train]
#
# RECIPE_FLAGS: more flags for the recipes, not for the baseline.
set -euo pipefail

[ $# -ge 4 ] || { sed -n '2,8p' "$0" | cut -c3- >&2; exit 2; }
output=$1 seeds=$2 dense=$3
shift 3
recipes=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do recipes+=("$1"); shift; done
[ $# -gt 0 ] && shift

train() {   # train RUN RECIPE FLAGS...: unless the run has finished
  local run=$1 recipe=$2
  shift 2
  [ -f "$run/summary.json" ] && return
  local resume=()
  [ -f "$run/checkpoints/last.safetensors" ] && resume=(--resume) || rm -rf "$run"
  echo "== $run"
  local code=0
  sparsify train --recipe "$recipe" --output "$run" "${resume[@]}" "$@" || code=$?
  [ $code -ne 130 ] || exit 130   # interrupted
  [ $code -eq 0 ] || failed+=("$run")
}
failed=()

name() { basename "$1" .yaml; }
final() { tr -d ' \n' <"$1/summary.json" | grep -oE '"final":[0-9.]+' | head -n 1 | cut -d: -f2; }
prunable() { tr -d ' \n' <"$1/summary.json" | grep -oE '"prunable":[0-9.]+' | head -n 1 | cut -d: -f2; }
minutes() { tr -d ' \n' <"$1/summary.json" | grep -oE '"seconds":[0-9.]+' | head -n 1 | cut -d: -f2 | awk '{printf "%.1f", $1 / 60}'; }
engine() {  # engine RUN KEY: a number of the parity with ONNX Runtime, "-" for a run that was not exported
  local number
  number=$(tr -d ' \n' <"$1/summary.json" | grep -oE '"parity":\{.*' | grep -oE "\"$2\":[0-9.]+" | head -n 1 | cut -d: -f2) || true
  echo "${number:--}"
}

for seed in $seeds; do
  train "$output/$(name "$dense")-$seed" "$dense" --seed "$seed" "$@"
  for recipe in "${recipes[@]}"; do
    train "$output/$(name "$recipe")-$seed" "$recipe" --seed "$seed" --baseline "$output/$(name "$dense")-$seed" \
      ${RECIPE_FLAGS:-} "$@"
  done
done

printf '\n%-24s %5s %9s %9s %9s %8s %9s %10s\n' run seed dense final sparsity minutes ORT agreement
for recipe in "${recipes[@]}"; do
  for seed in $seeds; do
    run=$output/$(name "$recipe")-$seed
    [ -f "$run/summary.json" ] || continue
    echo "$(name "$recipe") $seed $(final "$output/$(name "$dense")-$seed") $(final "$run") $(prunable "$run")" \
         "$(minutes "$run") $(engine "$run" final) $(engine "$run" agreement)"
  done
done | awk '
  function percent(part) { return part == "-" ? part : sprintf("%.2f%%", 100 * part) }
  # Two-sided 95 % quantiles of Student'"'"'s t for 1 to 9 degrees of freedom.
  BEGIN { split("12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262", t) }
  {
    printf "%-24s %5s %8.2f%% %8.2f%% %8.2f%% %8s %9s %10s\n", $1, $2, 100 * $3, 100 * $4, 100 * $5, $6, percent($7), percent($8)
    if (!($1 in n)) order[++kinds] = $1
    d = 100 * ($4 - $3); n[$1]++; sum[$1] += d; squares[$1] += d * d
  }
  END {
    print ""
    for (k = 1; k <= kinds; k++) {
      r = order[k]; mean = sum[r] / n[r]
      if (n[r] < 2) { printf "%-24s %+.2f points (one seed: no interval)\n", r, mean; continue }
      deviation = sqrt((squares[r] - n[r] * mean * mean) / (n[r] - 1))
      half = t[n[r] - 1] * deviation / sqrt(n[r])
      printf "%-24s %+.2f points against dense, paired 95 %% interval [%+.2f, %+.2f], %d seeds\n", r, mean, mean - half, mean + half, n[r]
    }
  }'
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}" >&2; exit 1; }
