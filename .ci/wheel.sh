#!/usr/bin/env bash
# Build the sdist and the wheel into a folder: .ci/wheel.sh DIST. On Linux auditwheel then finds, and writes into the
# wheel's name, how old a Linux it runs on.
set -euo pipefail
dist=$(realpath "$1")
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

python -m build --outdir "$dist" .
for wheel in "$dist"/*-linux_*.whl; do
  [ -e "$wheel" ] || continue  # Without a compiler it is for any platform.
  auditwheel repair --wheel-dir "$dist" "$wheel"
  rm "$wheel"
done
