#!/usr/bin/env bash
# All tests, in three parts: the core alone with full branch coverage, the rest, and end to end on a real cluster.
# Usage: hack/test.sh [PATH…] runs only these paths instead, without coverage.
set -uo pipefail
cd "$(dirname "$0")/.."
if [ "$*" != "tests" ]; then
  exec .venv/bin/pytest "$@"
fi
began=$SECONDS
failed=() second_time=()
known=.pytest_cache/v/cache/lastfailed
part() { # its title, minutes, and arguments of pytest
  local title=$1 minutes=$2
  shift 2
  echo
  echo "test: $title (about $minutes min)"
  rm -f "$known"
  .venv/bin/pytest -q "$@"
}
exact_part() { # fails when anything fails
  part "$@" || failed+=("$1")
}
patient_part() { # a busy machine misses a deadline now and then; what is broken fails again
  local title=$1 names=()
  part "$@" && return
  [ $? = 1 ] && mapfile -t names < <(.venv/bin/python -c 'import json, sys; print(*json.load(open(sys.argv[1])), sep="\n")' "$known")
  shift 2
  echo
  if [ ${#names[@]} -ge 1 ] && [ ${#names[@]} -le 12 ]; then
    echo "test: the ${#names[@]} test(s) that failed, once more, alone"
    .venv/bin/pytest -q "$@" --last-failed --last-failed-no-failures none && second_time+=("${names[@]}") && return
  fi
  failed+=("$title")
}
exact_part "the core, all branches" 2 tests/core --cov=chaperone.core --cov-branch --cov-report=term --cov-fail-under=100
echo
echo "test: finding a Kubernetes to test against (seconds; 5 to 15 min, once, where it has to be built)"
.venv/bin/python -c 'import os; from hack.cluster.sources import find_binaries; find_binaries(os.environ, print)' ||
  exit 1
patient_part "programs, settings, scripts" 6 tests --ignore=tests/core --ignore=tests/e2e
patient_part "end to end: real kubectl, API server and pods" 18 tests/e2e
echo
[ ${#second_time[@]} -eq 0 ] || printf 'test: passed only the second time: %s\n' "${second_time[@]}"
if [ ${#failed[@]} -gt 0 ]; then
  printf 'test: FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "test: everything passed in $(((SECONDS - began + 59) / 60)) min. Next: make demo"
