#!/usr/bin/env bash
# Build the site from nothing, its notebooks run and warnings as errors, and check what came out.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
.venv/bin/sphinx-build -q -W --keep-going -n docs "$scratch/site"
.venv/bin/python .ci/check_site.py "$scratch/site"
