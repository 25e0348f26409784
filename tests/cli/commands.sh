# commands.sh: help, suggestions, plan, show, status, one rank, more ranks than points, nothing to do.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
make_sweep "$folder/small"
sweep=$folder/small/sweep.json
file=$folder/small.h5

# ---- help ----

expect "winnow --help" 0 "$winnow" --help
has "winnow --help" '^  winnow run ' "$folder/out"
commands=$(sed -n 's/^  winnow \([a-z]*\) .*/\1/p' "$folder/out")
same "commands" "$(echo $commands)" "plan run status show export verify tokens help"
for command in $commands; do
  expect "$command --help" 0 "$winnow" "$command" --help
  has "$command --help" "^Usage: winnow $command " "$folder/out"
  [ -s "$folder/err" ] && fail "$command --help writes to standard error: $(head -n 1 "$folder/err")"
  expect "$command -h" 0 "$winnow" "$command" -h
  expect "$command without arguments" $([ "$command" = help ] && echo 0 || echo 2) "$winnow" "$command"
  [ "$command" = help ] && continue
  has "$command without arguments" "^winnow: $command: an argument is missing" "$folder/err"
  expect "$command with an unknown option" 2 "$winnow" "$command" --jsno "$file"
  has "$command with an unknown option" "^winnow: $command: unknown option --jsno" "$folder/err"
done
expect "help run" 0 "$winnow" help run
"$winnow" run --help | cmp -s - "$folder/out" || fail "help run is not run --help"
expect "help gptq" 0 "$winnow" help gptq
has "help gptq" '^gptq \(quantization' "$folder/out"
expect "the manual page" 0 "$winnow" help man
same "commands in the manual page" "$(grep -c '^\.SH WINNOW' "$folder/out")" 8
expect "completion" 0 "$winnow" help completion
same "completion of run --on" "$(. "$folder/out" && COMP_WORDS=(winnow run --on) COMP_CWORD=2 && _winnow && echo "${COMPREPLY[*]}")" "--only"
expect "winnow --version" 0 "$winnow" --version
has "winnow --version" '^winnow [0-9]+\.[0-9]+\.[0-9]+ ' "$folder/out"
expect "no command" 2 "$winnow"
expect "an unknown command" 2 "$winnow" verfy
has "an unknown command" 'unknown command "verfy"; did you mean "verify"' "$folder/err"
expect "an option with a typing mistake" 2 "$winnow" show --jsno "$file"
has "an option with a typing mistake" 'did you mean --json' "$folder/err"
expect "a number that is none" 2 "$winnow" plan "$sweep" --ranks many
has "a number that is none" '^winnow: plan: --ranks: .*"many"' "$folder/err"
expect "a typing mistake under mpirun" 2 ranks 2 "$winnow" run "$sweep" --ouput "$file"
has "a typing mistake under mpirun" 'did you mean --output' "$folder/err"

# Topics are printed from the tables: what they name works.
topic() { # TOPIC PATTERN...
  expect "help $1" 0 "$winnow" help "$1"
  for pattern in "${@:2}"; do
    has "help $1" "$pattern" "$folder/out"
  done
}
topic methods '^none ' '^magnitude ' '^wanda ' '^rtn ' 'arXiv:2306\.11695' 'sparsity +a number in \[0, 1\)'
topic architectures '^llama '
topic metrics '^perplexity ' '^multiple_choice ' 'protocol +one of "gptq", "rolling"'
topic sweep '"grid": \[' '^  calibration ' '^calibration\.NAME'
topic tasks '^multiple_choice: ' '^  gold +an integer of at least 0 or a list' '^  brier ' '^pairs: ' '^continuation: ' '^rolling: '
topic schema '"\$schema"'
topic tasks-schema '"item\.multiple_choice"'
for schema in schema:sweep tasks-schema:requests; do
  "$winnow" help "${schema%:*}" | cmp -s - "$source_dir/sweeps/${schema#*:}.schema.json" ||
    fail "sweeps/${schema#*:}.schema.json is not what help ${schema%:*} prints"
done
"$winnow" help schema | python3 -m json.tool >/dev/null || fail "help schema is no JSON"
expect "an unknown topic" 2 "$winnow" help method
has "an unknown topic" '^winnow: help: unknown topic "method".*methods' "$folder/err"

# The minimal file that the page prints is a sweep file.
mkdir "$folder/minimal"
"$winnow" help sweep | sed -n '/A minimal file:/,$p' | tail -n +2 >"$folder/minimal/sweep.json"
cp -r "$folder/small/model" "$folder/minimal/DIRECTORY"
cp "$folder/small/data/text.txt" "$folder/minimal/test.txt"
expect "the minimal file of help sweep" 0 "$winnow" plan "$folder/minimal/sweep.json"
has "the minimal file of help sweep" '^points +3 unique points for 2 grid cells|^points +3 unique points' "$folder/out"

# ---- plan ----

find "$folder/small" | sort >"$folder/before"
expect "plan" 0 "$winnow" plan "$sweep" --ranks 2 --threads 2
for pattern in '^model +.*llama' '^calibration +general: general, 8 sequences' '^calibration +prompts: task-specific' \
  '^evaluation +facts: multiple_choice' '^points +10 unique points' '^time +about .* on 2 ranks of 2 threads' \
  '^seconds of a point +points +load +statistics +compress +forward +score +point +in all$' '^  wanda +4 ' \
  '^seconds by evaluation' '^  windows +[0-9.]+ +[0-9.]+ s +[0-9]+ %' '^rate +[0-9]+ GFLOP/s of a thread here: median of 9, ' \
  '^memory +.*per rank' '^results +[0-9]' '^submit +sbatch --ntasks=2 --cpus-per-task=2 .* \\$' \
  '^ +slurm/sweep\.sbatch .*sweep\.json$'; do
  has "plan" "$pattern" "$folder/out"
done
find "$folder/small" | sort | cmp -s "$folder/before" - || fail "plan wrote a file"
expect "plan --points" 0 "$winnow" plan "$sweep" --points
same "lines of plan --points" "$(grep -Ec '^ *[0-9]+ +[0-9.]+ +[0-9.]+ [KM]iB' "$folder/out")" 10
expect "plan --json" 0 "$winnow" plan "$sweep" --json
cp "$folder/out" "$folder/plan.json"

# ---- run: one rank, more ranks than points, nothing to do ----

expect "run on one rank, without mpirun" 0 "$winnow" run "$sweep" -o "$file"
has "a line per point" '^winnow: 10 of 10 points.*tokens/s' "$folder/err"
has "the last line" ': 10 points done, 0 failed, 0 open' "$folder/err"
digest=$(digest_of "$file")
expect "mpirun -n 1" 0 ranks 1 "$winnow" run "$sweep" -o "$folder/n1.h5" --quiet
grep '^winnow: [0-9]* of ' "$folder/err" && fail "--quiet prints progress"
same "digests with and without mpirun" "$digest" "$(digest_of "$folder/n1.h5")"
before=$(sha256sum <"$file")
expect "run with nothing to do" 0 ranks 2 "$winnow" run "$sweep" -o "$file"
has "run with nothing to do" ': 10 points done, 0 failed, 0 open' "$folder/err"
same "the file after a run with nothing to do" "$before" "$(sha256sum <"$file")"

make_sweep "$folder/few" '{"method": "magnitude", "sparsity": 0.5}'
expect "two points on one rank" 0 "$winnow" run "$folder/few/sweep.json" -o "$folder/few1.h5"
expect "two points on six ranks" 0 ranks 6 "$winnow" run "$folder/few/sweep.json" -o "$folder/few6.h5"
same "digests of two points on 1 and 6 ranks" "$(digest_of "$folder/few1.h5")" "$(digest_of "$folder/few6.h5")"
expect "the output named in the sweep" 0 "$winnow" run "$folder/few/sweep.json" -q
same "digest of the output named in the sweep" "$(digest_of "$folder/few1.h5")" "$(digest_of "$folder/few/small.h5")"

# ---- a sweep for no particular machine: model and inputs elsewhere ----

mkdir "$folder/away"
sed 's#"model": "model"#"model": "as you like"#' "$folder/few/sweep.json" >"$folder/away/sweep.json"
expect "a sweep without its inputs" 2 "$winnow" plan "$folder/away/sweep.json"
places=(--model "$folder/few/model" --inputs "$folder/few")
expect "plan with inputs elsewhere" 0 "$winnow" plan "$folder/away/sweep.json" "${places[@]}"
for pattern in 'sweep\.json \\$' '^ +--model .*/few/model \\$' '^ +--inputs .*/few$'; do
  has "plan with inputs elsewhere" "$pattern" "$folder/out"
done
expect "run with inputs elsewhere" 0 ranks 2 "$winnow" run "$folder/away/sweep.json" -o "$folder/away.h5" "${places[@]}"
same "digest with inputs elsewhere" "$(digest_of "$folder/few1.h5")" "$(digest_of "$folder/away.h5")"
expect "export of a run with inputs elsewhere" 0 "$winnow" export "$folder/away.h5" -p 1 -o "$folder/away.model" -q
expect "an inputs folder that is not there" 2 "$winnow" plan "$folder/few/sweep.json" --inputs "$folder/nowhere"
has "an inputs folder that is not there" '^winnow: --inputs: .*nowhere: no such folder' "$folder/err"

# ---- status, show, verify ----

expect "status" 0 "$winnow" status "$file"
has "status" '10 of 10 points done, 0 failed, 0 open' "$folder/out"
expect "status --json" 0 "$winnow" status --json "$file"
cp "$folder/out" "$folder/status.json"
expect "show" 0 "$winnow" show "$file"
has "show" '^point +method +.*sparsity.*windows/perplexity.*facts/acc' "$folder/out"
same "rows of show" "$(grep -cE '^ *[0-9]+ ' "$folder/out")" 10
has "show" '^ +[0-9]+ +wanda +prompts +0\.6 ' "$folder/out"
has "show: what all points share" '^wherever it applies: .*propagation sequential' "$folder/out"
COLUMNS=60 expect "show in a narrow terminal" 0 "$winnow" show "$file"
same "characters of a line of 60" "$(awk '{ if (length($0) > most) most = length($0) } END { print (most <= 60) }' "$folder/out")" 1
has "narrow: the table goes on" '^point .*facts/acc' "$folder/out"
expect "show --where" 0 "$winnow" show "$file" --where 'method=wanda|magnitude,sparsity>0.5' --sort -windows/perplexity --limit 2 --stderr
same "rows of --where --limit" "$(grep -cE '^ *[0-9]+ ' "$folder/out")" 2
has "standard errors" ' ± ' "$folder/out"
expect "show --csv" 0 "$winnow" show "$file" --csv --columns 'method,bits,windows/*' --stderr
cp "$folder/out" "$folder/show.csv"
for form in markdown latex; do
  expect "show --$form" 0 "$winnow" show "$file" --$form --columns method,windows/perplexity
  cp "$folder/out" "$folder/show.$form"
done
has "markdown" '^\| point \| method \| windows/perplexity \|$' "$folder/show.markdown"
has "latex" '^\\toprule$' "$folder/show.latex"
expect "a column that is not there" 2 "$winnow" show "$file" --columns methd
has "a column that is not there" 'did you mean "method"' "$folder/err"
expect "a condition without a value" 2 "$winnow" show "$file" --where sparsity
has "a condition without a value" 'expected NAME=VALUE' "$folder/err"
expect "an order of texts" 2 "$winnow" show "$file" --where 'method>wanda'
expect "show --all" 0 "$winnow" show --all "$file"
has "show --all" 'seconds_compress' "$folder/out"
expect "show --json" 0 "$winnow" show --json "$file"
cp "$folder/out" "$folder/show.json"
python3 - "$folder" <<'END' || fail "plan, status or show --json are wrong"
import csv, json, sys

plan, status, show = (json.load(open(f"{sys.argv[1]}/{name}.json")) for name in ("plan", "status", "show"))
show = show["points"]
assert [p["key"] for p in plan["points"]] == [row["key"] for row in show], "keys of plan and show differ"
table = list(csv.DictReader(open(f"{sys.argv[1]}/show.csv")))
assert [float(row["windows/perplexity"]) for row in table] == [row["windows/perplexity"] for row in show]
assert all("windows/perplexity_stderr" in row and row["method"] for row in table)
assert len(show) == 10 and plan["cells"] == 11, (len(show), plan["cells"])
assert {key: status[key] for key in ("points", "done", "failed", "open")} == dict(points=10, done=10, failed=0, open=0)
assert all(plan[key] > 0 for key in ("seconds", "bytes_per_rank", "file_bytes", "flops_per_second")), plan
for row in show:
    assert row["status"] == "done" and row["reason"] == ""
    assert row["windows/perplexity"] > 1 and 0 <= row["facts/acc"] <= 1
    asked = row["sparsity"]
    assert asked is None or abs(row["achieved_sparsity"] - asked) < 0.01, row["key"]
    assert row["peak_bytes"] <= 1.1 * plan["bytes_per_rank"], "more memory than predicted"
bits = {row["bits"]: row["bits_per_weight_nominal"] for row in show if row["method"] == "rtn"}
assert bits and all(asked < found < asked + 1.5 for asked, found in bits.items()), bits
END
expect "verify" 0 "$winnow" verify "$file"
same "verify prints the digest alone" "$(cat "$folder/out")" "$digest"
for command in status show verify; do
  expect "$command of an absent file" 2 "$winnow" $command "$folder/absent.h5"
  same "lines of $command of an absent file" "$(grep -c '^winnow: .*absent\.h5' "$folder/err")" 1
  expect "$command of a file that is no results file" 2 "$winnow" $command "$sweep"
done

# One changed byte in a score is noticed, named, and computed again.
cp "$file" "$folder/changed.h5"
python3 - "$folder/changed.h5" "$folder/show.json" <<'END' || fail "no score found to change"
import json, struct, sys

path, table = sys.argv[1:]
value = struct.pack("<d", json.load(open(table))["points"][3]["windows/perplexity"])
data = bytearray(open(path, "rb").read())
place = data.find(value)
data[place] ^= 1
open(path, "wb").write(data)
sys.exit(place < 0)
END
expect "verify of a changed file" 1 "$winnow" verify "$folder/changed.h5"
has "verify of a changed file" 'point 3|wanda' "$folder/err"
expect "run on a changed file" 0 "$winnow" run "$sweep" -o "$folder/changed.h5"
has "run on a changed file" 'continuing, 9 of 10' "$folder/err"
same "digest of a repaired file" "$digest" "$(digest_of "$folder/changed.h5")"
finish
