#!/usr/bin/env bash
# Makes wct_jax/networks/compact.safetensors again: docs/compact.md says what from, how long it takes and how good it gets.
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
runs=runs/compact
model=$runs/before.safetensors

# The first three blocks and their decoders: many steps of small crops, then fewer of larger ones.
shallow=(wct-distill --teachers "$vgg19" "$compressed4" "$compressed5" "${photos[@]}" --out "$runs/shallow")
"${shallow[@]}" --steps 5000 --batch-size 8 --crop 64
"${shallow[@]}" --steps 9000 --batch-size 4 --crop 128

# The last two anew on these, judged by a small network and then by the large one.
deep=(wct-distill --teachers "$compressed5" --from relu4_1 "${photos[@]}" --batch-size 4 --crop 128
    --feature-weight 0.2 --perceptual-weight 1)
"${deep[@]}" --model "$runs/shallow/model.safetensors" --out "$runs/deep" --steps 3000 --learning-rate 0.005 \
    --judges "$compressed5"
"${deep[@]}" --model "$runs/deep/model.safetensors" --finetune --out "$runs/judged" --steps 1300 \
    --learning-rate 0.003 --judges "$vgg19"

# The deep decoders alone, to show what VGG-19 sees; the last block once more, which that left short of it; then the other
# decoders, to give what is transformed the style's covariance.
decoder() {
    local layer=$1 steps=$2 pixel=$3 style=$4 out=$5
    shift 5
    wct-train --layer "$layer" --model "$model" "${photos[@]}" --out "$runs/$out" --finetune --overwrite \
        --steps "$steps" --batch-size 4 --crop 128 --learning-rate 0.002 \
        --pixel-weight "$pixel" --feature-weight 0 --perceptual-weight 1 --style-weight "$style" --judges "$vgg19" "$@"
}
if [ ! -e "$runs/last/model.safetensors" ]; then
    [ -e "$model" ] || cp "$runs/judged/model.safetensors" "$model"
    decoder relu5_1 700 10 0 relu5_1
    decoder relu4_1 400 10 0 relu4_1
    decoder relu5_1 550 1 0 relu5_1-again --seed 1
    cp "$model" "$runs/before-last.safetensors"
fi
wct-distill --teachers "$compressed5" --model "$runs/before-last.safetensors" --from relu5_1 --finetune \
    "${photos[@]}" --out "$runs/last" --steps 600 --batch-size 4 --crop 128 --learning-rate 0.004 \
    --feature-weight 0.2 --perceptual-weight 3 --judges "$vgg19"
model=$runs/compact-last.safetensors
[ -e "$model" ] || cp "$runs/last/model.safetensors" "$model"
decoder relu5_1 400 1 0 relu5_1-last --judge-layers relu3_1
decoder relu5_1 250 0.1 0 relu5_1-end --judge-layers relu3_1 --seed 2
decoder relu3_1 350 10 2 relu3_1
decoder relu2_1 180 10 3 relu2_1
decoder relu1_1 60 10 3 relu1_1
python recipes/pack.py "$model" wct_jax/networks/compact.safetensors
