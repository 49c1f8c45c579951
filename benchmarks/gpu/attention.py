"""PyTorch's attention kernels over the shapes of bench_attention_cuda, in bf16, timed as replays of CUDA graphs."""

import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SHAPES = "8x32x32x1024x64,8x32x8x1024x64,4x32x8x1024x128,1x32x8x512x64"
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
REPEATS, ROUNDS = 5, 15


def replay(work):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(REPEATS):
            work()
    times = []
    for _ in range(ROUNDS + 1):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / REPEATS)
    return sorted(times[1:])[ROUNDS // 2]


def main():
    print("| batch x heads/groups x length x size | visible | kernel | forward us | both us |\n|---|---|---|---|---|")
    for shape in (sys.argv[1] if len(sys.argv) > 1 else SHAPES).split(","):
        batch, heads, groups, length, size = map(int, shape.split("x"))
        make = lambda count: torch.randn(batch, length, count, size, device="cuda", dtype=torch.bfloat16)
        q, k, v = (make(count).transpose(1, 2).requires_grad_() for count in (heads, groups, groups))
        dy = make(heads).transpose(1, 2)
        for name, backend in BACKENDS.items():
            for causal in (True, False):
                run = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=heads != groups)

                def both():
                    q.grad = k.grad = v.grad = None
                    run().backward(dy)

                try:
                    with sdpa_kernel(backend):
                        with torch.no_grad():
                            forward = replay(run)
                        times = f"{forward:.0f} | {replay(both):.0f}"
                except RuntimeError as error:
                    times = f"- | {str(error).splitlines()[0]}"
                print(f"| {batch} x {heads}/{groups} x {length} x {size} | {'causal' if causal else 'all'} | {name} | {times} |", flush=True)


main()
