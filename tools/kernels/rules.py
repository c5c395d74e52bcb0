"""What the kernels must keep to: the committed table of resources, and the limits with their reasons."""

from dataclasses import dataclass, fields

try:
    import tomllib
except ModuleNotFoundError as error:
    raise SystemExit("tools/kernel-report: Python 3.11 or later is needed (tomllib)") from error


@dataclass(frozen=True, order=True)
class Row:
    """A kernel on a target. `loop` counts the instructions of its hot loop, `tensor` those among them for tensor cores."""

    module: str
    kernel: str
    target: str
    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int
    tensor: int
    loop: int

    def share(self):
        return self.tensor / self.loop if self.loop else 0.0

    def spilled(self):
        return self.spill_stores + self.spill_loads

    def place(self):
        return f"{self.module}.cu: {self.kernel} for {self.target}"


COLUMNS = [field.name for field in fields(Row)]


def write_table(rows, compiler):
    """The text of `resources.tsv`: the compiler, the columns, a row each, sorted."""
    lines = [f"# {compiler}; written by tools/kernel-report --write", "\t".join(COLUMNS)]
    lines += ["\t".join(str(getattr(row, column)) for column in COLUMNS) for row in sorted(rows)]
    return "\n".join(lines) + "\n"


def read_table(text):
    """The compiler and the rows. Raises ValueError where the text is not such a table."""
    lines = text.splitlines()
    if len(lines) < 2 or not lines[0].startswith("# ") or lines[1].split("\t") != COLUMNS:
        raise ValueError(f"expected a line `# COMPILER; ...` and the columns {', '.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(lines[2:], start=3):
        cells = line.split("\t")
        if len(cells) != len(COLUMNS) or not all(cell.isdecimal() for cell in cells[3:]):
            raise ValueError(f"line {number}: expected {len(COLUMNS)} cells, numbers from the fourth on")
        rows.append(Row(*cells[:3], *map(int, cells[3:])))
    return lines[0][2:].split(";")[0], rows


def compare(committed, found):
    """Every difference, in words."""
    old = {(row.module, row.kernel, row.target): row for row in committed}
    new = {(row.module, row.kernel, row.target): row for row in found}
    differences = [f"{old[key].place()}: in the table, but not in the build" for key in sorted(old.keys() - new.keys())]
    for key, row in sorted(new.items()):
        if key not in old:
            differences.append(f"{row.place()}: not in the table")
            continue
        changed = [f"{name} {getattr(old[key], name)} -> {getattr(row, name)}"
                   for name in COLUMNS[3:] if getattr(old[key], name) != getattr(row, name)]
        if changed:
            differences.append(f"{row.place()}: {', '.join(changed)}")
    return differences


def read_limits(text):
    """`{"floor": {kernel: {target: share}}, "spill": [{kernel, target, bytes, reason}]}`. Raises ValueError where it is not so."""
    limits = tomllib.loads(text)
    if unknown := limits.keys() - {"floor", "spill"}:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))} (known: floor, spill)")
    for kernel, targets in limits.get("floor", {}).items():
        if not isinstance(targets, dict) or not all(isinstance(share, float) and 0 < share < 1 for share in targets.values()):
            raise ValueError(f"floor.{kernel}: expected targets with a share between 0 and 1 each, such as sm_80 = 0.25")
    for entry in limits.get("spill", []):
        kinds = {key: type(value) for key, value in entry.items()}
        if kinds != {"kernel": str, "target": str, "bytes": int, "reason": str} or not entry["reason"].strip():
            raise ValueError(f"spill: expected kernel, target, bytes and a reason, found {entry}")
    return {"floor": limits.get("floor", {}), "spill": limits.get("spill", [])}


def violations(rows, limits):
    """Every limit that is not kept, and every entry that limits nothing any more, in words."""
    return [*check_spills(rows, limits["spill"]), *check_floors(rows, limits["floor"])]


def check_spills(rows, allowed):
    """Spills in a loop of tensor-core instructions cost more than the registers saved; elsewhere they are shown, not forbidden."""
    found = []
    used = []
    for row in rows:
        if not row.tensor or not row.spilled():
            continue
        entry = next((e for e in allowed if (e["kernel"], e["target"]) == (row.kernel, row.target)), None)
        used.append(entry)
        limit = entry["bytes"] if entry else 0
        if row.spilled() > limit:
            found.append(f"{row.place()}: {row.spilled()} bytes of spill stores and loads, at most {limit} allowed")
    stale = [e for e in allowed if e not in used]
    return found + [f"limits.toml: spill of {e['kernel']} for {e['target']} is allowed, but there is none" for e in stale]


def check_floors(rows, floors):
    """Every kernel with tensor-core instructions has a floor on every target, and keeps above it; one with a floor has such instructions."""
    found = []
    for row in rows:
        floor = floors.get(row.kernel, {}).get(row.target)
        if floor is None and row.tensor:
            found.append(f"{row.place()}: no floor for its tensor-core instructions, which are {row.share():.3f} of its loop")
        if floor is not None and row.share() < floor:
            found.append(f"{row.place()}: tensor-core instructions are {row.share():.3f} of its loop "
                         f"({row.tensor} of {row.loop}), expected at least {floor}")
    there = {(row.kernel, row.target) for row in rows}
    stale = [(kernel, target) for kernel, targets in floors.items() for target in targets if (kernel, target) not in there]
    return found + [f"limits.toml: floor of {kernel} for {target}: there is no such kernel" for kernel, target in stale]
