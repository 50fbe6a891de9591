#!/bin/sh
# install_and_move.sh CMAKE BUILD FIRST_PREFIX PREFIX CHECKOUT: installs to FIRST_PREFIX and moves it to PREFIX; fails when a
# file of the package names the checkout, the build folder or the prefix it was installed to.
set -eu
cmake=$1 build=$2 first=$3 prefix=$4 checkout=$5
rm -rf "$first" "$prefix"
"$cmake" --install "$build" --prefix "$first" >/dev/null
mv "$first" "$prefix"
if grep -rIlF -e "$checkout" -e "$build" -e "$first" "$prefix"; then
  echo "the files above name a folder of this machine" >&2
  exit 1
fi
if grep -rIhE '/lib[a-z0-9_]+\.(so|a)' "$prefix" --include='*.cmake' | grep -vF '_IMPORT_PREFIX'; then
  echo "the lines above of the CMake package name libraries by absolute path" >&2
  exit 1
fi
for file in include/sparsify/modifiers.hpp bin/sparsify share/sparsify/recipes/pruned_quant.yaml; do
  [ -f "$prefix/$file" ] || { echo "$file was not installed" >&2; exit 1; }
done
