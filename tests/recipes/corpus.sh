#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every file of SparseML's repository that mentions a modifier binds to a network, or is refused with a place and a reason.
# Usage: SPARSEML_CHECKOUT=FOLDER corpus.sh SPARSIFY. Without the checkout nothing is tried, and the exit code is 4: skipped.
set -u
sparsify=$1 model=resnet50
checkout=${SPARSEML_CHECKOUT:-}
if [ -z "$checkout" ]; then
  echo "skipped: SPARSEML_CHECKOUT names no checkout of SparseML's repository"
  exit 4
fi
[ -d "$checkout" ] || { echo "SPARSEML_CHECKOUT: no folder '$checkout'" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
grep -rlE '[A-Za-z]Modifier\b' "$checkout" --include='*.yaml' --include='*.yml' --include='*.md' --include='*.json' |
  LC_ALL=C sort >"$scratch/files"

bind=0 refused=0 without=0 wrong=0
while IFS= read -r file; do
  "$sparsify" recipe check --model $model "$file" >"$scratch/out" 2>"$scratch/err" </dev/null
  code=$?
  if [ $code -eq 0 ] && grep -q "binds to $model" "$scratch/out"; then
    bind=$((bind + 1))
  elif [ $code -eq 2 ] && grep -qF "$file: no recipe in this Markdown file" "$scratch/err"; then
    without=$((without + 1))
  elif [ $code -eq 2 ] && grep -v '^warning: ' "$scratch/err" | grep -F "$file:" | grep -qE ':[0-9]+:[0-9]+: .+'; then
    refused=$((refused + 1))
  else
    wrong=$((wrong + 1))
    echo "$file: ended with $code, and names no place and reason:" >&2
    head -5 "$scratch/err" >&2
  fi
done <"$scratch/files"
echo "$(wc -l <"$scratch/files") files that mention a modifier: $bind bind to $model, $refused refused with place and reason," \
  "$without documentation without a recipe, $wrong otherwise"
[ $wrong -eq 0 ] && [ -s "$scratch/files" ]
