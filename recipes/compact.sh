#!/usr/bin/env bash
# Makes wct_jax/compact.safetensors again: docs/compact.md says what from, how long it takes and how good it gets.
#
#   recipes/compact.sh VGG19 COMPRESSED4 COMPRESSED5 PHOTOS VAL
#
# VGG19 is the normalised VGG-19, at least up to relu3_1, COMPRESSED4 and COMPRESSED5 the encoders of Collaborative
# Distillation for relu4_1 and relu5_1: model files of convert_vgg.py. PHOTOS and VAL are folders of photos. The same
# command goes on with what was broken off.
set -euo pipefail
if [ $# -ne 5 ]; then
    echo "usage: $0 VGG19 COMPRESSED4 COMPRESSED5 PHOTOS VAL" >&2
    exit 2
fi
vgg19=$1 compressed4=$2 compressed5=$3
photos=(--data "$4" --val "$5")
model=runs/compact/compact.safetensors

# The encoder, with its first decoders: many steps of small crops, then fewer of larger ones.
distill=(wct-distill --teachers "$vgg19" "$compressed4" "$compressed5" "${photos[@]}" --out runs/compact/encoder)
"${distill[@]}" --steps 5000 --batch-size 8 --crop 64
"${distill[@]}" --steps 9000 --batch-size 4 --crop 128
python recipes/pack.py runs/compact/encoder/model.safetensors "$model"

# The decoders, to draw what the features say: LAYER STEPS BATCH CROP JUDGES...
decoder() {
    local layer=$1 steps=$2 batch=$3 crop=$4
    wct-train --layer "$layer" --model "$model" "${photos[@]}" --out "runs/compact/$layer" --finetune --overwrite \
        --steps "$steps" --batch-size "$batch" --crop "$crop" --learning-rate 0.002 \
        --pixel-weight 10 --feature-weight 0 --perceptual-weight 1 --style-weight 1 --judges "${@:5}"
}
decoder relu5_1 500 4 128 "$compressed5"
decoder relu4_1 450 4 128 "$compressed5"
decoder relu3_1 350 4 128 "$vgg19"
python recipes/pack.py "$model" wct_jax/compact.safetensors
