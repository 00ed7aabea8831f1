#!/usr/bin/env bash
# Trains the painter of wct_jax/networks/compact.safetensors again: docs/compact.md says how long it takes and how good it gets.
#
#   recipes/painter.sh VGG19 PHOTOS PAINTINGS VAL
#
# VGG19 is the normalised VGG-19, at least up to relu3_1, a model file of convert_vgg.py. The others are folders. The same
# command goes on with what was broken off.
set -euo pipefail
if [ $# -ne 4 ]; then
    echo "usage: $0 VGG19 PHOTOS PAINTINGS VAL" >&2
    exit 2
fi
runs=runs/compact-painter
model=$runs/model.safetensors
mkdir -p "$runs"
[ -e "$model" ] || cp wct_jax/networks/compact.safetensors "$model"
train=(wct-train --painter --model "$model" --data "$2" --styles "$3" --val "$4" --overwrite)

# First a painter that rebuilds photos through the encoder's features, from the decoder of relu4_1; then one that paints, and
# last one that paints more freely.
"${train[@]}" --out "$runs/rebuilds" --steps 1000 --batch-size 8 --crop 128 --style-weight 0 --structure-weight 0 \
    --weave-weight 0 --gamut-weight 0 --pixel-weight 20 --feature-weight 1
"${train[@]}" --out "$runs/paints" --finetune --seed 1 --steps 5500 --batch-size 4 --crop 192 --learning-rate 0.007 \
    --judges "$1"
"${train[@]}" --out "$runs/freely" --finetune --seed 2 --steps 5800 --batch-size 4 --crop 192 --learning-rate 0.004 \
    --feature-weight 0.03 --structure-weight 0.04 --judges "$1"
python recipes/pack.py "$model" wct_jax/networks/compact.safetensors
