# other_libraries.sh: winnow built with MPICH gives the same digest, with BLIS the same scores on one thread per call.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

for tool in cmake ninja cc h5dump; do
  command -v "$tool" >/dev/null || skip "$tool is not installed"
done
blis=$(find /usr/lib/*/blis-openmp /usr/lib/blis-openmp -name libblis.so 2>/dev/null | head -n 1)
blis_header=$(find /usr/include/*/blis-openmp /usr/include/blis-openmp -name cblas.h 2>/dev/null | head -n 1)
h5pcc=$(command -v h5pcc.mpich)
[ -n "$blis" ] && [ -n "$blis_header" ] || skip "BLIS is not installed (libblis-openmp-dev)"
[ -n "$h5pcc" ] && command -v mpicc.mpich mpirun.mpich >/dev/null || skip "MPICH is not installed (mpich libhdf5-mpich-dev)"

# build NAME OPTIONS...: into $folder/NAME/winnow.
build() {
  local name=$1
  shift
  cmake -S "$source_dir" -B "$folder/$name" -G Ninja -DWINNOW_TESTS=OFF -DWINNOW_BENCH=OFF \
    ${CMAKE_C_COMPILER_LAUNCHER:+-DCMAKE_C_COMPILER_LAUNCHER=$CMAKE_C_COMPILER_LAUNCHER} "$@" >"$folder/$name.log" 2>&1 &&
    cmake --build "$folder/$name" --target winnow >>"$folder/$name.log" 2>&1 ||
    fail "$name: does not build: $(grep -m 1 -i error "$folder/$name.log")"
}
# linked NAME PATTERN: the program is linked to that library, and to no other of its kind.
linked() { ldd "$folder/$1/winnow" | grep -Eq "$2" || fail "$1: not linked to $2"; }
arithmetic_of() { h5dump -a /provenance/arithmetic "$1" | sed -n 's/.*(0): "\(.*\)"/\1/p'; }

build mpich -DMPI_C_COMPILER=mpicc.mpich -DHDF5_C_COMPILER_EXECUTABLE="$h5pcc"
build blis -DWINNOW_BLAS_LIBRARY="$blis" -DWINNOW_BLAS_INCLUDE_DIR="$(dirname "$blis_header")" -DWINNOW_ONEDNN=OFF
[ -s "$folder/failures" ] && finish
linked mpich libmpich
linked mpich libhdf5_mpich
ldd "$folder/mpich/winnow" | grep -q libmpi.so && fail "mpich: also linked to Open MPI"
linked blis libblis
ldd "$folder/blis/winnow" | grep -q openblas && fail "blis: also linked to OpenBLAS"

make_sweep "$folder/small" "$small_grid, {\"method\": [\"sparsegpt\"], \"sparsity\": 0.5, \"calibration\": \"general\"}"
sweep=$folder/small/sweep.json
# The second is built without oneDNN: what needs it says so before any work.
sed 's/"name": "small",/"name": "small", "compute": "bf16",/' "$sweep" >"$folder/small/bf16.json"
expect "built without oneDNN" 2 "$folder/blis/winnow" plan "$folder/small/bf16.json"
has "built without oneDNN" '"compute": "bf16": this winnow was built without oneDNN: install it' "$folder/err"
same "lines of plan" "$(grep -c . "$folder/err")" 1

expect "open mpi: run" 0 mpirun -n 2 --bind-to none "$winnow" run "$sweep" -o "$folder/open_mpi.h5" -q
digest=$(digest_of "$folder/open_mpi.h5")

expect "mpich: run" 0 mpirun.mpich -n 2 "$folder/mpich/winnow" run "$sweep" -o "$folder/mpich.h5" -q
same "digests under Open MPI and MPICH" "$digest" "$(digest_of "$folder/mpich.h5")"
"$winnow" show --json "$folder/mpich.h5" | grep -q '"rank":[[:space:]]*1' || fail "mpich: rank 1 computed nothing"
# A file of one is read and continued by the other.
expect "mpich: continued" 0 "$folder/mpich/winnow" run "$sweep" -o "$folder/open_mpi.h5" -q

# Ends the program when BLIS opens a parallel region of more than one thread, and counts those that we open.
cat >"$folder/regions.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ours;

void GOMP_parallel(void (*region)(void *), void *data, unsigned threads, unsigned flags)
{
    static void (*real)(void (*)(void *), void *, unsigned, unsigned);
    Dl_info caller;
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "GOMP_parallel");
    unsigned count = threads ? threads : (unsigned)omp_get_max_threads();
    if (dladdr(__builtin_return_address(0), &caller) && strstr(caller.dli_fname, "libblis") && count > 1) {
        fprintf(stderr, "BLIS opens a region of %u threads\n", count);
        abort();
    }
    __atomic_fetch_add(&ours, count == 2, __ATOMIC_RELAXED);
    real(region, data, threads, flags);
}

static void __attribute__((destructor)) report(void)
{
    fprintf(stderr, "regions of two threads: %d\n", ours);
}
END
cc -shared -fPIC -fopenmp -o "$folder/regions.so" "$folder/regions.c" -ldl || fail "the counter of regions does not compile"
for threads in 1 2; do
  expect "blis, $threads threads: run" 0 env OMP_NUM_THREADS="$threads" BLIS_JC_NT=2 LD_PRELOAD="$folder/regions.so" \
    "$folder/blis/winnow" run "$sweep" -o "$folder/blis$threads.h5" -q
  [ "$threads" = 1 ] || has "blis: winnow's own regions" 'regions of two threads: [1-9]' "$folder/err"
  grep -q 'BLIS opens' "$folder/err" && fail "blis: threads inside threads"
  grep -q 'is not OpenBLAS, BLIS or MKL' "$folder/err" && fail "blis: called unknown"
done
arithmetic_of "$folder/blis1.h5" | grep -Eq '^blis [0-9]+\.[0-9.]+ [a-z0-9]+; tile ' ||
  fail "blis: recorded as $(arithmetic_of "$folder/blis1.h5")"
same "digests of 1 and 2 threads with BLIS" "$(digest_of "$folder/blis1.h5")" "$(digest_of "$folder/blis2.h5")"
[ "$(digest_of "$folder/blis1.h5")" != "$digest" ] || fail "blis: the digest of OpenBLAS: was it used?"
"$winnow" show --json "$folder/open_mpi.h5" >"$folder/open_mpi.json"
"$winnow" show --json "$folder/blis2.h5" >"$folder/blis2.json"
python3 - "$folder/open_mpi.json" "$folder/blis2.json" <<'END' || fail "blis: other scores than with OpenBLAS"
import json, sys

ours, theirs = (json.load(open(name))["points"] for name in sys.argv[1:])
same = [(a["key"], b["key"]) for a, b in zip(ours, theirs)]
threads = {row["threads"] for row in theirs}
if threads != {2} or len(ours) != len(theirs) or any(a != b for a, b in same):
    sys.exit(f"threads {threads}, keys {same}")
# Solvers decide by last bits which weight goes: their points may differ by more than those of plain products.
for a, b in zip(ours, theirs):
    bar = 1e-3 if a["method"] == "sparsegpt" else 1e-5
    value, other = (row["windows/perplexity"] for row in (a, b))
    if not abs(other / value - 1) < bar:
        sys.exit(f"{a['key']}: perplexity {value} and {other}")
END
finish
