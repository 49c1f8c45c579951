#!/usr/bin/env bash
# Builds the operators with their CUDA kernels, tests them on the GPU of this machine, runs the tests under
# compute-sanitizer, times the kernels beside cuBLAS, whole training steps and, where they are there, the Python peers; writes
# one results file.
#
#   benchmarks/gpu/run.sh [--out FILE] [--build DIR] [--no-build] [--program FILE] [--peers DIR] [--quick]
#
#   --out FILE    results, Markdown (default: artifacts/gpu-results.md)
#   --build DIR   CMake's build folder (default: cuda-ops/build/gpu)
#   --no-build    take what is in that folder
#   --program FILE  ortqlora.dll of a build with -p:OrtFlavor=Gpu, for the steps (default: the repository's Release build, if there)
#   --peers DIR   folder with gemm.py and lora_step.py (default: ../shared/peers/gpu beside the repository, if there)
#   --quick       fewer shapes, no peers
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$root/artifacts/gpu-results.md build=$root/cuda-ops/build/gpu peers=$root/../shared/peers/gpu
program=$root/tools/ortqlora/bin/Release/net10.0/ortqlora.dll
compile=1 quick=0
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$2; shift ;;
    --build) build=$2; shift ;;
    --program) program=$2; shift ;;
    --peers) peers=$2; shift ;;
    --no-build) compile=0 ;;
    --quick) quick=1 ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 1 ;;
  esac
  shift
done
command -v nvidia-smi >/dev/null || { echo "run.sh: nvidia-smi is missing; this needs an NVIDIA GPU and its driver." >&2; exit 1; }
mkdir -p "$(dirname "$out")"
: >"$out"
code=0

say() { printf '%s\n' "$*" | tee -a "$out"; }
# A command's output as a block of the results; its failure fails the run.
block() {
  local title=$1 status
  shift
  say "" "## $title" ""
  say '```'
  "$@" 2>&1 | tee -a "$out"
  status=${PIPESTATUS[0]}
  say '```'
  [ "$status" = 0 ] || [ "$status" = 77 ] || { say "FAILED with status $status"; code=1; }
}

# cuBLAS of a PyTorch installation, where the machine has no other.
if ! ldconfig -p 2>/dev/null | grep -q libcublas.so && command -v python3 >/dev/null; then
  folders=$(python3 -c 'import nvidia, os
print(":".join(d for p in nvidia.__path__ for d, _, f in os.walk(p) if any(n.startswith("libcublas.so") for n in f)))' 2>/dev/null)
  export LD_LIBRARY_PATH=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi

say "# CUDA kernels: results" ""
say "$(nvidia-smi --query-gpu=name,driver_version,memory.total,power.limit --format=csv,noheader | head -n 1), $(date -u +%Y-%m-%d)"
if [ "$compile" = 1 ]; then
  { cmake -S "$root/cuda-ops" -B "$build" -DCMAKE_BUILD_TYPE=Release -DORTQLORA_CUDA=ON -DORTQLORA_BUILD_TESTS=ON \
      -DORTQLORA_BUILD_BENCH=ON && cmake --build "$build" --parallel "$(nproc)"; } >"$out.build.log" 2>&1 ||
    { tail -n 40 "$out.build.log" >&2; say "The build failed, see $out.build.log"; exit 1; }
fi

# A test under a tool of compute-sanitizer. Races that racecheck sees within cuBLAS's own kernels (nvjet) do not count: it
# does not know their barriers, and leaving them out of its view breaks them.
check() {
  local log status
  log=$(mktemp)
  compute-sanitizer --tool "$1" --error-exitcode 9 "$2" >"$log" 2>&1
  status=$?
  tail -n 20 "$log"
  if [ "$1" = racecheck ] && [ "$status" = 9 ] && ! grep 'Race reported' "$log" | grep -qv nvjet && ! grep -q '^FAILED' "$log"; then
    status=0
  fi
  rm -f "$log"
  return "$status"
}

tests=("$build"/test/test_*_cuda)
for test in "${tests[@]}"; do block "$(basename "$test")" "$test"; done
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    for test in "${tests[@]}"; do
      # The sanitizer is a hundred times slower: the tests take fewer sizes under it.
      block "$(basename "$test") under $tool" env ORTQLORA_TEST_SMALL=1 bash -c "$(declare -f check); check $tool $test"
    done
  done
else
  say "" "compute-sanitizer is not on the path: memory and race checks were not run."
fi
# A step of a Llama shape with LoRA of rank 16 on all linear layers, bf16 over an int8 base.
step() {
  local title=$1
  shift
  block "Step: $title" env ORTQLORA_OPS_LIBRARY="$build/libortqlora_ops.so" dotnet "$program" bench step "$@" \
    --vocab 128256 --chunk-tokens 65536 --quant eetq --device cuda --precision bf16
}
llama_1b=(--hidden 2048 --mlp 8192 --layers 16 --heads 32 --kv-heads 8 --tied)
llama_8b=(--hidden 4096 --mlp 14336 --layers 32 --heads 32 --kv-heads 8)
if [ -f "$program" ] && command -v dotnet >/dev/null; then
  step "1B, 1 x 512, CUDA graphs" "${llama_1b[@]}" --batch 1 --length 512 --cuda-graphs
  step "1B, 8 x 1024" "${llama_1b[@]}" --batch 8 --length 1024
  [ "$quick" = 1 ] || step "8B, 4 x 1024, recomputation" "${llama_8b[@]}" --batch 4 --length 1024 --gradient-checkpointing
else
  say "" "No steps: $program or dotnet is missing."
fi
if [ "$quick" = 1 ]; then
  block "Products beside cuBLAS bf16" "$build/bench/bench_gemm_cuda" --shapes 4096x4096,2048x8192 --rows 1,16,64,512,2048
  block "Attention" "$build/bench/bench_attention_cuda" --shapes 8x32x32x1024x64
else
  block "Products beside cuBLAS bf16" "$build/bench/bench_gemm_cuda"
  block "Attention" "$build/bench/bench_attention_cuda"
  if python3 -c 'import torch' 2>/dev/null; then block "Attention of PyTorch" python3 "$root/benchmarks/gpu/attention.py"; fi
  if [ -f "$peers/gemm.py" ] && python3 -c 'import torch' 2>/dev/null; then
    site=$(mktemp -d)
    python3 -m pip install -q --no-index --no-deps --target "$site" "$peers"/wheels/*.whl 2>/dev/null
    export PYTHONPATH=$site
    block "Peer: gemm.py" python3 "$peers/gemm.py"
    block "Peer: 1B, 8 x 1024" python3 "$peers/lora_step.py" --model 1b --batch 8 --seq 1024 --variant bf16 compile liger
    block "Peer: 1B, 1 x 512" python3 "$peers/lora_step.py" --model 1b --batch 1 --seq 512 --variant bf16 liger
    block "Peer: 8B, 4 x 1024, recomputation" python3 "$peers/lora_step.py" --model 8b --batch 4 --seq 1024 --checkpointing --variant liger
  else
    say "" "No peers: $peers/gemm.py or PyTorch is missing."
  fi
fi
say "" "$([ "$code" = 0 ] && echo "All checks passed." || echo "Some checks FAILED.")"
exit $code
