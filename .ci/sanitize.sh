#!/usr/bin/env bash
# Run the native code under AddressSanitizer and UBSan: the kernels by a driver of their own, for this machine and, in
# an emulator, for arm64; then the library by its tests. ThreadSanitizer watches the driver, too.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r setup.py README.md wct_jax "$scratch"

# Compile the library in the copy as setup.py does, for a platform; then the driver with the same kernels.
compile() {
  local compiler=$1 platform=$2 flags="-g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=$3"
  echo "+ $compiler $flags"
  (cd "$scratch" && CXX=$compiler CXXFLAGS=$flags python setup.py -q build_ext --inplace --force \
    --plat-name "$platform" --build-temp "$platform")
  # Of the library's own, the driver has no need.
  find "$scratch/$platform" -name '*.o' ! -name library.o -print0 | xargs -0 \
    "$compiler" -std=c++17 $flags -pthread -I wct_jax/kernels/native tests/kernels/native_driver.cc \
    -o "$scratch/driver"
}

if command -v aarch64-linux-gnu-g++ > /dev/null && command -v qemu-aarch64 > /dev/null; then
  compile aarch64-linux-gnu-g++ linux-aarch64 address,undefined
  ASAN_OPTIONS=detect_leaks=0 qemu-aarch64 -L /usr/aarch64-linux-gnu "$scratch/driver" 30
else
  echo "skipped the kernels for arm64: there is no aarch64-linux-gnu-g++ or no qemu-aarch64"
fi

compile g++ "linux-$(uname -m)" thread
"$scratch/driver" 50
compile g++ "linux-$(uname -m)" address,undefined
"$scratch/driver" 100
# Before Python, whose own leaks do not matter: AddressSanitizer, and the C++ library, so that it sees exceptions thrown.
export ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$scratch
LD_PRELOAD=$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libstdc++.so)
export LD_PRELOAD
python -P -c 'from wct_jax.kernels.native import library; assert library.instructions(), library.reason()'
pytest -s -n 0 -q tests/kernels/test_moments.py tests/kernels/test_conv.py tests/kernels/test_conv_transforms.py \
  -k 'sums or canvas or threads or callback or (gradients and not larger)'
