/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: finds the command, prints the list of commands; nothing else. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <winnow/io.h>

#include "command/command.h"
#include "winnow_build.h"

static const struct wn_command commands[] = {
    {"plan",
     "plan SWEEP.json [--model DIR] [--inputs DIR] [--ranks N] [--threads N] [--rate GFLOPS] [--rate-from OLD.h5] "
     "[--only SELECTION] [--time-limit TIME] [--points] [--json]",
     "check a sweep and every input it names; predict time, memory and file size",
     "Reads the sweep file, the models, tokenizers, texts and request files, and lists every mistake at once. Nothing "
     "is computed and nothing is written. Runs without MPI, also on a login node. The seconds of each method and stage "
     "come from about a second of trying the code that computes points, with made-up weights; checkpoints are not read "
     "but for one block. Texts are taken to be generated to their last token.\n\n"
     "  -m, --model DIR         checkpoint directory instead of the sweep's \"model\"\n"
     "  -i, --inputs DIR        folder that the sweep's relative paths refer to (default: that of the sweep file)\n"
     "  -n, --ranks N           MPI ranks to predict for (default 1)\n"
     "  -t, --threads N         OpenMP threads per rank (default 1); more than this machine has are extrapolated\n"
     "      --rate GFLOPS       for a machine whose threads do so many in a matrix product (line \"rate\" of its own "
     "plan)\n"
     "      --rate-from OLD.h5  for the machine that made these results: its seconds per token, by method and stage\n"
     "      --only SELECTION    as winnow run computes them: the seconds of these points alone\n"
     "      --time-limit TIME   how many starts of that length it takes, and how many points fit whole into one\n"
     "  -p, --points            list every point with seconds, memory and the number of grid cells it answers\n"
     "      --json              print the plan as JSON\n\n"
     "Examples:\n"
     "  winnow plan sweeps/demo/sweep.json --points\n"
     "  winnow plan llama2.json --ranks 256 --threads 8\n"
     "  winnow plan sweeps/llm_kick.json --model /models/vicuna-7b --inputs /data/llm_kick",
     wn_command_plan},
    {"run",
     "run SWEEP.json [-o FILE.h5] [--from OLD.h5] [--only SELECTION] [--first SELECTION] [--model DIR] [--inputs DIR] "
     "[--threads N] [--time-limit TIME] [--scratch DIR] [--keep-levels] [--checkpoint-every TIME] [--retry-failed] "
     "[--force] "
     "[--mix-arithmetic] [--stall-timeout S] [--quiet] [-v]",
     "compute every point that is not done yet (with mpirun or srun)",
     "Creates the results file, or continues it when it holds the same sweep: points that are done stay as they are. A "
     "sweep may grow: when it has all that the file has, and more, the file grows too. May be killed at any moment; "
     "the same command goes on. SIGUSR1 stops: points in work are saved on scratch, inside their block, and the next "
     "start goes on there, with any number of ranks.\n\n"
     "  -o, --output FILE            results file (default: the sweep's \"output\")\n"
     "      --from OLD.h5            take over, bit for bit, every row whose key, model, calibration and reference "
     "sample are equal, with its equal evaluations; what it lacks is computed, also single evaluations. May be given "
     "again: several files are put together\n"
     "      --only SELECTION         compute no other points: KEY=VALUE|VALUE,KEY=VALUE by the columns of winnow show "
     "--all\n"
     "      --first SELECTION        compute these points first, behind the dense one\n"
     "  -m, --model DIR              checkpoint directory instead of the sweep's \"model\"\n"
     "  -i, --inputs DIR             folder that the sweep's relative paths refer to (default: that of the sweep "
     "file)\n"
     "  -t, --threads N              OpenMP threads per rank (default: OMP_NUM_THREADS)\n"
     "      --time-limit TIME        how long this start may take, like 2h or 90m (default: until SLURM_JOB_END_TIME): "
     "points that fit come first, others are begun where they can be saved and continued\n"
     "      --scratch DIR            folder for what is saved (default: the sweep's \"scratch\", else "
     "FILE.h5.scratch)\n"
     "      --keep-levels            the compressed linears that searches choose from stay in DIR/winnow.levels, for "
     "later runs that say so too (without --scratch: beside the output)\n"
     "      --checkpoint-every TIME  save points in work so often, not only at a stop\n"
     "      --retry-failed           compute failed points again\n"
     "      --force                  start although less memory is left than plan says it takes, and try points that "
     "fit nowhere\n"
     "      --mix-arithmetic         go on although other points, or other ranks, are computed with other kernels\n"
     "      --stall-timeout S        end the run when a rank has been silent for S seconds (default 600; 0: never)\n"
     "  -q, --quiet                  no progress\n"
     "  -v, --verbose                whole keys of points in place of short names\n\n"
     "Exit codes: 0 all points done, 2 wrong input (nothing was written), 3 some points failed (see winnow status), 75 "
     "stopped, by a signal or as time is over, with points left: the same command goes on; 76 a rank fell silent, 1 "
     "anything else.\n\n"
     "Examples:\n"
     "  mpirun -n 2 winnow run sweeps/demo/sweep.json -o demo.h5\n"
     "  srun --mpi=pmix winnow run llama2.json --threads 8\n"
     "  winnow run grown.json -o new.h5 --from old.h5 --first 'method=wanda|sparsegpt,sparsity=0.5'\n"
     "  winnow run small.json -o small.h5          (one rank, without mpirun)",
     wn_command_run},
    {"status", "status FILE.h5|SWEEP.json [-o FILE.h5] [--scratch DIR] [--watch|--json]",
     "how far a sweep is, also while it runs",
     "Counts points done, failed and open, and gives the reason of each failure. While the sweep runs "
     "(FILE.h5.progress, which its rank 0 writes every few seconds): what is in work, where, and at which block; ranks "
     "and hosts; tokens per second and the time left. Points that were in work when their start stopped, and the block "
     "they go on behind. Works on any node that sees the file.\n\n"
     "A sweep file stands for its \"output\".\n\n"
     "  -o, --output FILE  results file of a sweep file, as given to run\n"
     "      --scratch DIR  as given to run\n"
     "      --watch        look again every two seconds, until nobody runs the sweep\n"
     "      --json         everything as JSON; \"progress\" is what the run itself says, \"advance\" a number that "
     "grows when a start gets on: points, saved shares of points, parts of the dense pass\n\n"
     "Examples:\n"
     "  winnow status demo.h5\n"
     "  winnow status --watch sweep.json",
     wn_command_status},
    {"show",
     "show FILE.h5 [--columns LIST] [--where CONDITIONS] [--sort NAME] [--limit N] [--stderr] [--draws] [--all] "
     "[--json | --csv | --markdown | --latex] [--search NAME]",
     "the table of points with their scores",
     "One line per point: what tells it apart from the others, and how it scores. Where the terminal is too narrow, "
     "the table goes on below. Names are those of winnow.open(FILE).scores in Python (of draws: winnow.averaged).\n\n"
     "  -c, --columns LIST       only these: names or patterns, like method,sparsity,*/kl_mean; the part behind / will "
     "do where no other evaluation has it\n"
     "  -w, --where CONDITIONS   rows that fit all: NAME=VALUE|VALUE, !=, and of numbers <, <=, >, >=, with commas\n"
     "  -s, --sort NAME          by a column; -NAME from the largest on\n"
     "      --limit N            the first N rows of that\n"
     "      --stderr             standard errors beside the scores that have one\n"
     "      --draws              every draw of a cell (replicate, perturb_seed); else they are one line: \"draws\" of "
     "them, their mean, and in brackets, or as NAME_draws, the standard deviation. A selection that names replicate or "
     "perturb_seed shows single ones, too\n"
     "  -a, --all                every column\n"
     "      --json               every column, under the same names: {\"points\": [{NAME: value}]}, null where there "
     "is no number; \"provenance\" beside it\n"
     "      --csv                all digits, a line per point\n"
     "      --markdown, --latex  the table for a page or a paper (LaTeX: package booktabs)\n"
     "      --search NAME        in place of it a search: its best fitness by generation, and the level of every block "
     "and linear, or what is left out\n\n"
     "Examples:\n"
     "  winnow show demo.h5\n"
     "  winnow show demo.h5 --where 'method=wanda|sparsegpt,sparsity>=0.5' --sort world/perplexity --stderr\n"
     "  winnow show demo.h5 --columns 'method,bits_per_weight_nominal,*/kl_mean' --latex\n"
     "  winnow show evopress.h5 --search fast",
     wn_command_show},
    {"export", "export FILE.h5 --point KEY --to DIR [--format NAME] [--dtype f32|bf16|f16|source] [--sweep SWEEP.json]",
     "write one point as a Hugging Face checkpoint",
     "Computes the point again from the same inputs, bit for bit, and writes config, tokenizer and weights, masks and "
     "codes (winnow_codes.safetensors), and what it is (winnow_export.json). Refuses when an input has changed.\n\n"
     "  -p, --point KEY         key of a point (see winnow show --json), the beginning of one key, or its number\n"
     "  -o, --to DIR            folder to make; may exist when empty\n"
     "      --format NAME       linears as other tools pack them: compressed-tensors (codes of 2 to 8 bits, 2:4 and "
     "unstructured masks), gptq (v1 with g_idx), awq (gemm), gguf (one file for llama.cpp: Q4_0, Q4_1, Q8_0 from "
     "groups of 32 columns or multiples; F32, F16, BF16 without codes or with --dtype). A format that cannot hold the "
     "point is refused before any work. Scales are exact in compressed-tensors unless --dtype says f16 or bf16, and "
     "f16 in the others (\"scale_dtype\": \"f16\" in the sweep makes these exact); how many were rounded is told, "
     "none: the file has the very weights of the point (awq, smoothquant: codes)\n"
     "      --dtype NAME        of the weights: f32, bf16, f16, or source: each tensor as in the checkpoint. Default: "
     "source with --format (what is no linear) and for points that only set weights to zero, else f32: bf16 has 8 "
     "significant bits, which do not hold scale * code nor weights that were updated\n"
     "      --sweep SWEEP.json  the sweep file, when its folder has moved since the run\n"
     "      --shard-size SIZE   most bytes of a file of weights, like 300MB (default 5GB)\n"
     "  -t, --threads N         OpenMP threads (default: OMP_NUM_THREADS)\n"
     "  -q, --quiet             warnings only\n\n"
     "Exit codes: 0 written, 2 wrong input, 75 stopped on request, 1 anything else; on failure nothing is left.\n\n"
     "Examples:\n"
     "  winnow export demo.h5 --point 9 --to demo-2of4 --format compressed-tensors\n"
     "  winnow export demo.h5 --point 'wanda sparsity=0.5 ' --to demo-wanda --dtype bf16",
     wn_command_export},
    {"verify", "verify FILE.h5", "check every point's checksum; print the digest of all results",
     "The digest is SHA-256 over all result arrays; times, hosts and memory are left out, so it is the same for any "
     "number of ranks and threads on one kind of CPU. It is the only line on standard output.\n\n"
     "Exit codes: 0 all checksums agree, 1 some differ (each is named), 2 the file cannot be read.\n\n"
     "Example:\n"
     "  winnow verify demo.h5",
     wn_command_verify},
    {"tokens", "tokens MODEL|SWEEP.json TEXT [--plain] [--json]",
     "how a tokenizer cuts a text: ids, tokens and what each stands for",
     "One line per id: its place, the id, the token of the vocabulary, and the text that it adds to what is decoded "
     "before it (empty where it is a part of a character). TEXT is encoded as a calibration set or a text of gptq is: "
     "with the special tokens of the template. A sweep file stands for each of its models.\n\n"
     "      --plain  without the special tokens of the template\n"
     "      --json   as JSON, one object per model\n\n"
     "Examples:\n"
     "  winnow tokens /models/llama-2-7b 'Once upon a time'\n"
     "  winnow tokens sweep.json \"$(head -c 200 test.txt)\" --json",
     wn_command_tokens},
    {"help", "help TOPIC", "reference pages, printed from the tables",
     "Pages are as wide as the terminal, or COLUMNS, else 80 columns.\n\n"
     "  COMMAND, METHOD  the page of one of them: winnow help run, winnow help gptq\n"
     "  methods          compression methods with their parameters\n"
     "  architectures    model types that can be loaded\n"
     "  metrics          evaluations with their parameters\n"
     "  tasks            request files: what tasks are made of, and their metrics\n"
     "  tasks-schema     the JSON Schema of their lines\n"
     "  sweep            the sweep file, key by key\n"
     "  search           its section \"search\": who gets how much, found end to end\n"
     "  schema           its JSON Schema\n"
     "  man              all commands as a manual page: winnow help man >winnow.1\n"
     "  completion       for bash: source <(winnow help completion)",
     wn_command_help},
};

static const int n_commands = (int)(sizeof commands / sizeof commands[0]);

const struct wn_command *wn_commands(int *count)
{
    *count = n_commands;
    return commands;
}

static void print_usage(FILE *stream)
{
    struct wn_text text = {0};
    wn_text_printf(&text, "winnow %s: distributed sweeps of compressed language models\n\n", WN_VERSION);
    for (int i = 0; i < n_commands; i++)
        wn_text_printf(&text, "  winnow %-8s  %s\n", commands[i].name, commands[i].help);
    wn_text_printf(&text, "\n`winnow COMMAND --help` has options and examples; `winnow --version` the build.\n");
    wn_print_wrapped(stream, &text);
    wn_text_release(&text);
}

/* What was printed and could not be written is a failure. */
static int flushed(int code)
{
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    if (lost)
        fprintf(stderr, "winnow: standard output cannot be written: %s\n", strerror(errno));
    return lost && code == 0 ? 1 : code;
}

static int run_command(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--version")) {
        printf("winnow %s (%s), %s, %s\n", WN_VERSION, WN_REVISION, WN_COMPILER, WN_FLAGS);
        return 0;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || (!strcmp(name, "help") && argc == 2)) {
        print_usage(stdout);
        return 0;
    }
    for (int i = 0; i < n_commands; i++)
        if (!strcmp(commands[i].name, name))
            return commands[i].run(&commands[i], argc - 1, argv + 1);
    if (*name) {
        const char *names[16];
        for (int i = 0; i < n_commands; i++)
            names[i] = commands[i].name;
        const char *near = wn_suggest(name, names, n_commands);
        fprintf(stderr, "winnow: unknown command \"%s\"%s%s%s\n", name, near ? "; did you mean \"" : "",
                near ? near : "", near ? "\"?" : "");
    }
    print_usage(stderr);
    return 2;
}

int main(int argc, char **argv)
{
    wn_catch_truncation();
    return flushed(run_command(argc, argv));
}
