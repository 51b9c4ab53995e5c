#!/usr/bin/env bash
# Fetches the console's scripts and styles from npm, pinned by version and digest, with their licences. They are committed:
# the console serves everything itself, and nobody needs npm to build or run it.
set -euo pipefail
cd "$(dirname "$0")/.."
into=console/static/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # package version sha256, then "path in the package" "name here" pairs
  local package=$1 version=$2 digest=$3
  shift 3
  (cd "$work" && npm pack --silent "$package@$version" >/dev/null)
  local archive="$work/$package-$version.tgz"
  echo "$digest  $archive" | sha256sum --check --quiet
  mkdir -p "$work/$package"
  tar -xzf "$archive" -C "$work/$package"
  while [ $# -gt 0 ]; do
    install -m 0644 "$work/$package/package/$1" "$into/$2"
    shift 2
  done
  echo "vendor: $package $version"
}

mkdir -p "$into"
fetch htmx.org 4.0.1 5fba65616ca148a86d377e9771bcada7f35faee3558651feb929eea425e13b3c dist/htmx.min.js htmx.min.js LICENSE htmx.LICENSE
fetch asciinema-player 3.18.0 18d9703510fae9209da9e26ce3d13c59f083b4abcff003a3bba958e03918a862 \
  dist/bundle/asciinema-player.min.js asciinema-player.min.js dist/bundle/asciinema-player.css asciinema-player.css \
  LICENSE asciinema-player.LICENSE
