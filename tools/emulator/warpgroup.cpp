// Instructions of a warpgroup. Each warp computes its own sixteen rows of the product, which is all that the hardware's warps share but for
// the operands. Written from the PTX ISA, sections "Asynchronous warpgroup level matrix instructions" and "Matrix descriptor".
#pragma GCC optimize("O3")
#include <algorithm>

#include "machine.h"

namespace emulator {

namespace {

constexpr unsigned DEPTH = 16, ROWS = 16, LINE = 16;

/// From a table: the host's compiler calls a function for each conversion.
float from_half(const unsigned char* bytes) {
    static const std::vector<float> all = [] {
        std::vector<float> all(1 << 16);
        for (unsigned bits = 0; bits < all.size(); ++bits) {
            const uint16_t narrow = bits;
            f16 value;
            memcpy(&value, &narrow, sizeof value);
            all[bits] = value;
        }
        return all;
    }();
    uint16_t bits;
    memcpy(&bits, bytes, sizeof bits);
    return all[bits];
}

struct Product {
    float* c;
    unsigned n;
    const uint32_t* a_registers;
    uint64_t a, b;
    bool a_by_edge, b_by_edge;
};

/// An operand in shared memory in rows of 128 bytes with their swizzle: of a line's address bits 4 to 6 are exchanged by bits 7 to 9.
struct Operand {
    uint64_t descriptor;
    bool by_edge;

    uint64_t field(unsigned bit) const { return descriptor >> bit & 0x3FFF; }

    /// The line and the byte in it of one element.
    std::pair<size_t, unsigned> place(unsigned edge, unsigned depth) const {
        const unsigned row = by_edge ? depth : edge, channel = by_edge ? edge : depth;
        const size_t line = field(0) + row / 8 * field(32) + row % 8 * 8 + channel / 8;
        return {line ^ (line >> 3 & 7), 2 * (channel % 8)};
    }
};

/// Elements [depth][edge] from `first` on, with their lines noted.
std::vector<float> read(Machine& m, const Operand& operand, unsigned first, unsigned edges, std::vector<const void*>& lines) {
    if (operand.descriptor >> 62 != 1 || operand.field(32) == 0) m.fail("wgmma gets a descriptor of another layout than rows of 128 bytes");
    if (operand.by_edge && edges > 64) m.fail("wgmma reads channels beyond a row");
    const unsigned char* start = m.shared().start();
    std::vector<float> elements(edges * DEPTH);
    for (unsigned edge = 0; edge < edges; ++edge)
        for (unsigned depth = 0; depth < DEPTH; ++depth) {
            const auto [line, byte] = operand.place(first + edge, depth);
            if ((line + 1) * LINE > m.shared().bytes()) m.fail("wgmma reads past the end of shared memory");
            const unsigned char* at = start + line * LINE;
            if (byte == 0) lines.push_back(at);
            elements[depth * edges + edge] = from_half(at + byte);
        }
    return elements;
}

/// As a fragment of mma.m16n8k16.
std::vector<float> read_registers(void* const all[WARP]) {
    std::vector<float> elements(ROWS * DEPTH);
    for (unsigned lane = 0; lane < WARP; ++lane) {
        const uint32_t* a = static_cast<const Product*>(all[lane])->a_registers;
        for (unsigned i = 0; i < 8; ++i) {
            const unsigned row = lane / 4 + 8 * (i / 2 % 2), depth = 2 * (lane % 4) + i % 2 + 8 * (i / 4);
            elements[depth * ROWS + row] = from_half(reinterpret_cast<const unsigned char*>(&a[i / 2]) + 2 * (i % 2));
        }
    }
    return elements;
}

void start_product(Machine& m, void* const all[WARP]) {
    const auto& first = *static_cast<const Product*>(all[0]);
    if (!m.block().fenced[m.warp()]) m.fail("wgmma uses registers that others may have touched, without wgmma.fence between");
    PendingProduct pending{m.block().product_groups[m.warp()], first.n, {}, std::vector<float>(WARP * first.n / 2), {}, {}};
    for (unsigned lane = 0; lane < WARP; ++lane) {
        const auto& p = *static_cast<const Product*>(all[lane]);
        if (p.a != first.a || p.b != first.b || p.n != first.n) m.fail("lanes give different operands to wgmma");
        pending.c[lane] = p.c;
    }
    const std::vector<float> a = first.a_registers ? read_registers(all)
                                                   : read(m, {first.a, first.a_by_edge}, m.warp() % 4 * ROWS, ROWS, pending.lines);
    // All four warps read the same columns between the same barriers: one of them watches.
    std::vector<const void*> unwatched;
    const std::vector<float> b = read(m, {first.b, first.b_by_edge}, 0, first.n, m.warp() % 4 == 0 ? pending.lines : unwatched);
    for (const void* line : pending.lines) pending.writers.push_back(m.touch_line(line));
    std::vector<float> sums(first.n);
    for (unsigned row = 0; row < ROWS; ++row) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (unsigned k = 0; k < DEPTH; ++k)
            for (unsigned column = 0; column < first.n; ++column) sums[column] += a[k * ROWS + row] * b[k * first.n + column];
        for (unsigned column = 0; column < first.n; ++column) {
            const unsigned lane = row % 8 * 4 + column % 8 / 2, i = column / 8 * 4 + row / 8 * 2 + column % 2;
            pending.sums[lane * first.n / 2 + i] = sums[column];
        }
    }
    m.block().products[m.warp()].push_back(std::move(pending));
}

struct Wait {
    unsigned pending;
};

void finish_products(Machine& m, void* const all[WARP]) {
    const unsigned latest = static_cast<const Wait*>(all[0])->pending;
    auto& products = m.block().products[m.warp()];
    const auto ends = [&](const PendingProduct& p) { return p.group + latest < m.block().product_groups[m.warp()]; };
    for (const PendingProduct& p : products) {
        if (!ends(p)) continue;
        // They may have been read as late as now.
        for (size_t i = 0; i < p.lines.size(); ++i)
            if (m.touch_line(p.lines[i]) != p.writers[i]) m.fail("overwrites what a product in flight reads");
        for (unsigned lane = 0; lane < WARP; ++lane)
            for (unsigned i = 0; i < p.n / 2; ++i) p.c[lane][i] += p.sums[lane * p.n / 2 + i];
    }
    // Accumulators may be touched from now on.
    m.block().fenced[m.warp()] = false;
    products.erase(std::remove_if(products.begin(), products.end(), ends), products.end());
}

}  // namespace

uint32_t shared_offset(const void* place) {
    Machine& m = Machine::active();
    if (!m.shared().holds(place)) m.fail("takes the shared address of something else");
    return m.shared().offset(place);
}

void wgmma(float* c, unsigned n, const uint32_t* a_registers, uint64_t a, bool a_by_edge, uint64_t b, bool b_by_edge) {
    Product mine{c, n, a_registers, a, b, a_by_edge, b_by_edge};
    Machine::active().meet("wgmma", &mine, false, start_product);
}

void wgmma_fence() {
    Machine::active().meet("wgmma.fence", nullptr, false, [](Machine& m, void* const[WARP]) { m.block().fenced[m.warp()] = true; });
}

void commit_wgmma() {
    Machine::active().meet("wgmma.commit_group", nullptr, false, [](Machine& m, void* const[WARP]) { ++m.block().product_groups[m.warp()]; });
}

void wait_wgmma(unsigned pending) {
    Wait mine{pending};
    Machine::active().meet("wgmma.wait_group", &mine, false, finish_products);
}

void fence_proxy_async() {
    Machine& m = Machine::active();
    ++m.thread().fences;
    m.thread().fence_epoch = m.block().barrier_epoch;
}

}  // namespace emulator
