#!/bin/sh
# include_budget.sh HEADER CEILING COMPILER...: fails when a source with that one include preprocesses to more lines.
set -eu
header=$1 ceiling=$2
shift 2
text=$(echo "#include <$header>" | "$@" -x c++ -E -P -)   # apart from counting: a failing compiler ends the script
lines=$(printf '%s\n' "$text" | wc -l)
echo "<$header>: $lines lines, at most $ceiling"
[ "$lines" -le "$ceiling" ]
