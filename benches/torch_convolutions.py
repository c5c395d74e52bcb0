#!/usr/bin/env python3
"""Times PyTorch's own convolutions on the shapes of `unet-engine bench kernels`, as a check of how cuDNN is measured there.

  unet-engine bench kernels --list --json > shapes.json
  benches/torch_convolutions.py shapes.json > torch.json
  unet-engine bench kernels --torch torch.json

The conditions are the same: channels last, caches cold (memory larger than them is written before each run), operands rotated, random
numbers, no TF32 for f32, medians. PyTorch chooses among cuDNN's algorithms by trying them (torch.backends.cudnn.benchmark). Two images whose
channels follow one another are one tensor, as for cuDNN there. Prints one JSON object; cases that are no convolution are left out.

  --device cpu    for a trial without a GPU, with --shrink: at most 16 x 16 pixels and 2 images
"""
import argparse, json, statistics, sys, time
import torch
import torch.nn.functional as F

FLUSH_BYTES = 128 << 20


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", help="what `bench kernels --list --json` printed; - for stdin")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=21)
    return parser.parse_args()


def operands(c, device, dtype):
    """x, w and dy of the layer, by the roles that they have in PyTorch's convolution."""
    random = lambda *shape: (torch.rand(*shape, device=device) * 2 - 1).to(dtype).contiguous(memory_format=torch.channels_last)
    n, h, w, ci, co, k = c["n"], c["height"], c["width"], sum(c["channels_in"]), c["channels_out"], c["kernel"]
    if c["kind"] == "conv_transpose2d":
        return random(n, ci, h, w), random(ci, co, k, k), random(n, co, 2 * h, 2 * w)
    return random(n, ci, h, w), random(co, ci, k, k), random(n, co, h, w)


def function(c):
    """One pass of the layer, as a function of x, w and dy."""
    transposed = c["kind"] == "conv_transpose2d"
    stride, padding = (2, 0) if transposed else (1, (c["kernel"] - 1) // 2)
    if c["pass"] == "forward":
        forward = F.conv_transpose2d if transposed else F.conv2d
        return lambda x, w, dy: forward(x, w, stride=stride, padding=padding)
    mask = [c["pass"] == "data_grad", c["pass"] == "weight_grad", False]
    back = torch.ops.aten.convolution_backward
    return lambda x, w, dy: back(dy, x, w, None, [stride] * 2, [padding] * 2, [1, 1], transposed, [0, 0], 1, mask)


class Clock:
    """Milliseconds of a call with cold caches."""

    def __init__(self, device):
        self.is_gpu = device == "cuda"
        if self.is_gpu:
            properties = torch.cuda.get_device_properties(0)
            bytes = max(2 * getattr(properties, "L2_cache_size", 0), FLUSH_BYTES)
            self.cache_bytes = getattr(properties, "L2_cache_size", 0)
            self.flush = torch.empty(bytes, dtype=torch.int8, device=device)
            self.start, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        else:
            self.cache_bytes = 0

    def ms(self, call):
        if not self.is_gpu:
            start = time.perf_counter()
            call()
            return (time.perf_counter() - start) * 1e3
        # The write also keeps the device busy while the call is prepared, so that its launch costs nothing.
        self.flush.zero_()
        self.start.record()
        call()
        self.end.record()
        self.end.synchronize()
        return self.start.elapsed_time(self.end)


def measure(case, a, clock):
    c = case["convolution"]
    if a.shrink:
        c = dict(c, n=min(c["n"], 2), height=min(c["height"], 16), width=min(c["width"], 16))
    dtype = torch.float16 if c["half"] else torch.float32
    copies = max(2, min(16, -(-2 * clock.cache_bytes // case["bytes"])))
    sets = [operands(c, a.device, dtype) for _ in range(copies)]
    call = function(c)
    times = [clock.ms(lambda: call(*sets[i % copies])) for i in range(a.warm_up + a.repeats)][a.warm_up:]
    quartiles = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else [times[0]] * 3
    return dict(id=case["id"], ms=statistics.median(times), ms_lower_quartile=quartiles[0], ms_upper_quartile=quartiles[2])


def main():
    a = arguments()
    with sys.stdin if a.shapes == "-" else open(a.shapes) as file:
        cases = [case for case in json.load(file) if case["convolution"]]
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    clock = Clock(a.device)
    rows = [measure(case, a, clock) for case in cases]
    device = torch.cuda.get_device_name(0) if a.device == "cuda" else "cpu"
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    print(json.dumps(dict(torch=torch.__version__, cudnn=cudnn, device=device, repeats=a.repeats, rows=rows), indent=1))


if __name__ == "__main__":
    main()
