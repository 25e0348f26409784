# kernels.sh: OpenBLAS's kernel sets agree with each other, a slow one is named, and a wrong one is refused.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

command -v h5dump >/dev/null || skip "h5dump is not installed"
unset OPENBLAS_CORETYPE
make_sweep "$folder/small" '{"method": "magnitude", "sparsity": 0.5}'
sweep=$folder/small/sweep.json

# kernels_of FILE: the kernel set in its provenance.
kernels_of() { h5dump -a /provenance/arithmetic "$1" | sed -n 's/.*"openblas [^ ]* \([^ ]*\) openmp; .*/\1/p'; }
# perplexities FILE: of the dense model and the pruned one, all digits.
perplexities() { "$winnow" show --json "$1" | sed -n 's#.*"windows/perplexity":[[:space:]]*\([^,]*\),*#\1#p'; }
run_set() { # NAME [COMMAND...]: into $folder/NAME.h5
  local name=$1
  shift
  expect "$name: run" 0 "$@" "$winnow" run "$sweep" -o "$folder/$name.h5" -q
}

run_set native env
native=$(kernels_of "$folder/native.h5")
[ -n "$native" ] || skip "the BLAS library is not OpenBLAS"
expected=$(perplexities "$folder/native.h5")
same "perplexities of two points" "$(echo "$expected" | wc -l)" 2

# Those that this processor can run, each with the feature that it needs most.
flags=" $(grep -m 1 '^flags' /proc/cpuinfo) "
sets=()
for pair in Prescott:pni Nehalem:sse4_2 Sandybridge:avx Haswell:avx2 Zen:avx2 SkylakeX:avx512vl Cooperlake:avx512_bf16; do
  [[ $flags == *" ${pair#*:} "* ]] && sets+=("${pair%:*}")
done
[ ${#sets[@]} -ge 2 ] || fail "only ${#sets[@]} kernel sets can be compared here"
for set in "${sets[@]}"; do
  run_set "$set" env OPENBLAS_CORETYPE="$set"
  same "kernels of $set" "$(kernels_of "$folder/$set.h5")" "$set"
  python3 - "$set" $expected $(perplexities "$folder/$set.h5") <<'END' || fail "$set: other perplexities than with $native"
import sys

values = [float(text) for text in sys.argv[2:]]
if len(values) != 4 or not all(abs(b / a - 1) < 1e-5 for a, b in zip(values[:2], values[2:])):
    sys.exit(f"{sys.argv[1]}: {values}")
END
done
# The sets were really different ones: last bits differ somewhere.
[ "$(for set in "${sets[@]}"; do digest_of "$folder/$set.h5"; done | sort -u | wc -l)" -ge 2 ] ||
  fail "all kernel sets give the same digest: were they used?"

# One line, of rank 0, when the variable slows things down; none without it.
slow='OPENBLAS_CORETYPE=Prescott: products use Prescott kernels'
said() { grep -c "$slow" "$folder/err"; }
expect "slow: plan" 0 env OPENBLAS_CORETYPE=Prescott "$winnow" plan "$sweep"
same "lines of plan on a slow kernel set" "$(said)" 1
expect "slow: run" 0 env OPENBLAS_CORETYPE=Prescott mpirun -n 2 --bind-to none "$winnow" run "$sweep" -o "$folder/slow.h5" -q
same "lines of run on a slow kernel set" "$(said)" 1
expect "native: plan" 0 "$winnow" plan "$sweep"
grep -q OPENBLAS_CORETYPE "$folder/err" && fail "the kernel set of the processor is called slow"

# A kernel that gets one number of a product wrong, put before the library's own.
cat >"$folder/wrong.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

/* WRONG="K TRANSPOSE_A TRANSPOSE_B": which product, 111 no, 112 yes as in cblas.h. */
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                 int ldb, float beta, float *c, int ldc)
{
    static void (*real)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "cblas_sgemm");
    real(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    char *rest;
    if (k == strtol(getenv("WRONG"), &rest, 10) && ta == strtol(rest, &rest, 10) && tb == strtol(rest, &rest, 10))
        c[(m - 1) * (long)ldc + n / 2] += 1;
}

void cblas_ssyrk(int order, int upper, int t, int n, int k, float alpha, const float *a, int lda, float beta, float *c,
                 int ldc)
{
    static void (*real)(int, int, int, int, int, float, const float *, int, float, float *, int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "cblas_ssyrk");
    real(order, upper, t, n, k, alpha, a, lda, beta, c, ldc);
    char *rest;
    if (k == strtol(getenv("WRONG"), &rest, 10) && strtol(rest, &rest, 10) == 0)
        c[n / 2 * (long)ldc + n - 1] += 1;
}
END
cc -shared -fPIC -o "$folder/wrong.so" "$folder/wrong.c" -ldl || fail "the wrong kernel does not compile"
wrong() { env LD_PRELOAD="$folder/wrong.so" "$@"; }
refusal='the BLAS library multiplies wrongly on this processor .*: update OpenBLAS, or try other kernels: export OPENBLAS_'
for product in "600 111 112" "600 111 111" "600 112 111" "600 0" "67 111 112" "300 111 112" "67 111 111" "67 112 111" "67 0"; do
  expect "wrong $product: plan" 2 wrong WRONG="$product" "$winnow" plan "$sweep"
  has "wrong $product: plan" "$refusal" "$folder/err"
done
expect "wrong: run" 2 wrong WRONG="600 111 112" mpirun -n 2 --bind-to none "$winnow" run "$sweep" -o "$folder/wrong.h5" -q
has "wrong: run" "$refusal" "$folder/err"
[ ! -e "$folder/wrong.h5" ] || fail "a results file in spite of wrong products"
expect "wrong on one rank: run" 2 mpirun -n 1 "$winnow" run "$sweep" -o "$folder/wrong.h5" -q : \
  -n 1 env LD_PRELOAD="$folder/wrong.so" WRONG="67 0" "$winnow" run "$sweep" -o "$folder/wrong.h5" -q
has "wrong on one rank: run" "$refusal" "$folder/err"
# The shim itself is harmless.
expect "no wrong product: plan" 0 wrong WRONG="5000 111 112" "$winnow" plan "$sweep"
finish
