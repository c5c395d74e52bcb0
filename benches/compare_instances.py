#!/usr/bin/env python3
"""Compares one output channel (instances are connected components) with several, assigned at least cost or by place.

usage: compare_instances.py --work DIR [--engine PATH] [--organs heart,liver,placenta,nerve,vessel] [--seeds 0,1,2]
       [--variants one,least-cost,spatial] [--channels 4] [--epochs N] [--real DIR] [--series 12] [--threads 0] [--table]

For each organ and seed it trains a model of each variant (`train --preset quick`) and evaluates it on the series that it has not seen.
Hearts, livers and placentas are synthetic litters, drawn by the seed; nerves and vessels the three series in --real, which the seed
splits into one to train, one to validate and one to test (input 128, 40 epochs). Then it prints a Markdown table: object precision,
recall and F1, mean and range over the seeds, and the pixels' Dice.

Everything lies in --work. What has been measured there is not measured again, and a training that was stopped goes on, so it may be
interrupted and run in parts; --table only prints what there is. Runs with other --channels or --epochs are kept apart.
"""
import argparse, json, pathlib, statistics, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SYNTHETIC = ["heart", "liver", "placenta"]
REAL = ["nerve", "vessel"]
VARIANTS = {"one": "1 channel, components", "least-cost": "{k} channels, least cost", "spatial": "{k} channels, by place"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda known: lambda text: [name for name in text.split(",") if name in known or sys.exit(f"{name}: expected {', '.join(known)}")]
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--engine", default=str(ROOT / "target/release/unet-engine"))
    parser.add_argument("--real", type=pathlib.Path, default=ROOT.parent / "shared/data/usgra-series")
    parser.add_argument("--organs", type=names(SYNTHETIC + REAL), default=SYNTHETIC + REAL)
    parser.add_argument("--variants", type=names(list(VARIANTS)), default=list(VARIANTS))
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--channels", type=int, default=4, help="output channels of the variants with several")
    parser.add_argument("--epochs", type=int, help="in place of the preset's on litters, and of 40 on the real series")
    parser.add_argument("--series", type=int, default=12, help="synthetic litters per seed")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="measure nothing")
    return parser.parse_args()


def run(command):
    """What a command prints; its messages go to stderr."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"failed with {done.returncode}: {' '.join(str(part) for part in command)}")
    return done.stdout


def data(a, organ, seed):
    """The folder with the annotated series, drawn first where they are synthetic."""
    if organ in REAL:
        return a.real if a.real.is_dir() else sys.exit(f"{a.real} is not there; name the real series with --real, or leave them out")
    folder = a.work / f"litters-{a.series}-{seed}"
    if not folder.is_dir():
        half_done = folder.with_suffix(".part")
        subprocess.run(["rm", "-rf", str(half_done)], check=True)
        run([a.engine, "synth", "--out", half_done, "--series", a.series, "--seed", seed])
        half_done.rename(folder)
    return folder


def name(a, organ, variant, seed):
    channels = 1 if variant == "one" else a.channels
    series = f"-{a.series}-litters" if organ in SYNTHETIC else ""
    return f"{organ}{series}-{variant}-{channels}-epochs-{a.epochs or 'default'}-seed-{seed}"


def measure(a, organ, variant, seed):
    """Trains and evaluates unless that was done before."""
    result = a.work / "results" / (name(a, organ, variant, seed) + ".json")
    if result.is_file():
        return
    folder, model = data(a, organ, seed), a.work / "runs" / name(a, organ, variant, seed)
    started = time.time()
    if (model / "checkpoints/last.safetensors").is_file():
        run([a.engine, "train", "--resume", "--keep-going", "--out", model])
    else:
        subprocess.run(["rm", "-rf", str(model)], check=True)
        options = ["--organ", organ, "--preset", "quick", "--seed", seed, "--threads", a.threads, "--keep-going"]
        if organ in REAL:
            options += ["--split-by", "series", "--size", 128, "--epochs", a.epochs or 40]
        elif a.epochs:
            options += ["--epochs", a.epochs]
        if variant != "one":
            options += ["--instances", a.channels, "--assignment", variant]
        run([a.engine, "train", "--data", folder, "--out", model] + options)
    report = json.loads(run([a.engine, "evaluate", "--json", "--keep-going", "--model", model, "--data", folder, "--threads", a.threads]))
    report["seconds"] = time.time() - started
    result.parent.mkdir(parents=True, exist_ok=True)
    half_done = result.with_suffix(".part")
    half_done.write_text(json.dumps(report, indent=2))
    half_done.rename(result)
    print(f"{result.stem}: object F1 {report['object']['dice']}", file=sys.stderr)


def mean_and_range(values):
    """`0.812 (0.790 to 0.840)`; what has no value, such as the precision of nothing, is counted."""
    known = [value for value in values if value is not None]
    if not known:
        return "none"
    missing = f", {len(values) - len(known)} without" if len(known) < len(values) else ""
    return f"{statistics.mean(known):.3f} ({min(known):.3f} to {max(known):.3f}{missing})"


def table(a):
    print("| organ | instances | seeds | object precision | object recall | object F1 | pixel Dice |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for organ in a.organs:
        for variant in a.variants:
            paths = [a.work / "results" / (name(a, organ, variant, seed) + ".json") for seed in a.seeds]
            reports = [json.loads(path.read_text()) for path in paths if path.is_file()]
            scores = [("object", "precision"), ("object", "recall"), ("object", "dice"), ("pixel", "dice")]
            cells = [mean_and_range([report[kind][score] for report in reports]) for kind, score in scores]
            print(f"| {organ} | {VARIANTS[variant].format(k=a.channels)} | {len(reports)} | " + " | ".join(cells) + " |")


def work_through(a, variants, measure, table):
    """Measures every variant for every organ and seed, unless only the table is asked for, and prints the table."""
    if not a.table:
        if not pathlib.Path(a.engine).is_file():
            sys.exit(f"{a.engine} does not exist; build with `cargo build --release`, or give --engine")
        a.work.mkdir(parents=True, exist_ok=True)
        # Seed by seed, so that an early stop leaves whole comparisons.
        for seed in a.seeds:
            for organ in a.organs:
                for variant in variants:
                    measure(a, organ, variant, seed)
    table(a)


def main():
    a = arguments()
    work_through(a, a.variants, measure, table)


if __name__ == "__main__":
    main()
