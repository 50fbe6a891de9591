#!/usr/bin/env bash
# Trains every method that prunes single weights to a chosen sparsity at 80, 90 and 95 % on the same budget, with a
# dense baseline, and prints paired differences for each sparsity. Structured and N:M pruning are not among them: whole
# channels at 90 % leave another network, and N:M has one sparsity. Finished runs are kept, interrupted ones resumed:
# call it again to go on.
#
#   ./dev run tests/accuracy/compare_methods.sh OUTPUT "SEEDS" [-- FLAGS OF sparsify train]
#   SPARSITIES="0.9" METHODS="gmp rigl" ./dev run tests/accuracy/compare_methods.sh ...
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,8p' "$0" | cut -c3- >&2; exit 2; }
output=$1 seeds=$2
shift 2
[ $# -gt 0 ] && [ "$1" = -- ] && shift
here=$(cd "$(dirname "$0")" && pwd)

for sparsity in ${SPARSITIES:-0.8 0.9 0.95}; do
  recipes=()
  for method in ${METHODS:-gmp global acdc movement obs mfac rigl topkast powerpropagation}; do
    recipes+=("$here/methods/$method.yaml")
  done
  # The dense runs of the first sparsity serve all.
  mkdir -p "$output/$sparsity"
  first=${first:-$sparsity}
  for seed in $seeds; do
    [ "$sparsity" = "$first" ] || [ -e "$output/$sparsity/dense-$seed" ] ||
      ln -s "../$first/dense-$seed" "$output/$sparsity/dense-$seed"
  done
  echo "=== $sparsity"
  RECIPE_FLAGS="--recipe-arg sparsity=$sparsity" \
    "$here/compare.sh" "$output/$sparsity" "$seeds" "$here/methods/dense.yaml" "${recipes[@]}" -- "$@" || code=$?
  [ ${code:-0} -ne 130 ] || exit 130
done
exit ${code:-0}
