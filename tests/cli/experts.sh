# experts.sh: a model with experts gives the same bits on any number of ranks and threads, whichever rows chose them.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
draw() { # characters of a fixed sequence
  awk -v n="$1" -v s="$2" 'BEGIN {for (i = 0; i < n; i++) {s = (s * 69069 + 12345) % 4294967296
    printf "%s", substr("abcdefgh ijklm nopqrst uvwxyz.\n", int(s / 138547332) + 1, 1)}}'
}
draw 6000 1 >"$folder/c.txt"
draw 2500 2 >"$folder/t.txt"
cat >"$folder/sweep.json" <<END
{"model": "$source_dir/tests/model/reference/qwen2_moe",
 "calibration": {"c": {"text": "c.txt", "samples": 80, "length": 60}},
 "grid": [{"method": "wanda", "sparsity": 0.5, "allocation": ["uniform", "owl"], "calibration": "c"},
          {"method": "sparsegpt", "sparsity": 0.5, "true_sequential": true, "calibration": "c"},
          {"method": "gptq", "bits": 4, "group": 4, "calibration": "c", "propagation": "dense"},
          {"method": "wanda", "sparsity": 0.5, "routing": "dense", "calibration": "c"},
          {"method": "gptq", "bits": 3, "true_sequential": true, "routing": "dense", "calibration": "c"},
          {"method": "awq", "bits": 4, "group": 4, "calibration": "c"},
          {"method": ["smoothquant"], "calibration": "c"}],
 "evaluate": {"perplexity": {"t": {"text": "t.txt", "length": 50},
                             "few_rows": {"text": "t.txt", "length": 50, "windows": 4}}}}
END
expect "one rank, one thread" 0 "$winnow" run "$folder/sweep.json" -o "$folder/one.h5"
OMP_NUM_THREADS=3 ranks 2 "$winnow" run "$folder/sweep.json" -o "$folder/more.h5" >"$folder/log" 2>&1 ||
  fail "two ranks end with $?: $(tail -n 1 "$folder/log")"
"$winnow" show --json "$folder/more.h5" >"$folder/rows"
grep -qE '"rank":[[:space:]]*1,?$' "$folder/rows" || fail "one rank computed all"
grep -qE '"threads":[[:space:]]*3,?$' "$folder/rows" || fail "not with three threads"
same "digests" "$(digest_of "$folder/one.h5")" "$(digest_of "$folder/more.h5")"

sed -e "s|\"model\": \"[^\"]*\"|\"model\": \"$source_dir/sweeps/demo/model\"|" "$folder/sweep.json" >"$folder/demo.json"
expect "routing without experts" 2 "$winnow" plan "$folder/demo.json"
has "routing without experts" 'routing: "dense" is for models with experts, which .*demo/model has not' "$folder/err"

# ---- levels of every expert, searched for and by layer errors; where some blocks have no experts, one line says no ----

searched() { # FOR_MODEL: a sweep
  cat >"$folder/$1.json" <<END
{"model": "$source_dir/tests/model/reference/$1",
 "calibration": {"c": {"text": "c.txt", "samples": 2, "length": 4}},
 "grid": [{"method": "sparsegpt", "sparsity": 0.5, "allocation": ["fast", "dynamic_programming"],
           "propagation": "dense", "calibration": "c"}],
 "search": {"fast": {"on": "c", "generations": 3, "offspring": 4, "initial_tokens": 4, "survivors": [1], "tokens": [8]}},
 "evaluate": {"perplexity": {"t": {"text": "t.txt", "length": 50}}}}
END
}
searched mixtral
expect "a search" 0 "$winnow" run "$folder/mixtral.json" -o "$folder/found.h5" -q
expect "a search on two ranks" 0 ranks 2 "$winnow" run "$folder/mixtral.json" -o "$folder/found2.h5" -q
same "digests of a search" "$(digest_of "$folder/found.h5")" "$(digest_of "$folder/found2.h5")"
searched qwen2_moe
expect "blocks with and without experts" 2 "$winnow" run "$folder/qwen2_moe.json" -o "$folder/no.h5" -q
has "blocks with and without experts" 'some blocks have experts and some have not' "$folder/err"

# ---- a plan of 128 experts takes a few seconds of a processor: the first of equal experts stands for all ----

python3 "$source_dir/tests/cli/make_shape.py" "$folder/large" "$source_dir/sweeps/demo/model" || fail "no large model"
cat >"$folder/large.json" <<END
{"model": "large", "calibration": {"c": {"text": "c.txt", "samples": 80, "length": 60}},
 "grid": [{"method": ["wanda", "sparsegpt"], "sparsity": 0.5, "calibration": "c"},
          {"method": ["gptq", "awq"], "bits": 4, "group": 128, "calibration": "c"}],
 "evaluate": {"perplexity": {"t": {"text": "t.txt", "length": 50}}}}
END
planned() { (ulimit -t 60 && OMP_NUM_THREADS=1 "$winnow" plan "$folder/large.json"); }
expect "a plan of 128 experts" 0 planned
has "a plan of 128 experts" 'qwen3_moe, 30532.* M parameters' "$folder/out"

# ---- one factor at a time: memory is what plan predicts, which has room for one and not for those of all experts ----

vocabulary=$(grep -o '"vocab_size": *[0-9]*' "$source_dir/sweeps/demo/model/config.json" | grep -oE '[0-9]+')
same "vocabularies" "$vocabulary" 1024
python3 "$source_dir/tests/cli/make_shape.py" "$folder/small" "$source_dir/sweeps/demo/model" small || fail "no small model"
cat >"$folder/small.json" <<END
{"model": "small", "calibration": {"c": {"text": "c.txt", "samples": 8, "length": 60}},
 "grid": [{"method": "gptq", "bits": 4, "group": 128, "calibration": "c", "true_sequential": [false, true]}],
 "evaluate": {"perplexity": {"t": {"text": "t.txt", "length": 50}}}}
END
expect "16 experts" 0 "$winnow" run "$folder/small.json" -o "$folder/small.h5" -q
"$winnow" plan "$folder/small.json" --json >"$folder/plan.out"
"$winnow" show "$folder/small.h5" --json >"$folder/show.out"
python3 - "$folder" >"$folder/wrong" <<'END' || fail "memory of experts: $(cat "$folder/wrong")"
import json, sys
plan, show = (json.load(open(f"{sys.argv[1]}/{name}.out"))["points"] for name in ("plan", "show"))
peaks = [row["peak_bytes"] / point["bytes"] for row, point in zip(show, plan, strict=True)]
print(peaks)
sys.exit(len(peaks) != 3 or not all(0.85 < peak < 1.02 for peak in peaks[1:]))
END
finish
