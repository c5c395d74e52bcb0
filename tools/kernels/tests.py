"""Tests of the readers and rules, on samples of what nvcc 12.4.131 wrote for `samples/*.cu`. Run by `tools/kernel-report --self-test`."""

import unittest
from pathlib import Path

import listing
import rules

SAMPLES = Path(__file__).parent / "samples"


def sample(name):
    return (SAMPLES / name).read_text()


def row(**changes):
    values = dict(module="conv", kernel="forward", target="sm_80", registers=128, shared=0, stack=0,
                  spill_stores=0, spill_loads=0, tensor=30, loop=100)
    return rules.Row(**{**values, **changes})


class Resources(unittest.TestCase):
    def test_every_function_is_read(self):
        found = listing.read_resources(sample("sample.sm_80.log"))
        self.assertEqual(found, {
            "calls": listing.Resources(registers=10),
            "_Z6calledf": listing.Resources(),
            "spills": listing.Resources(registers=32, stack=176, spill_stores=188, spill_loads=216),
            "product": listing.Resources(registers=24, shared=512),
        })

    def test_architectures_differ(self):
        found = listing.read_resources(sample("sample.sm_70.log"))
        self.assertEqual((found["product"].registers, found["spills"].spill_stores), (32, 192))

    def test_text_without_a_function_is_refused(self):
        with self.assertRaises(listing.Unreadable):
            listing.read_resources("ptxas info    : Used 10 registers, 360 bytes cmem[0]\n")

    def test_warnings_are_found(self):
        (only,) = listing.read_warnings(sample("wgmma.sm_90a.log"))
        self.assertIn("wgmma.mma_async instructions are serialized", only)
        self.assertEqual(listing.read_warnings(sample("sample.sm_80.log")), [])
        log = 'kernels/a.cu(3): warning #177-D: variable "i" was declared but never referenced\n' \
              'Remark: The warnings can be suppressed with "-diag-suppress <warning-number>"\n'
        self.assertEqual(len(listing.read_warnings(log)), 1)


class Code(unittest.TestCase):
    def hot_loop(self, name, kernel):
        return listing.hot_loop(listing.read_code(sample(name))[kernel])

    def test_every_kernel_is_read(self):
        code = listing.read_code(sample("sample.sm_80.sass"))
        self.assertEqual(list(code), ["calls", "product"])
        self.assertEqual([i.address for i in code["product"]], [16 * i for i in range(len(code["product"]))])

    def test_the_inner_loop_with_tensor_cores_is_measured(self):
        # By hand from the samples: Volta's 0x330..0x460 (16 of 20), Ampere's 0x300..0x350 (2 of 6).
        self.assertEqual(self.hot_loop("sample.sm_70.sass", "product"), listing.Loop(20, 16))
        self.assertEqual(self.hot_loop("sample.sm_80.sass", "product"), listing.Loop(6, 2))

    def test_hopper(self):
        # 0x130..0x2c0, unrolled four times.
        self.assertEqual(self.hot_loop("wgmma.sm_90a.sass", "good"), listing.Loop(26, 4))

    def test_a_multiplication_with_mma_in_its_name_is_none(self):
        code = listing.read_code(sample("sample.sm_80.sass"))["calls"]
        self.assertTrue(any(i.opcode == "HFMA2.MMA" for i in code))
        self.assertEqual(listing.hot_loop(code), listing.Loop())

    def test_shapes_of_loops(self):
        def loop(*opcodes):
            """Instructions 16 bytes apart; `<n` branches to instruction n."""
            code = [listing.Instruction(16 * i, "BRA", hex(16 * int(o[1:]))) if o[0] == "<" else listing.Instruction(16 * i, o, "")
                    for i, o in enumerate(opcodes)]
            found = listing.hot_loop(code)
            return found.tensor, found.instructions
        self.assertEqual(loop("HMMA.16816.F32", "FADD", "EXIT", "<3", "NOP"), (1, 3), "no loop: the whole kernel")
        self.assertEqual(loop("FADD", "<0", "HMMA.1", "<2"), (1, 2), "a loop without is passed over")
        self.assertEqual(loop("FADD", "HMMA.1", "<1", "<0"), (1, 2), "the inner one counts")
        self.assertEqual(loop("FADD", "HMMA.1", "<0", "FADD", "<0"), (1, 5), "two branches to one target close one loop")
        self.assertEqual(loop("HMMA.1", "HMMA.1", "<0", "EXIT", "FADD", "<1"), (2, 3), "a rare path behind the end is none")
        self.assertEqual(loop("HMMA.1", "<0", "HMMA.1", "HMMA.1", "<2"), (2, 3), "the one with most counts")


class Table(unittest.TestCase):
    def test_written_tables_are_read(self):
        rows = [row(target="sm_90a"), row()]
        self.assertEqual(rules.read_table(rules.write_table(rows, "nvcc 12.4.131")), ("nvcc 12.4.131", sorted(rows)))

    def test_other_text_is_refused(self):
        good = rules.write_table([row()], "nvcc 12.4.131")
        for bad in ["", good.replace("registers", "regs"), good.replace("\t128\t", "\tmany\t"), good + "conv\n"]:
            with self.assertRaises(ValueError):
                rules.read_table(bad)

    def test_differences_are_told(self):
        self.assertEqual(rules.compare([row()], [row()]), [])
        self.assertEqual(rules.compare([row()], [row(registers=130, spill_stores=8)]),
                         ["conv.cu: forward for sm_80: registers 128 -> 130, spill_stores 0 -> 8"])
        self.assertEqual(len(rules.compare([row()], [row(kernel="backward")])), 2)


class Limits(unittest.TestCase):
    FLOOR = "[floor.forward]\nsm_80 = 0.25\n"
    SPILL = '[[spill]]\nkernel = "forward"\ntarget = "sm_80"\nbytes = 16\nreason = "once, before the loop"\n'

    def found(self, limits, *rows):
        return rules.violations(rows, rules.read_limits(limits))

    def test_what_is_kept_is_kept(self):
        self.assertEqual(self.found(self.FLOOR, row()), [])
        self.assertEqual(self.found("", row(tensor=0, loop=0, spill_stores=8)), [], "spills without tensor cores")

    def test_a_planted_spill_is_found(self):
        (only,) = self.found(self.FLOOR, row(spill_loads=4))
        self.assertIn("4 bytes of spill", only)
        self.assertEqual(self.found(self.FLOOR + self.SPILL, row(spill_loads=16)), [], "allowed with a reason")
        (only,) = self.found(self.FLOOR + self.SPILL, row(spill_loads=16, spill_stores=4))
        self.assertIn("at most 16", only)
        (only,) = self.found(self.FLOOR + self.SPILL, row())
        self.assertIn("there is none", only)

    def test_a_planted_share_under_the_floor_is_found(self):
        (only,) = self.found(self.FLOOR, row(tensor=24))
        self.assertIn("0.240 of its loop (24 of 100), expected at least 0.25", only)
        (only,) = self.found(self.FLOOR, row(tensor=0, loop=0))
        self.assertIn("0.000", only)

    def test_floors_and_kernels_belong_together(self):
        (only,) = self.found("", row())
        self.assertIn("no floor", only)
        (only,) = self.found(self.FLOOR + "sm_75 = 0.2\n", row())
        self.assertIn("no such kernel", only)

    def test_other_limits_are_refused(self):
        no_reason, no_bytes = self.SPILL.replace("once, before the loop", " "), self.SPILL.replace("bytes = 16\n", "")
        for bad in ["[flor.forward]\n", "[floor]\nforward = 0.5\n", "[floor.forward]\nsm_80 = 25.0\n", no_reason, no_bytes]:
            with self.assertRaises(ValueError):
                rules.read_limits(bad)
