"""Writes the golden files of tests/golden with PyTorch in f64: three small networks, one step in detail, a hundred losses.

usage: write.py OUT_DIR        (needs torch and numpy; the files in the repository lie in tests/data/golden)

Nothing random is stored: parameters, image, target and weight come from Philox 4x32-10 on both sides (`stream` below and
src/random.rs), in exact f32 arithmetic. Each file is a safetensors file with

  logits, loss              of the first training step (batch statistics)
  running/NAME              running statistics after it
  grad/NAME                 gradient of each parameter at it
  probability, eval_loss    of the same image before it, with running statistics
  losses                    of steps 1 to 100, Adam
  KEY@f32                   |f32 - f64| / |f64| of PyTorch itself for the tensor KEY: its own rounding, to measure others by

Images are stored as [N, H, W, C] and convolution weights as [R, S, Ci, Co]. Names are those of PyTorch's state_dict.
"""

import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

BATCH, STEPS, RATE = 2, 100, 1e-4
INITIALISE, BENCH = 3, 9

# Architecture, base, levels, size, output channels, and the numbers of the loss. Every option of the loss occurs once.
# Seeds were chosen so that PyTorch's own f32 keeps within half of the 1e-3 that the losses are allowed.
NETWORKS = {
    "standard": dict(seed=7, base=2, levels=4, size=32, k=1, alpha=0.5, smooth=1.0, class_weight=1.0, gamma=0.0, padding=False),
    "deep": dict(seed=9, base=2, levels=5, size=64, k=1, alpha=0.3, smooth=1.0, class_weight=3.0, gamma=0.0, padding=True),
    "residual": dict(seed=7, base=2, levels=4, size=32, k=3, alpha=0.5, smooth=0.5, class_weight=1.0, gamma=2.0, padding=True),
}


class Block(nn.Module):
    def __init__(self, ci, co, residual):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(ci, co, 3, padding=1, bias=False), nn.BatchNorm2d(co)
        self.c2, self.b2 = nn.Conv2d(co, co, 3, padding=1, bias=False), nn.BatchNorm2d(co)
        self.residual = residual
        if residual and ci != co:
            self.proj = nn.Sequential(nn.Conv2d(ci, co, 1, bias=False), nn.BatchNorm2d(co))

    def forward(self, x):
        y = self.b2(self.c2(F.relu(self.b1(self.c1(x)))))
        if self.residual:
            y = y + (self.proj(x) if hasattr(self, "proj") else x)
        return F.relu(y)


class UNet(nn.Module):
    def __init__(self, levels, base, residual, k):
        super().__init__()
        c = [base * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList([Block(1 if level == 0 else c[level - 1], c[level], residual) for level in range(levels)])
        self.mid = Block(c[levels - 1], c[levels], residual)
        up = list(reversed(range(levels)))
        self.up = nn.ModuleList([nn.ConvTranspose2d(c[level + 1], c[level], 2, stride=2) for level in up])
        self.dec = nn.ModuleList([Block(2 * c[level], c[level], residual) for level in up])
        self.head = nn.Conv2d(base, k, 1)

    def forward(self, x):
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.mid(x)
        for up, dec in zip(self.up, self.dec):
            x = dec(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


def loss_of(logits, target, weight, o):
    p = torch.sigmoid(logits)
    total = lambda a: (a * weight).sum((0, 2, 3))
    dice = 1 - ((2 * total(p * target) + o["smooth"]) / (total(p) + total(target) + o["smooth"])).mean()
    pos_weight = torch.tensor(o["class_weight"], dtype=logits.dtype)
    bce = F.binary_cross_entropy_with_logits(logits, target, pos_weight=pos_weight, reduction="none")
    p_of_target = torch.where(target > 0.5, p, 1 - p)
    if o["gamma"] > 0:
        bce = bce * (1 - p_of_target) ** o["gamma"]
    bce = (bce * weight).sum() / (weight.sum() * logits.shape[1])
    return o["alpha"] * dice + (1 - o["alpha"]) * bce


def stream(n, seed, image, purpose):
    """The first n uniform numbers in [0, 1) of Philox 4x32-10 with counter (0, image, purpose, draw), as f32."""
    mask = np.uint64(0xFFFFFFFF)
    draws = np.arange((n + 3) // 4, dtype=np.uint64)
    zeros = np.zeros_like(draws)
    c = [zeros, zeros + np.uint64(image), zeros + np.uint64(purpose), draws]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(key[0]), b & mask, (a >> np.uint64(32)) ^ c[3] ^ np.uint64(key[1]), a & mask]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    words = np.stack(c, axis=1).reshape(-1)[:n]
    return (words >> np.uint64(8)).astype(np.float32) * np.float32(1 / 16777216)


def ranged(u, low, high):
    low, high = np.float32(low), np.float32(high)
    return low + (high - low) * u


def parameter(name, shape, index, seed):
    """In the engine's layout: shape is [R, S, Ci, Co] for weights of convolutions, [C] otherwise."""
    u = stream(math.prod(shape), seed, index, INITIALISE)
    if len(shape) == 4:
        fan_in = shape[2] if name.startswith("up.") else shape[0] * shape[1] * shape[2]
        bound = np.float32(math.sqrt(6 / fan_in))
        return ranged(u, -bound, bound).reshape(shape)
    if name.endswith(".weight") or name.endswith("running_var"):
        return ranged(u, 0.5, 1.5)
    return ranged(u, -0.5, 0.5)


def to_engine(name, t):
    """PyTorch's [Co, Ci, R, S], or [Ci, Co, R, S] of a transposed convolution, to [R, S, Ci, Co]."""
    if t.dim() != 4:
        return t
    return t.permute(2, 3, 0, 1) if name.startswith("up.") else t.permute(2, 3, 1, 0)


def from_engine(name, a):
    t = torch.from_numpy(a)
    if t.dim() != 4:
        return t
    return t.permute(2, 3, 0, 1) if name.startswith("up.") else t.permute(3, 2, 0, 1)


def image_of(o, channels, index):
    n, size = BATCH, o["size"]
    u = stream(n * size * size * channels, o["seed"], index, BENCH).reshape(n, size, size, channels)
    return u, lambda a, dtype: torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2))).to(dtype)


def run(arch, o, dtype):
    torch.manual_seed(0)
    net = UNet(o["levels"], o["base"], arch == "residual", o["k"])
    state = {n: t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    with torch.no_grad():
        for index, (name, t) in enumerate(state.items()):
            t.copy_(from_engine(name, parameter(name, to_engine(name, t).shape, index, o["seed"])))
    net = net.to(dtype)
    u, to_torch = image_of(o, 1, 1000)
    image = to_torch(ranged(u, -1, 1), dtype)
    target = to_torch((image_of(o, o["k"], 1001)[0] < np.float32(0.3)).astype(np.float32), dtype)
    weight = to_torch((image_of(o, 1, 1002)[0] < np.float32(0.9 if o["padding"] else 2)).astype(np.float32), dtype)
    found = {}
    with torch.no_grad():
        net.eval()
        logits = net(image)
        found["probability"] = torch.sigmoid(logits).permute(0, 2, 3, 1)
        found["eval_loss"] = loss_of(logits, target, weight, o).reshape(1)
        net.train()
    optimiser = torch.optim.Adam(net.parameters(), RATE, betas=(0.9, 0.999), eps=1e-8)
    losses = []
    for step in range(STEPS):
        optimiser.zero_grad()
        logits = net(image)
        loss = loss_of(logits, target, weight, o)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            found["logits"] = logits.detach().permute(0, 2, 3, 1)
            found["loss"] = loss.detach().reshape(1)
            for name, p in net.named_parameters():
                found["grad/" + name] = to_engine(name, p.grad.clone())
            for name, b in net.named_buffers():
                if not name.endswith("num_batches_tracked"):
                    found["running/" + name] = b.clone()
        optimiser.step()
    found["losses"] = torch.tensor(losses, dtype=dtype)
    return {k: v.double().contiguous().numpy() for k, v in found.items()}


def write_safetensors(path, tensors):
    header, blobs, offset = {}, [], 0
    for name, a in sorted(tensors.items()):
        kind = "F64" if a.dtype == np.float64 else "F32"
        header[name] = dict(dtype=kind, shape=list(a.shape), data_offsets=[offset, offset + a.nbytes])
        blobs.append(np.ascontiguousarray(a).tobytes())
        offset += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    torch.set_num_threads(1)
    for arch, o in NETWORKS.items():
        exact, rounded = run(arch, o, torch.float64), run(arch, o, torch.float32)
        tensors = {}
        for key, a in exact.items():
            distance = np.linalg.norm(rounded[key] - a) / max(np.linalg.norm(a), 1e-12)
            tensors[key] = a if a.size <= 100 else a.astype(np.float32)
            tensors[key + "@f32"] = np.array([distance])
        apart = np.abs(rounded["losses"] - exact["losses"]).max()
        assert apart < 5e-4, f"{arch}: f32 losses are {apart:.1e} from f64; try another seed"
        worst = max((tensors[k + "@f32"][0], k) for k in exact)
        write_safetensors(out / f"{arch}.safetensors", tensors)
        first, last = exact["losses"][[0, -1]]
        print(f"{arch}: loss {first:.4f} to {last:.4f}, f32 losses within {apart:.1e}, worst tensor in f32 {worst[1]} {worst[0]:.1e}")


if __name__ == "__main__":
    main()
