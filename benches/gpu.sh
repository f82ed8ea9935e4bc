#!/usr/bin/env bash
# Everything that only a GPU can say, in one run of less than ten minutes: whether kernels are right, how fast they are
# beside cuBLAS, PyTorch and torch.compile, and what each instruction does, as vectors for the emulator's tests.
#
#     benches/gpu.sh [SECTION…]     sections: correct gemm memory attention models golden; all unless said
#
# TCC names a binary that is built already; PYTHON a Python with torch, onnx and numpy.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
  echo "SKIPPED: expected a GPU that PyTorch can use ($python), found none"
  exit 0
fi
if [ -z "${TCC:-}" ]; then
  cargo build --release --quiet
  TCC=${CARGO_TARGET_DIR:-target}/release/tcc
fi
exec "$python" -W ignore benches/gpu/suite.py "$TCC" "$@"
