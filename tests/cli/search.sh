# search.sh: what a search finds is the same on any number of ranks and threads, and after kills in its generations.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

make_sweep "$folder/s" '{"method": "drop", "units": ["block", "branch"], "sparsity": 0.34, "allocation": "fast"},
    {"method": "drop", "units": "block", "sparsity": 0.34, "score": "kl", "calibration": "general"}'
sweep=$folder/s/sweep.json
# edit TO PYTHON: the sweep file changed by statements on `s`, with `search` its search.
edit() {
  python3 -c "import json, sys; s = json.load(open(sys.argv[1])); search = s.setdefault('search', {}).setdefault('fast', {})
$2
json.dump(s, open(sys.argv[2], 'w'))" "$sweep" "$1"
}
edit "$sweep" "search.update(on='general', generations=25, offspring=4, initial=4, initial_tokens=32, survivors=[2, 1],
    tokens=[32, 64]); s['evaluate'] = {'perplexity': {'windows': s['evaluate']['perplexity']['windows']}}"

# column FILE NAME: the values of a column of points, each once.
column() {
  "$winnow" show "$1" --json | python3 -c "import json, sys
print(*sorted({str(point['$2']) for point in json.load(sys.stdin)['points']}))"
}
# generations FILE: whole generations of each of its searches.
generations() {
  "$winnow" show "$1" --search fast --json 2>/dev/null |
    python3 -c 'import json, sys; print(*(len(search["best"]) for search in json.load(sys.stdin)))' 2>/dev/null
}

# ---- ranks and threads ----
expect "one rank" 0 "$winnow" run "$sweep" -o "$folder/one.h5" -q
digest=$(digest_of "$folder/one.h5")
same "generations" "$(generations "$folder/one.h5")" "26 26"
expect "two ranks" 0 ranks 2 "$winnow" run "$sweep" -o "$folder/two.h5" -q
same "ranks of one, of two" "$(column "$folder/one.h5" rank), $(column "$folder/two.h5" rank)" "0, 0 1"
same "digest on two ranks" "$(digest_of "$folder/two.h5")" "$digest"
expect "two threads" 0 env OMP_NUM_THREADS=2 "$winnow" run "$sweep" -o "$folder/threads.h5" -q
same "threads" "$(column "$folder/one.h5" threads), $(column "$folder/threads.h5" threads)" "1, 2"
same "digest on two threads" "$(digest_of "$folder/threads.h5")" "$digest"
edit "$folder/s/seed.json" "search['seed'] = 1"
expect "another seed" 0 "$winnow" run "$folder/s/seed.json" -o "$folder/seed.h5" -q
[ "$(digest_of "$folder/seed.h5")" != "$digest" ] || fail "another seed has the same digest"

# ---- what it shows ----
expect "show" 0 "$winnow" show "$folder/one.h5" --search fast
has "show" '^drop sparsity=0.34 units=branch allocation=fast$' "$folder/out"
same "blocks that are left out" "$("$winnow" show "$folder/one.h5" --search fast --json |
  python3 -c 'import json, sys; print(*(sum(sum(x or 0 for x in row) for row in s["levels"]) for s in json.load(sys.stdin)))')" "2 4"
expect "show of no search" 2 "$winnow" show "$folder/one.h5" --search slow
has "show of no search" 'one.h5: has no search "slow"; there is "fast"' "$folder/err"
expect "plan" 0 "$winnow" plan "$sweep"
# 4 initial candidates on 32 tokens, 25 generations of 4 on 32 tokens and 3 on 64, of two points
has "plan" "searches .* $((2 * (4 * 32 + 25 * (4 * 32 + 3 * 64)))) candidate tokens" "$folder/out"

# ---- kills and stops between generations ----
edit "$folder/s/long.json" "search['generations'] = 150"
long=$folder/s/long.json
expect "an undisturbed long search" 0 "$winnow" run "$long" -o "$folder/whole.h5" -q
digest=$(digest_of "$folder/whole.h5")
continued=0
has_generations() { # FILE: three of the first search
  read -r first _ < <(generations "$1") || first=0
  [ "${first:-0}" -ge 3 ] || has_ended
}
end_in_search() { # SIGNAL SWEEP FILE
  rm -rf "$3"*
  start_ranks 2 "$winnow" run "$2" -o "$3"
  wait_until 120 has_generations "$3"
  pkill "-$1" -P "$started"
  wait_started
}
for trial in KILL TERM KILL; do
  file=$folder/$trial$continued.h5
  caught end_in_search $trial "$long" "$file"
  [ "$trial" = KILL ] || same "exit code after SIGTERM" "$code" 75
  expect "$trial: verify" 0 "$winnow" verify "$file"
  read -r first second < <(generations "$file")
  expect "$trial: the same command again" 0 ranks $((1 + continued % 2)) "$winnow" run "$long" -o "$file"
  if [ "$first" -lt 151 ] || [ "$second" -gt 0 ] && [ "$second" -lt 151 ]; then
    [ "$first" -lt 151 ] && last=$first || last=$second
    has "$trial: behind which generation" "goes on: search fast, behind generation $((last - 1)) of 150" "$folder/err"
    continued=$((continued + 1))
  fi
  same "$trial: digest" "$(digest_of "$file")" "$digest"
done
[ "$continued" -ge 2 ] || fail "only $continued searches were stopped in their generations: nothing was tested"

# ---- growth ----
edit "$folder/s/grown.json" "s['grid'][0]['sparsity'] = [0.34, 0.5]"
expect "a fresh run of the grown sweep" 0 ranks 2 "$winnow" run "$folder/s/grown.json" -o "$folder/fresh.h5" -q
expect "growing in place" 0 "$winnow" run "$folder/s/grown.json" -o "$folder/two.h5"
same "searches that were run" "$(grep -c 'generation 25 of 25' "$folder/err")" 2
same "digest of the grown file" "$(digest_of "$folder/two.h5")" "$(digest_of "$folder/fresh.h5")"
expect "--from with another seed" 0 "$winnow" run "$folder/s/seed.json" -o "$folder/from.h5" --from "$folder/one.h5"
same "searches of another seed" "$(grep -c 'generation 25 of 25' "$folder/err")" 2
same "digest of another seed" "$(digest_of "$folder/from.h5")" "$(digest_of "$folder/seed.h5")"

# ---- for a task ----
edit "$folder/s/measured.json" "s['evaluate']['tasks'] = ['data/facts.jsonl']"
sweep=$folder/s/measured.json
edit "$folder/s/task.json" "answers = s['search']['answers'] = dict(search, fitness='facts', tokens=[16, 40])
del answers['on']
s['grid'].append(dict(s['grid'][0], units='branch', allocation='answers'))"
expect "a search for a task" 0 "$winnow" run "$folder/s/task.json" -o "$folder/task.h5"
has "its progress" 'search answers (.*): generation 25 of 25, facts [0-9.]*' "$folder/err"
digest=$(digest_of "$folder/task.h5")
expect "a search for a task on two ranks" 0 ranks 2 "$winnow" run "$folder/s/task.json" -o "$folder/task2.h5" -q
same "digest of a search for a task on two ranks" "$(digest_of "$folder/task2.h5")" "$digest"
expect "a sweep without it" 0 "$winnow" run "$sweep" -o "$folder/grown_task.h5" -q
expect "growing by a search for a task" 0 "$winnow" run "$folder/s/task.json" -o "$folder/grown_task.h5"
same "points of that run" "$(grep -c ' points: [0-9]* .* on rank' "$folder/err")" 1
same "digest of the grown file" "$(digest_of "$folder/grown_task.h5")" "$digest"
sweep=$folder/s/task.json
edit "$folder/s/all.json" "s['search']['answers']['items'] = 1"
expect "a search that sees all items" 0 "$winnow" plan "$folder/s/all.json"
has "a search that sees all items" 'search answers: sees all 12 items of facts' "$folder/err"

# ---- levels of sparsity and bits ----
make_sweep "$folder/l" '{"method": "wanda", "sparsity": 0.6, "allocation": ["uniform", "dynamic_programming", "fast"],
     "propagation": "dense", "calibration": "general"},
    {"method": "gptq", "bits": 3, "group": 128, "allocation": "fast", "calibration": "general"}'
sweep=$folder/l/sweep.json
edit "$sweep" "search.update(on='general', generations=30, offspring=4, initial_tokens=32, survivors=[2, 1],
    tokens=[32, 64])
s['evaluate'] = {'perplexity': {'windows': s['evaluate']['perplexity']['windows']}}"
expect "levels on one rank" 0 "$winnow" run "$sweep" -o "$folder/levels.h5" -q
digest=$(digest_of "$folder/levels.h5")
same "budgets and levels" "$("$winnow" show "$folder/levels.h5" --search fast --json | python3 -c 'import json, sys
for search in json.load(sys.stdin):
    levels = [x for row in search["levels"] for x in row if x is not None]
    print(sum(levels), len(set(levels)) > 1, end="; ")')" "0 True; 126 True; "
same "allocations" "$(column "$folder/levels.h5" weights_hash | wc -w)" 5
caught end_in_search KILL "$sweep" "$folder/killed.h5"
read -r first second < <(generations "$folder/killed.h5")
[ "$first" -lt 31 ] || [ "$second" -lt 31 ] || fail "no search of levels was killed: nothing was tested"
expect "levels after a kill" 0 ranks 2 "$winnow" run "$sweep" -o "$folder/killed.h5" -q
same "digest of levels after a kill, on two ranks" "$(digest_of "$folder/killed.h5")" "$digest"
same "what levels leave" "$(cd "$folder" && echo killed.h5* levels.h5*)" "killed.h5 levels.h5"

# ---- mistakes: one line with file and key, before any work ----
mistake() { # PYTHON PATTERN
  edit "$folder/s/bad.json" "$1"
  expect "$2" 2 "$winnow" run "$folder/s/bad.json" -o "$folder/bad.h5"
  same "lines of: $2" "$(grep -c 'bad.json:' "$folder/err")" 1
  has "$1" "bad.json: $2" "$folder/err"
  [ ! -e "$folder/bad.h5" ] || fail "$2: there is a results file"
}
sweep=$folder/s/sweep.json
mistake "search['survivors'] = [5, 1]" 'search.fast: key "survivors": .*cannot grow'
mistake "search['fitness'] = 'klx'" 'search.fast: key "fitness": "klx" is no fitness .*there is "kl"$'
mistake "search['fitness'] = 'windows'" 'search.fast: key "fitness": "windows" is no fitness .*there is "kl"$'
mistake "search.update(fitness='facts', tokens=[8, 500]); s['evaluate']['tasks'] = ['data/facts.jsonl']" \
  'search.fast: key "tokens": stage 2 asks for 500 tokens, what the search sees of task "facts" has'
mistake "search['on'] = 'nowhere'" 'search.fast: key "on": "nowhere" is not a set'
mistake "search['tokens'] = [64, 1e6]" 'search.fast: key "tokens": stage 2 asks for 1000000 tokens'
mistake "search['offsprin'] = 3" 'search.fast.*offsprin'
mistake "s['search']['owl'] = search" 'search: "owl" is an allocation'
mistake "s['grid'][0].update(sparsity=0.1, units='block')" 'point "drop sparsity=0.1 units=block allocation=fast": '
mistake "s['grid'] = [dict(method='gptq', bits=8, group=128, allocation='fast', calibration='general')]" \
  'point "gptq bits=8 .*": key "bits": 8 lies outside the levels 2 to 6'
mistake "s['grid'] = [dict(method='wanda', sparsity=1e-5, allocation='fast', calibration='general')]" \
  'point "wanda sparsity=1e-05 .*": key "levels": with 8 levels a level is less than one weight'
mistake "search['initial'] = 4; search['initial_tokens'] = 1e6" 'search.fast: key "initial_tokens": .*1000000 tokens'
mistake "s['grid'][0].update(sparsity=1.0, units='block')" 'grid\[0\]: key "sparsity": expected a number in \[0, 1\), got 1'
mistake "s['grid'][0]['allocation'] = 'slow'" 'grid\[0\]: allocation: "slow" is not a name under "search".*"fast"'
mistake "s['grid'][0]['score'] = 'kl'" 'grid\[0\]: allocation: "fast" for drop: .*"score"'
finish
