# levels.sh: the level files of a search: kept and taken by another run, as large as plan says, made again where they
# were left, on each node where nodes have a folder each; and scratch that is full or not writable.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
make_sweep "$folder/l" '{"method": "sparsegpt", "sparsity": 0.6, "allocation": "fast", "propagation": "dense",
     "calibration": "general"}'
sweep=$folder/l/sweep.json
# edit TO PYTHON: the sweep file changed by statements on `s`, with `search` its search.
edit() {
  python3 -c "import json, sys; s = json.load(open(sys.argv[1])); search = s.setdefault('search', {}).setdefault('fast', {})
$2
json.dump(s, open(sys.argv[2], 'w'))" "$sweep" "$1"
}
edit "$sweep" "search.update(on='general', generations=6, offspring=4, initial_tokens=32, survivors=[2, 1],
    tokens=[32, 64])
s['evaluate'] = {'perplexity': {'windows': s['evaluate']['perplexity']['windows']}}"
scratch=$folder/scratch
mkdir "$scratch"

# same_run WHAT SWEEP FILE: all is done, with the digest of an undisturbed run.
same_run() {
  expect "$1" 0 "$winnow" run "$2" -o "$3"
  same "digest: $1" "$(digest_of "$3")" "$digest"
}
# files FOLDER: the level files with their inodes: whether they were made again.
files() { (cd "$1" && ls -i levels-*); }

expect "an undisturbed run" 0 "$winnow" run "$sweep" -o "$folder/whole.h5"
digest=$(digest_of "$folder/whole.h5")
has "an undisturbed run" '^winnow: levels of sparsegpt .*: [0-9.]+ MB, [0-9.]+ bytes per weight and level, in ' "$folder/err"
same "what an undisturbed run leaves" "$(cd "$folder" && echo whole.h5*)" whole.h5

# ---- kept, and as large as plan says ----
expect "levels that are kept" 0 "$winnow" run "$sweep" -o "$folder/kept.h5" --scratch "$scratch" --keep-levels
same "digest with levels that are kept" "$(digest_of "$folder/kept.h5")" "$digest"
before=$(files "$scratch/winnow.levels")
same "level files" "$(echo "$before" | wc -l)" 6
expect "plan" 0 "$winnow" plan "$sweep" --json
same "level files and plan" "$(python3 -c 'import json, os, sys
plan = json.load(open(sys.argv[1]))["level_bytes"]
have = sum(os.path.getsize(os.path.join(sys.argv[2], name)) for name in os.listdir(sys.argv[2]))
print(0.8 * plan <= have <= plan)' "$folder/out" "$scratch/winnow.levels")" True
expect "plan in words" 0 "$winnow" plan "$sweep"
has "plan in words" 'for the levels of the largest search, [0-9.]+ bytes per weight and level' "$folder/out"

# Another sweep has the same levels; one with another calibration set has others.
edit "$folder/l/longer.json" "search['generations'] = 8"
expect "a run that takes them" 0 "$winnow" run "$folder/l/longer.json" -o "$folder/longer.h5" --scratch "$scratch" --keep-levels
same "level files of both" "$(files "$scratch/winnow.levels")" "$before"
edit "$folder/l/other.json" "s['calibration']['general']['samples'] = 7"
expect "a run of other levels" 0 "$winnow" run "$folder/l/other.json" -o "$folder/other.h5" --scratch "$scratch" --keep-levels
same "level files of three" "$(files "$scratch/winnow.levels" | wc -l)" 12

# ---- two searches with the same levels ----
edit "$folder/l/both.json" "s['grid'][0]['allocation'] = ['dynamic_programming', 'fast']"
expect "two searches" 0 "$winnow" run "$folder/l/both.json" -o "$folder/both.h5"
same "levels that are made once" "$(grep -c '^winnow: levels of ' "$folder/err") $(grep -c 'which were there' "$folder/err")" "2 1"
same "what two searches leave" "$(cd "$folder" && echo both.h5*)" both.h5

# ---- levels behind quantized blocks, on any ranks ----
edit "$folder/l/behind.json" "s['grid'][0] = {'method': 'gptq', 'bits': 2.5, 'allocation': 'fast', 'calibration': 'general'}
search['calibration_bits'] = 3"
expect "levels behind quantized blocks" 0 "$winnow" run "$folder/l/behind.json" -o "$folder/behind.h5"
expect "the same, two ranks" 0 ranks 2 "$winnow" run "$folder/l/behind.json" -o "$folder/behind2.h5"
same "ranks, behind quantized blocks" "$(digest_of "$folder/behind2.h5")" "$(digest_of "$folder/behind.h5")"
edit "$folder/l/awq.json" "s['grid'][0] = {'method': 'awq', 'bits': 2.5, 'allocation': 'fast', 'calibration': 'general'}
search['calibration_bits'] = 3"
expect "scales behind dense blocks" 2 "$winnow" plan "$folder/l/awq.json"
has "scales behind dense blocks" 'search.fast: key "calibration_bits": .* searches its scales' "$folder/err"

# ---- scratch that is not writable, or full ----
expect "scratch that is no folder" 1 "$winnow" run "$sweep" -o "$folder/none.h5" --scratch "$sweep"
has "scratch that is no folder" 'the levels of block 0 cannot be written: Not a directory; scratch needs' "$folder/err"
expect "verify without scratch" 0 "$winnow" verify "$folder/none.h5"
same_run "the same with scratch" "$sweep" "$folder/none.h5"
mkdir "$folder/small"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=3m none "$folder/small" 2>/dev/null; then
  cleanup() { umount "$folder/small"; rm -rf "$folder"; }
  expect "scratch that is full" 1 "$winnow" run "$sweep" -o "$folder/full.h5" --scratch "$folder/small"
  has "scratch that is full" 'the levels of block [0-5] cannot be written: No space left on device' "$folder/err"
  same "lines of scratch that is full" "$(grep -c 'No space' "$folder/err")" 1
  expect "verify with full scratch" 0 "$winnow" verify "$folder/full.h5"
  same_run "the same with room" "$sweep" "$folder/full.h5"
fi

# ---- a stop while levels are made ----
edit "$folder/l/slow.json" "s['calibration']['general'].update(samples=16, length=128); search['levels'] = 16"
expect "an undisturbed slow run" 0 "$winnow" run "$folder/l/slow.json" -o "$folder/slow.h5"
digest=$(digest_of "$folder/slow.h5")
for signal in TERM KILL; do
  file=$folder/$signal.h5
  end_in_levels() {
    rm -rf "$file"*
    start_ranks 1 "$winnow" run "$folder/l/slow.json" -o "$file"
    until ls "$file".scratch.levels/levels-*-1 >/dev/null 2>&1 || has_ended; do sleep 0.005; done
    pkill "-$signal" -P "$started"
    wait_started
    before=$(cd "$file.scratch.levels" 2>/dev/null && ls -i | grep -v partial)
    count=$(echo "$before" | wc -l)
    [ "$count" -lt 6 ] || code=0 # it came too late: once more
  }
  caught end_in_levels
  { [ "$count" -ge 2 ] && [ "$count" -lt 6 ]; } || fail "$signal: $count blocks were made: nothing was tested"
  [ $signal != TERM ] || same "exit code after SIGTERM" "$code" 75
  [ $signal != TERM ] || has "SIGTERM" 'stopped while levels were made; finished blocks are on scratch' "$folder/log"
  start_ranks 1 "$winnow" run "$folder/l/slow.json" -o "$file"
  wait_log '^winnow: levels of '
  after=$(cd "$file.scratch.levels" 2>/dev/null && ls -i)
  for entry in $(echo "$before" | awk '{print $1}'); do
    [ -z "$after" ] || echo "$after" | grep -q "$entry " || fail "$signal: a block was made again"
  done
  wait_started
  same "digest after SIG$signal" "$(digest_of "$file")" "$digest"
  same "what is left after SIG$signal" "$(cd "$folder" && echo $signal.h5*)" "$signal.h5"
done

# ---- nodes that have a folder each: /dev/shm of two hosts ----
hosts=$shared/tools/two_hosts.sh
if [ -r "$hosts" ] && [ "$(id -u)" = 0 ] && bash "$hosts" -- true >/dev/null 2>&1; then
  unset OMPI_MCA_btl_vader_backing_directory OMPI_MCA_rmaps_base_oversubscribe
  digest=$(digest_of "$folder/whole.h5")
  for where in /dev/shm "$scratch"; do
    file=$folder/hosts$(basename "$where").h5
    expect "two hosts, $where" 0 timeout -k 5 180 bash "$hosts" -- "$winnow" run "$sweep" -o "$file" --scratch "$where"
    same "digest of two hosts, $where" "$(digest_of "$file")" "$digest"
    same "$where: a folder of each node" "$(cat "$folder/out" "$folder/err" | grep -c 'bytes per weight.* of each node')" \
      "$([ "$where" = /dev/shm ] && echo 1 || echo 0)"
  done
fi
finish
