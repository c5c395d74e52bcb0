"""Reads what the CUDA compiler says of kernels: `ptxas -v`'s resources, and the machine code that `cuobjdump -sass` lists."""

import re
from dataclasses import dataclass


class Unreadable(Exception):
    """The text is not what the compiler is known to write."""


@dataclass
class Resources:
    """What a kernel takes: registers a thread, static shared memory a block, and per thread the stack and the bytes spilled to it.

    Shared memory that is asked for at launch is not in it. A device function that was not inlined has no registers of its own.
    """

    registers: int = 0
    shared: int = 0
    stack: int = 0
    spill_stores: int = 0
    spill_loads: int = 0


FUNCTION = re.compile(r"ptxas info\s*: Function properties for (\S+)")
STACK = re.compile(r"\s*(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"ptxas info\s*: Used (\d+) registers(.*)")
SHARED = re.compile(r"(\d+) bytes smem")


def read_resources(log):
    """Of every function, by name, from the words of `ptxas -v`."""
    functions = {}
    current = None
    for line in log.splitlines():
        if match := FUNCTION.match(line):
            current = functions.setdefault(match[1], Resources())
        elif match := STACK.match(line):
            if current is None:
                raise Unreadable(f"a stack frame without a function: {line.strip()}")
            current.stack, current.spill_stores, current.spill_loads = map(int, match.groups())
        elif match := USED.match(line):
            if current is None:
                raise Unreadable(f"registers without a function: {line.strip()}")
            current.registers = int(match[1])
            current.shared = sum(map(int, SHARED.findall(match[2])))
    return functions


def read_warnings(log):
    """The compiler's warnings, and ptxas' notes that `wgmma` had to be serialised, which costs Hopper most of its speed."""
    def tells(line):
        return ("warning" in line.lower() or "Performance Loss" in line) and not line.startswith("Remark:")
    return [line.strip() for line in log.splitlines() if tells(line)]


@dataclass
class Instruction:
    address: int
    opcode: str
    operands: str

    def is_tensor(self):
        """Whether tensor cores run it. `HFMA2.MMA`, which only has the name, is an ordinary multiplication."""
        return re.match(r"(HMMA|HGMMA)\b", self.opcode) is not None

    def jumps_back_to(self):
        """The address of the loop that this instruction closes, if it closes one."""
        if not self.opcode.startswith("BRA"):
            return None
        target = re.search(r"\b0x([0-9a-f]+)", self.operands)
        return int(target[1], 16) if target and int(target[1], 16) <= self.address else None


CODE = re.compile(r"\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);")


def read_code(listing):
    """The instructions of every kernel, by name, from `cuobjdump -sass`."""
    kernels = {}
    current = None
    for line in listing.splitlines():
        if line.strip().startswith("Function : "):
            current = kernels.setdefault(line.split(" : ", 1)[1].strip(), [])
        elif match := CODE.match(line):
            if current is None:
                raise Unreadable(f"an instruction without a function: {line.strip()}")
            current.append(Instruction(int(match[1], 16), match[2], match[3]))
    return kernels


@dataclass
class Loop:
    """The instructions of a loop, and how many of them are for tensor cores."""

    instructions: int = 0
    tensor: int = 0

    def share(self):
        return self.tensor / self.instructions if self.instructions else 0.0


def hot_loop(code):
    """The innermost loop with tensor-core instructions; of several the one with most of them. Zeros if the kernel has none of these.

    A loop is what lies between a backward branch and its target; branches to the same target close the same loop. The compiler
    moves rare paths behind the end and has them jump back, which looks like a loop as well, but one with fewer such instructions. A kernel
    whose loop was unrolled away counts as a whole, without what fills up its end.
    """
    ends = {}
    for instruction in code:
        start = instruction.jumps_back_to()
        if start is not None:
            ends[start] = max(instruction.address, ends.get(start, 0))

    def holds_tensor(span):
        return any(i.is_tensor() for i in code if span[0] <= i.address <= span[1])

    loops = [span for span in ends.items() if holds_tensor(span)]
    innermost = [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    if not loops and any(i.is_tensor() for i in code):
        innermost = [(0, max(i.address for i in code if i.opcode not in ("NOP", "BRA")))]
    measured = [Loop(len(inside), sum(i.is_tensor() for i in inside))
                for start, end in innermost for inside in [[i for i in code if start <= i.address <= end]]]
    return max(measured, key=lambda loop: (loop.tensor, -loop.instructions), default=Loop())
