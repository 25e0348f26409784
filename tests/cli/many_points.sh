#!/usr/bin/env bash
# Many ranks and many cheap points on few cores: 16 ranks and 500 points give the digest of 2 ranks, and all 16 computed.
#   many_points.sh WINNOW_BINARY SOURCE_DIR
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

make_many "$folder/many" 500
expect "2 ranks" 0 ranks 2 "$winnow" run "$folder/many/sweep.json" -o "$folder/two.h5" --quiet
expect "16 ranks" 0 ranks 16 "$winnow" run "$folder/many/sweep.json" -o "$folder/many.h5" --quiet
"$winnow" show --json "$folder/many.h5" >"$folder/rows.json"
same "ranks that computed" "$(grep -o '"rank":[[:space:]]*[0-9]*' "$folder/rows.json" | sort -u | wc -l)" 16
same "digests of 2 and 16 ranks" "$(digest_of "$folder/two.h5")" "$(digest_of "$folder/many.h5")"
finish
