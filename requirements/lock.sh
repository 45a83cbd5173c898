#!/bin/sh
# Resolves every extra and group together, then writes one lock each, so that any of them can be installed side by side.
#
#   requirements/lock.sh              keep the versions that are locked, add what is new
#   requirements/lock.sh --upgrade    take the newest versions that pyproject.toml allows
#
# The locks name packages, versions and hashes, and no download address.
set -eu
cd "$(dirname "$0")/.."
uv="${UV:-.venv/bin/uv}"
common="--universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet"
groups="--group embedded --group embedded-qwen2.5-coder-0.5b --group learn --group dev"
all=$(mktemp)
trap 'rm -f "$all"' EXIT

[ "${1:-}" = "--upgrade" ] || cat requirements/*.lock >"$all" 2>/dev/null || true
# shellcheck disable=SC2086  # $common is a list of words
"$uv" pip compile $common "$@" pyproject.toml --all-extras $groups --output-file "$all"
for extra in project1 project2 project3 project4 ocr; do
    # shellcheck disable=SC2086
    "$uv" pip compile $common pyproject.toml --extra "$extra" --constraints "$all" --output-file "requirements/$extra.lock"
done
# shellcheck disable=SC2086
"$uv" pip compile $common pyproject.toml --extra embedded --group embedded --constraints "$all" --output-file requirements/embedded.lock
for group in embedded-qwen2.5-coder-0.5b learn dev; do
    # shellcheck disable=SC2086
    "$uv" pip compile $common --group "$group" --constraints "$all" --output-file "requirements/$group.lock"
done
