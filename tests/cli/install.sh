# install.sh: what `cmake --install` puts where: the program that runs from there, manual page, completion, sweeps, job script.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
build=$(dirname "$winnow")
[ -f "$build/cmake_install.cmake" ] || skip "winnow is not in a build folder"
expect "cmake --install" 0 cmake --install "$build" --prefix "$folder/prefix"
expect "the installed program" 0 "$folder/prefix/bin/winnow" help sweep
for file in share/man/man1/winnow.1 share/bash-completion/completions/winnow share/winnow/slurm/sweep.sbatch \
  share/winnow/sweeps/sweep.schema.json share/winnow/sweeps/evopress.json share/doc/winnow/LICENSE \
  share/doc/winnow/CITATION.cff; do
  [ -s "$folder/prefix/$file" ] || fail "not installed: $file"
done
[ ! -e "$folder/prefix/share/winnow/sweeps/demo" ] || fail "the demo, with its model, is installed"

# Completion as bash runs it.
COMP_WORDS=(winnow sta) COMP_CWORD=1
. "$folder/prefix/share/bash-completion/completions/winnow"
_winnow
same "completion of a command" "${COMPREPLY[*]}" status
COMP_WORDS=(winnow status --wa) COMP_CWORD=2
_winnow
same "completion of an option" "${COMPREPLY[*]}" --watch

# Every command has its place in the manual page, which is free of mistakes where there is a formatter.
for command in plan run status show verify export tokens; do
  grep -q "^\.SS $command\|winnow $command" "$folder/prefix/share/man/man1/winnow.1" || fail "manual page without $command"
done
if command -v groff >/dev/null; then
  groff -man -ww -z "$folder/prefix/share/man/man1/winnow.1" 2>"$folder/warnings" && [ ! -s "$folder/warnings" ] ||
    fail "manual page: $(head -n 1 "$folder/warnings")"
fi
finish
