#!/usr/bin/env bash
# Makes demo/ anew from nothing: texts and vocabulary from demo/base, then the base model, trained from scratch by
# OrtQLoRA itself. Same machine and number of threads, same result; a few minutes on two cores.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$root/artifacts/demo-base

"$root/ortqlora" build
dotnet run --project "$root/demo/base" -c Release -- "$work"
"$root/ortqlora" train \
  --model "$work/untrained.onnx" --tokenizer "$work/tokenizer.bin" \
  --data "$work/harbour.jsonl" --eval-data "$work/harbour-eval.jsonl" --append-eos \
  --method full --batch 32 --epochs 1.5 --lr 2e-3 --lr-schedule cosine --warmup-steps 100 --weight-decay 0.05 --adam-beta2 0.95 \
  --seed 1 --out "$work/run"
"$root/ortqlora" export --run "$work/run" --to merged --output "$work/model.onnx"
cp "$work/model.onnx" "$work/tokenizer.bin" "$work/logbook.jsonl" "$work/logbook-eval.jsonl" "$root/demo/"
ls -l "$root/demo"
