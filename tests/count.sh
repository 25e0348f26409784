# count.sh: runs test tools and adds up their counts (sourced by tests/run and .ci/run).
# SPDX-License-Identifier: Apache-2.0

wn_passed=0 wn_failed=0 wn_skipped=0

# One check with a name: a command that fails is one failed test.
wn_check() {
  local name=$1
  shift
  if "$@"; then
    wn_passed=$((wn_passed + 1))
  else
    echo "FAILED: $name"
    wn_failed=$((wn_failed + 1))
  fi
}

# Reads tests, failures and skipped from a JUnit file.
wn_count_junit() {
  local file=$1 numbers
  numbers=$(python3 - "$file" <<'PY'
import sys
import xml.etree.ElementTree as tree

tests = failed = skipped = 0
try:
    root = tree.parse(sys.argv[1]).getroot()
    for suite in [root] if root.tag == "testsuite" else root:
        number = lambda key: int(suite.get(key) or 0)
        tests += number("tests")
        failed += number("failures") + number("errors")
        skipped += number("skipped") + number("disabled")
except (OSError, tree.ParseError):
    tests = failed = 1
print(tests - failed - skipped, failed, skipped)
PY
  )
  set -- $numbers
  wn_passed=$((wn_passed + $1)) wn_failed=$((wn_failed + $2)) wn_skipped=$((wn_skipped + $3))
}

# wn_count_ctest BUILD_FOLDER [CTEST ARGUMENTS]
wn_count_ctest() {
  local build=$1
  shift
  rm -f "$build/junit.xml"
  ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(nproc)" --output-junit junit.xml "$@"
  wn_count_junit "$build/junit.xml"
}

# The Python package of analysis/ in an environment of its own (.venv).
wn_python_environment() {
  [ -x .venv/bin/python ] || python3 -m venv .venv || return 1
  .venv/bin/python -m pip install -q --disable-pip-version-check -e "analysis[test]" >.venv/pip.log 2>&1 && return 0
  tail -n 5 .venv/pip.log
  echo "the Python packages cannot be installed: no network?"
  return 1
}

# The published codes that tests compare with, in the same environment.
wn_reference_environment() {
  .venv/bin/python -m pip install -q --disable-pip-version-check -r tests/reference.txt >.venv/pip.log 2>&1 && return 0
  tail -n 3 .venv/pip.log
  echo "the published codes cannot be installed: tests that compare with them are skipped"
}

wn_python_tests() {
  rm -f build/pytest.xml
  .venv/bin/python -m pytest -q --junitxml build/pytest.xml analysis/tests
  wn_count_junit build/pytest.xml
}

# The closing line; fails when a test failed or none passed.
wn_total() {
  local skipped=""
  [ "$wn_skipped" -gt 0 ] && skipped=", $wn_skipped skipped"
  echo "$wn_passed passed, $wn_failed failed$skipped"
  [ "$wn_failed" -eq 0 ] && [ "$wn_passed" -gt 0 ]
}
