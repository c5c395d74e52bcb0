#!/usr/bin/env python3
"""Compares single models with the same models on mirror images, with three architectures together, and with both.

usage: compare_ensembles.py --work DIR [--engine PATH] [--organs heart,liver,placenta] [--seeds 0,1,2] [--threads 0] [--table]

For each organ and seed it trains the three architectures on the same synthetic litters and split (`train --preset quick`), chooses an
operating point for each use on the validation series (`calibrate`), and evaluates on the series that no model has seen. Then it prints
a Markdown table: precision, recall and Dice of pixels, precision, recall and F1 of objects, mean and range over the seeds. "Three
together, mean of thresholds" is what `predict` does without `--calibration`.

Everything lies in --work. What has been measured there is not measured again, and a training that was stopped goes on, so it may be
interrupted and run in parts; --table only prints what there is. A folder of compare_instances.py may be given: litters and models of
the same name are shared.
"""
import argparse, json, pathlib, subprocess, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from compare_instances import ROOT, SYNTHETIC, data, mean_and_range, name, run, work_through

ARCHITECTURES = ["standard", "deep", "residual"]
OF_ORGAN = {"heart": "standard", "liver": "deep", "placenta": "residual"}
# What is compared: architectures (None: the organ's own), flips, whether the operating point is chosen for this use.
USES = {
    "one model": (None, False, True),
    "one model, flips": (None, True, True),
    "three together, mean of thresholds": (ARCHITECTURES, False, False),
    "three together": (ARCHITECTURES, False, True),
    "three together, flips": (ARCHITECTURES, True, True),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--engine", default=str(ROOT / "target/release/unet-engine"))
    parser.add_argument("--organs", type=lambda text: text.split(","), default=SYNTHETIC)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--series", type=int, default=12, help="synthetic litters per seed")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="measure nothing")
    a = parser.parse_args()
    a.channels, a.epochs = 1, None
    unknown = [organ for organ in a.organs if organ not in SYNTHETIC]
    return a if not unknown else sys.exit(f"unknown organs: {', '.join(unknown)} (known: {', '.join(SYNTHETIC)})")


def train(a, organ, arch, seed):
    """The run directory of a finished training."""
    suffix = "" if arch == OF_ORGAN[organ] else f"-{arch}"
    model = a.work / "runs" / (name(a, organ, "one", seed) + suffix)
    if (model / "report.html").is_file():
        return model
    if (model / "checkpoints/last.safetensors").is_file():
        run([a.engine, "train", "--resume", "--out", model])
    else:
        subprocess.run(["rm", "-rf", str(model)], check=True)
        options = ["--organ", organ, "--preset", "quick", "--arch", arch, "--seed", seed, "--threads", a.threads]
        run([a.engine, "train", "--data", data(a, organ, seed), "--out", model] + options)
    return model


def result_path(a, organ, use, seed):
    return a.work / "ensembles" / f"{organ}-{a.series}-litters-{use.replace(', ', '-').replace(' ', '-')}-seed-{seed}.json"


def measure(a, organ, use, seed):
    """Calibrates and evaluates unless that was done before."""
    path = result_path(a, organ, use, seed)
    if path.is_file():
        return
    architectures, flips, is_chosen = USES[use]
    models = [part for arch in architectures or [OF_ORGAN[organ]] for part in ("--model", train(a, organ, arch, seed))]
    common = ["--data", data(a, organ, seed), "--threads", a.threads] + models + (["--flips"] if flips else [])
    path.parent.mkdir(parents=True, exist_ok=True)
    options = []
    if is_chosen:
        options = ["--calibration", path.with_suffix(".calibration")]
        run([a.engine, "calibrate", "--out", options[1]] + common)
    report = run([a.engine, "evaluate", "--json"] + common + options)
    half_done = path.with_suffix(".part")
    half_done.write_text(report)
    half_done.rename(path)
    print(f"{path.stem}: pixel Dice {json.loads(report)['pixel']['dice']}", file=sys.stderr)


def table(a):
    scores = [("pixel", "precision"), ("pixel", "recall"), ("pixel", "dice"), ("object", "precision"), ("object", "recall"), ("object", "dice")]
    print("| organ | use | seeds | pixel precision | pixel recall | pixel Dice | object precision | object recall | object F1 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for organ in a.organs:
        for use in USES:
            paths = [result_path(a, organ, use, seed) for seed in a.seeds]
            reports = [json.loads(path.read_text()) for path in paths if path.is_file()]
            cells = [mean_and_range([report[kind][score] for report in reports]) for kind, score in scores]
            print(f"| {organ} | {use} | {len(reports)} | " + " | ".join(cells) + " |")


def main():
    work_through(arguments(), USES, measure, table)


if __name__ == "__main__":
    main()
