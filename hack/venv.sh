#!/usr/bin/env bash
# Makes .venv from a lock file. Usage: hack/venv.sh requirements/dev.lock
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "setup: Python 3.11 or newer was not found; install it or name it: make setup PYTHON=/path/to/python3" >&2
  exit 2
}

python=$(find_python)
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing Debian's python3-venv"
    (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y python3-venv) >/dev/null
  else
    echo "setup: $python has no venv module; on Debian or Ubuntu: sudo apt-get install python3-venv" >&2
    exit 2
  fi
fi

rows=$(grep -c '==' "$lock")
echo "setup: making .venv with $("$python" --version) and $rows pinned packages (about a minute, once)"
[ -x .venv/bin/python ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || "$python" -m venv --clear .venv
pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet)
report=$(mktemp)
trap 'rm -f "$report"' EXIT
if ! { "${pip[@]}" install --require-hashes -r "$lock" && "${pip[@]}" install --no-deps -e .; } >"$report" 2>&1; then
  cat "$report" >&2
  echo "setup: pip could not install $lock (its words are above); check that your package index can be reached" >&2
  exit 1
fi
touch .venv/.installed
echo "setup: done. Next: make demo"
