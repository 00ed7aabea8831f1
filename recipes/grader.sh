#!/usr/bin/env bash
# Trains the grader of wct_jax/networks/compact.safetensors again: docs/compact.md says how long it takes and how good it gets.
#
#   recipes/grader.sh VGG19 PHOTOS VAL
#
# VGG19 is the normalised VGG-19, at least up to relu3_1, a model file of convert_vgg.py. The others are folders. The same
# command goes on with what was broken off.
set -euo pipefail
if [ $# -ne 3 ]; then
    echo "usage: $0 VGG19 PHOTOS VAL" >&2
    exit 2
fi
runs=runs/compact-grader
model=$runs/model.safetensors
mkdir -p "$runs"
[ -e "$model" ] || cp wct_jax/networks/compact.safetensors "$model"

train=(wct-train --grader --model "$model" --data "$2" --styles "$2" --val "$3" --overwrite --batch-size 3 --crop 256)

# First a grader that keeps edges closely; then one that takes more of the style.
"${train[@]}" --out "$runs/grades" --seed 1 --steps 5200 --learning-rate 0.003 --judges "$1"
"${train[@]}" --out "$runs/freely" --finetune --seed 3 --steps 800 --learning-rate 0.0012 --edges-weight 0.15 \
    --gamut-weight 1.5 --smooth-weight 0.05 --judges "$1"
python recipes/pack.py "$model" wct_jax/networks/compact.safetensors
