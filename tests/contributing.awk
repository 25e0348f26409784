# Writes the files that CONTRIBUTING.md shows: a block begins with ```c and its path. Folders are those of their source.
#   awk -v folder=BUILD -f contributing.awk CONTRIBUTING.md
# SPDX-License-Identifier: Apache-2.0
/^```c / { file = $2; gsub(/.*\//, "", file); file = folder "/" file; printf "" > file; next }
/^```/ { if (file) close(file); file = ""; next }
file { print > file }
