#!/usr/bin/env bash
# Build the site from nothing, its notebooks run and warnings as errors, and check what came out: .ci/site.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
site=${1:-$scratch/site}
.venv/bin/sphinx-build -q -W --keep-going -n -E -a -d "$scratch/doctrees" docs "$site"
.venv/bin/python .ci/check_site.py "$site"
