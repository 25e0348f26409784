# replicates.sh: draws of a calibration set and noise on it as axes: a draw is the point of a set with that seed, noise
# moves the weights and its seed too, nothing depends on ranks, and what was computed is taken over.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
make_sweep "$folder/r" '{"method": ["magnitude", "sparsegpt"], "sparsity": 0.5, "calibration": "general", "replicates": 2},
     {"method": ["sparsegpt", "wanda"], "sparsity": 0.5, "calibration": "general", "propagation": "dense",
      "perturb": [0, 0.01], "perturb_seed": [0, 1]},
     {"method": "sparsegpt", "sparsity": 0.5, "calibration": "second"}'
sweep=$folder/r/sweep.json
python3 -c "import json, sys; s = json.load(open(sys.argv[1]))
s['evaluate'] = {'perplexity': {'windows': s['evaluate']['perplexity']['windows']}}
s['calibration']['second'] = {**s['calibration']['general'], 'seed': 1}
json.dump(s, open(sys.argv[1], 'w'))" "$sweep"

expect "one rank" 0 "$winnow" run "$sweep" -o "$folder/one.h5"
has "what has no effect" 'replicates: magnitude uses no calibration data: it has one point' "$folder/err"
expect "two ranks" 0 ranks 2 "$winnow" run "$sweep" -o "$folder/two.h5"
same "ranks" "$(digest_of "$folder/two.h5")" "$(digest_of "$folder/one.h5")"
expect "show" 0 "$winnow" show "$folder/one.h5" --json --draws
same "weights" "$(python3 -c 'import json, sys
rows = json.load(open(sys.argv[1]))["points"]
def found(**wanted):
    hits = [r for r in rows if all(r.get(k) == v for k, v in wanted.items())]
    assert len(hits) == 1, (wanted, hits)
    return hits[0]["weights_hash"]
plain = dict(method="sparsegpt", calibration="general", propagation="sequential", perturb=0)
draw = found(**plain, replicate=1)
print(len(rows), draw == found(method="sparsegpt", calibration="second"), draw != found(**plain, replicate=0))
for method in ("sparsegpt", "wanda"):
    noise = dict(method=method, calibration="general", propagation="dense", replicate=0)
    hashes = {found(**noise, perturb=p, perturb_seed=s) for p, s in ((0, 0), (0.01, 0), (0.01, 1))}
    print(len(hashes))' "$folder/out")" "11 True True
3
3"

# Draws are one row with their mean; forms agree, and single ones can be asked for.
cp "$folder/out" "$folder/single.json"
expect "show: draws" 0 "$winnow" show "$folder/one.h5" --json
cp "$folder/out" "$folder/folded.json"
expect "show: draws as csv" 0 "$winnow" show "$folder/one.h5" --csv
same "draws" "$(python3 -c 'import csv, json, statistics, sys
single, folded = (json.load(open(name))["points"] for name in sys.argv[1:3])
score = "windows/perplexity"
draws = [r[score] for r in single if r["method"] == "sparsegpt" and r["propagation"] == "sequential"
         and r["calibration"] == "general"]
row, = (r for r in folded if r["draws"] == 2 and r["propagation"] == "sequential")
near = lambda a, b: abs(a - b) < 1e-12 * abs(b)
print(len(draws), near(row[score], statistics.mean(draws)), near(row[score + "_draws"], statistics.stdev(draws)))
print(len(folded), row["replicate"], sorted(r["draws"] for r in folded))
table = list(csv.DictReader(open(sys.argv[3])))
print([float(r["windows/perplexity"]) for r in table] == [r[score] for r in folded],
      [r["windows/perplexity_draws"] or None for r in table if r["draws"] == "1"] == [None] * 5)
' "$folder/single.json" "$folder/folded.json" "$folder/out")" "2 True True
8 None [1, 1, 1, 1, 1, 2, 2, 2]
True True"
expect "show: draws for people" 0 "$winnow" show "$folder/one.h5"
has "draws in brackets" '^ +[0-9]+ +sparsegpt .* [0-9.]+ \([0-9.]+\)' "$folder/out"
expect "show: a draw" 0 "$winnow" show "$folder/one.h5" --where 'replicate=1'
same "rows of a draw" "$(grep -cE '^ *[0-9]+ ' "$folder/out")" 1

# A sweep with one draw more takes the others over.
python3 -c "import json, sys; s = json.load(open(sys.argv[1])); s['grid'][0]['replicates'] = 3
json.dump(s, open(sys.argv[2], 'w'))" "$sweep" "$folder/r/more.json"
expect "one draw more" 0 "$winnow" run "$folder/r/more.json" -o "$folder/more.h5" --from "$folder/one.h5"
has "one draw more" "11 of its 11 finished points are taken over" "$folder/err"
expect "only draws" 0 "$winnow" plan "$sweep" --only "replicate=1"
finish
