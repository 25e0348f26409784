#!/usr/bin/env bash
# Many nearly free points on many ranks of one machine: wall time, the digest of 2 ranks, and what a start costs.
#   tests/bench/bench_many_points.sh WINNOW_BINARY [POINTS [RANKS]]        default 10000 64; some minutes
# A start is a run on a finished file: nothing is computed, so its seconds and the most memory of a rank (resident, kB)
# are those of start and end. They are printed for POINTS / 100, POINTS / 10 and POINTS.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
winnow=${1:?usage: bench_many_points.sh WINNOW_BINARY [POINTS [RANKS]]}
points=${2:-10000} most_ranks=${3:-64}
set -- "$winnow" "$top"
. "$top/tests/cli/lib.sh"
set +u

seconds() { # seconds COMMAND...
  local start=$EPOCHREALTIME
  "$@" || { echo "failed: $*" >&2; exit 1; }
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.1f", b - a}'
}
run() { # run RANKS SWEEP FILE
  mpirun -n "$1" --bind-to none "$winnow" run "$2/sweep.json" -o "$3" --quiet </dev/null
}
start() { # start RANKS SWEEP FILE: the same, and the memory of each rank
  mpirun -n "$1" --bind-to none /usr/bin/time -a -o "$folder/memory" -f %M "$winnow" run "$2/sweep.json" -o "$3" --quiet \
    </dev/null
}

for count in $((points / 100)) $((points / 10)) "$points"; do
  make_many "$folder/$count" "$count"
  wall=$(seconds run "$most_ranks" "$folder/$count" "$folder/$count.h5")
  rm -f "$folder/memory"
  again=$(seconds start "$most_ranks" "$folder/$count" "$folder/$count.h5")
  echo "$count points, $most_ranks ranks: $wall s; start alone $again s, $(sort -n "$folder/memory" | tail -n 1) kB per rank"
done
wall=$(seconds run 2 "$folder/$points" "$folder/two.h5")
echo "$points points, 2 ranks: $wall s"
one=$(digest_of "$folder/$points.h5") two=$(digest_of "$folder/two.h5")
[ "$one" = "$two" ] || { echo "the digests differ: $one $two" >&2; exit 1; }
echo "digest $one, the same with $most_ranks and 2 ranks"
