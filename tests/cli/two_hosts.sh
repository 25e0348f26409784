# two_hosts.sh: ranks on different hosts, which see each other over TCP only, give the same results.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
hosts=$shared/tools/two_hosts.sh
[ -r "$hosts" ] || skip "tools/two_hosts.sh is absent (set WINNOW_SHARED to the folder that has it)"
[ "$(id -u)" = 0 ] || skip "namespaces for several hosts need root"
command -v ip >/dev/null && command -v nsenter >/dev/null || skip "iproute2 or util-linux is not installed"
bash "$hosts" -- true >"$folder/out" 2>&1 || skip "no namespaces here: $(grep -m 1 . "$folder/out")"
unset OMPI_MCA_btl_vader_backing_directory OMPI_MCA_rmaps_base_oversubscribe

make_sweep "$folder/small"
sweep=$folder/small/sweep.json
expect "one rank" 0 "$winnow" run "$sweep" -o "$folder/one.h5"
digest=$(digest_of "$folder/one.h5")

# on_hosts HOSTS SLOTS: checks exit code, digest and that every host computed points.
on_hosts() {
  local file=$folder/$1x$2.h5 names
  expect "$1 hosts with $2 slots" 0 timeout -k 5 180 bash "$hosts" -n "$1" -s "$2" -- "$winnow" run "$sweep" -o "$file"
  same "digests of one rank and $1 hosts with $2 slots" "$digest" "$(digest_of "$file")"
  names=$("$winnow" show --json "$file" | grep -o '"host":.*"' | sort -u | wc -l)
  same "hosts that computed points, of $1" "$names" "$1"
}
on_hosts 2 1
on_hosts 2 2

# A host that dies: the job ends by itself, and the same command goes on.
file=$folder/dies.h5
code=0
timeout -k 5 180 bash "$hosts" -k node2:1 -- "$winnow" run "$sweep" -o "$file" >"$folder/out" 2>"$folder/err" || code=$?
[ "$code" != 124 ] || fail "a host died: the job hung"
[ ! -e "$file" ] || expect "verify after a host died" 0 "$winnow" verify "$file"
expect "the same command after a host died" 0 "$winnow" run "$sweep" -o "$file"
same "digests after a host died" "$digest" "$(digest_of "$file")"
finish
