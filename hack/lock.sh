#!/usr/bin/env bash
# Writes requirements/*.lock (every version and hash pinned) from setup.cfg, with pip-tools in a throw-away venv.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install "pip-tools>=7.5"
mkdir -p requirements
compile() {
  "$work/venv/bin/pip-compile" --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links \
    --no-emit-trusted-host --no-header "${@:2}" --output-file "$1" setup.cfg 2>/dev/null
  echo "lock: wrote $1 ($(grep -c '==' "$1") packages)"
}
compile requirements/run.lock "$@"
compile requirements/dev.lock --extra dev --constraint requirements/run.lock "$@"
