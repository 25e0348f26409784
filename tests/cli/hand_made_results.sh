# Results files that are damaged or made by hand: every command answers with one line that names the file, code 2 (or,
# where all that is wrong are values, with what it found), within bounded memory, and never by a signal.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

python=${WINNOW_PYTHON:-python3}
"$python" -c 'import h5py' 2>/dev/null || skip "$python has no h5py"

make_sweep "$folder/sweep" '{"method": "magnitude", "sparsity": [0.4, 0.6]}'
"$winnow" run "$folder/sweep/sweep.json" -q -o "$folder/good.h5" || fail "the good file"
mkdir "$folder/bad"
"$python" "$(dirname "$0")/hand_made_results.py" "$folder/good.h5" "$folder/bad" >"$folder/cases" || fail "making files"
[ "$(wc -l <"$folder/cases")" -ge 120 ] || fail "only $(wc -l <"$folder/cases") cases"

# ask NAME WHAT COMMAND...: runs it with 1 GiB of address space more than it takes, 20 s of processor time.
ask() {
  local name=$1 what=$2 code=0
  shift 2
  # No shell noise when it is killed.
  { (
    ulimit -v 6000000
    ulimit -t 20
    exec timeout 180 "$winnow" "$@" </dev/null >"$folder/out" 2>"$folder/err"
  ) || code=$?; } 2>/dev/null
  case $what:$code in
  refused:2)
    [ "$(wc -l <"$folder/err")" = 1 ] || fail "$name: $1: not one line: $(head -n 3 "$folder/err" | tr '\n' '|')"
    grep -q "^winnow: .*$name.h5: " "$folder/err" || fail "$name: $1: does not name the file: $(cat "$folder/err")"
    ;;
  answered:[0123]) ;;
  *) fail "$name: $1: code $code: $(head -n 3 "$folder/err" | tr '\n' '|')" ;;
  esac
  ! grep -Eq 'HDF5-DIAG|Sanitizer|^  #0' "$folder/err" || fail "$name: $1: noise: $(head -n 3 "$folder/err" | tr '\n' '|')"
}

number=0
while read -r name what; do
  file=$folder/bad/$name.h5
  ask "$name" "$what" status "$file"
  ask "$name" "$what" show --json "$file"
  ask "$name" "$what" verify "$file"
  # All of the file is read before the folder, which is not empty, is refused: nothing is computed.
  ask "$name" "$what" export "$file" --point 1 --to "$folder" -q
  # Starting MPI takes longest; all files pass the same check.
  if [ $((number++ % 6)) = 0 ]; then
    ask "$name" "$what" run "$folder/sweep/sweep.json" -q -o "$file"
  fi
  rm -f "$file"
done <"$folder/cases"

# The good one is taken by all of them.
for command in status verify show; do
  expect "good: $command" 0 "$winnow" $command "$folder/good.h5"
done
finish
