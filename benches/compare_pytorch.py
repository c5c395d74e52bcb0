#!/usr/bin/env python3
"""Times unet-engine beside PyTorch on one machine, runs alternating, and prints medians and ratios.

usage: compare_pytorch.py [--engine PATH] [--torch-script PATH] [--python PATH] [--what step|infer] [--rounds 3] [--steps 5]
       [--arch standard] [--base 32] [--size 256] [--batch 4] [--precision auto] [--compile] [--bf16]
       [--only VARIANT]... [--avx2] [--json]

PyTorch runs eagerly in f32, contiguous and channels_last; --compile adds torch.compile, --bf16 adds bfloat16, together all eight;
--only "compile bf16 contiguous" takes that one alone.
unet-engine computes as it would by itself, bf16 where the CPU has AMX, or in the --precision given. --avx2 keeps both sides to
AVX2. A round is one run each of unet-engine and PyTorch for every variant in turn. A ratio is taken between neighbouring runs, so
that a slow phase of the machine falls on both; the median of all rounds is printed, with the least and the greatest. "quickest" is
the ratio of the quickest steps of all rounds: what others on the machine disturb least. Next to wall time it gives CPU seconds per step
(user and system, start included on both sides), which other load on the machine disturbs less. The last lines are the smallest ratios:
over PyTorch at its best.
"""
import argparse, json, os, pathlib, resource, shutil, statistics, subprocess, sys, tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What torch.compile keeps on disk does not say for which instruction set it was compiled.
CACHE = str(pathlib.Path(tempfile.gettempdir()) / "torchinductor-avx2")
AVX2 = {"engine": {"UNET_ENGINE_SIMD": "avx2"},
        "torch": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "TORCHINDUCTOR_CACHE_DIR": CACHE}}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default=str(ROOT / "target/release/unet-engine"))
    parser.add_argument("--torch-script", default=str(ROOT.parent / "shared/peers/unet_torch.py"))
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has torch")
    parser.add_argument("--what", choices=["step", "infer"], default="step")
    parser.add_argument("--arch", default="standard")
    for name, value in dict(rounds=3, steps=5, base=32, size=256, batch=4).items():
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--precision", choices=["auto", "f32", "bf16"], default="auto", help="of unet-engine")
    parser.add_argument("--only", action="append", help="a variant of those that would run; may be given several times")
    for name in ("compile", "bf16", "avx2", "json"):
        parser.add_argument("--" + name, action="store_true")
    return parser.parse_args()


def run(command, environment):
    """The JSON object that a command prints, with the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    if done.returncode != 0:
        sys.exit(f"failed with {done.returncode}: {' '.join(command)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout)
    result["cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return result


def commands(a):
    """The engine's command, and PyTorch's by variant."""
    network = ["--base", str(a.base), "--size", str(a.size), "--batch", str(a.batch), "--steps", str(a.steps)]
    engine = [a.engine, "bench", a.what, "--arch", a.arch, "--device", "cpu", "--json", "--precision", a.precision] + network
    torch = [a.python, a.torch_script, "--variant", a.arch, "--device", "cpu", "--warmup", "2"] + network
    if a.what == "infer":
        torch.append("--infer")
    variants = {}
    for mode in ["eager"] + ["compile"] * a.compile:
        for dtype in ["fp32"] + ["bf16"] * a.bf16:
            for layout in ["contiguous", "channels_last"]:
                flags = ["--compile"] * (mode == "compile") + ["--channels-last"] * (layout == "channels_last")
                variants[f"{mode} {dtype} {layout}"] = torch + ["--dtype", dtype] + flags
    if a.only:
        unknown = set(a.only) - set(variants)
        if unknown:
            sys.exit(f"no variant {', '.join(sorted(unknown))}; there are: {', '.join(variants)}")
        variants = {name: command for name, command in variants.items() if name in a.only}
    return engine, variants


def summary(runs):
    """Medians over the rounds of one variant."""
    middle = lambda value: statistics.median(value(o, t) for o, t in runs)
    return dict(
        engine_images_per_s=middle(lambda o, t: o["images_per_s"]), torch_images_per_s=middle(lambda o, t: t["images_per_s"]),
        ratio=middle(lambda o, t: o["images_per_s"] / t["images_per_s"]),
        ratios=[o["images_per_s"] / t["images_per_s"] for o, t in runs],
        quickest_ratio=min(t["min_ms"] for _, t in runs) / min(o["step_ms_min"] for o, _ in runs),
        engine_quickest_ms=min(o["step_ms_min"] for o, _ in runs), torch_quickest_ms=min(t["min_ms"] for _, t in runs),
        cpu_s_ratio=middle(lambda o, t: t["cpu_s"] / o["cpu_s"]),
        engine_peak_rss_bytes=middle(lambda o, t: o["peak_rss_bytes"]), torch_peak_rss_bytes=middle(lambda o, t: t["peak_rss_bytes"]))


def main():
    a = arguments()
    for path in (a.engine, a.torch_script):
        if not os.path.exists(path):
            sys.exit(f"{path} does not exist; build with `cargo build --release`, or give --engine and --torch-script")
    engine, variants = commands(a)
    if not shutil.which(a.python) or subprocess.run([a.python, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"{a.python} is no interpreter with torch; give --python one, such as that of a virtual environment "
                 "with `pip install torch numpy`")
    environment = AVX2 if a.avx2 else {"engine": {}, "torch": {}}
    pairs = {variant: [] for variant in variants}
    for number in range(a.rounds):
        for variant, command in variants.items():
            ours, theirs = run(engine, environment["engine"]), run(command, environment["torch"])
            pairs[variant].append((ours, theirs))
            print(f"round {number + 1} {variant}: unet-engine {ours['images_per_s']:.2f}, PyTorch {theirs['images_per_s']:.2f} images/s",
                  file=sys.stderr)
    rows = {variant: summary(runs) for variant, runs in pairs.items()}
    eager = [row["ratio"] for variant, row in rows.items() if variant.startswith("eager")]
    best = {"eager": min(eager, default=None), "all": min(row["ratio"] for row in rows.values())}
    first = next(iter(pairs.values()))[0][0]
    device, precision = first["device"], first["precision"]
    report = dict(what=a.what, arch=a.arch, base=a.base, size=a.size, batch=a.batch, rounds=a.rounds, steps=a.steps, avx2=a.avx2,
                  device=device, precision=precision, variants=rows, smallest_ratio=best)
    if a.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{a.what} {a.arch}, base {a.base}, {a.size}x{a.size}, batch {a.batch}, {precision} on {device}")
    print(f"{'PyTorch':28} {'ours img/s':>10} {'PyTorch':>10} {'ratio':>7} {'from':>6} {'to':>6} {'quickest':>9} {'CPU time':>9} {'peak MiB':>16}")
    for variant, row in rows.items():
        peaks = f"{int(row['engine_peak_rss_bytes']) >> 20} : {int(row['torch_peak_rss_bytes']) >> 20}"
        print(f"{variant:28} {row['engine_images_per_s']:10.2f} {row['torch_images_per_s']:10.2f} {row['ratio']:7.2f} "
              f"{min(row['ratios']):6.2f} {max(row['ratios']):6.2f} {row['quickest_ratio']:9.2f} {row['cpu_s_ratio']:9.2f} {peaks:>16}")
    if eager:
        print(f"over the best of eager here: {best['eager']:.2f}")
    print(f"over the best of all here: {best['all']:.2f}")


if __name__ == "__main__":
    main()
