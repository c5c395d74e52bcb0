// Instructions of a warp: shuffles, matrix loads and products, asynchronous copies. Where lanes exchange registers the layouts are those
// of the PTX ISA, section "Warp level matrix instructions", written here from its tables and not from the kernels' header.
#include <algorithm>

#include "machine.h"

namespace emulator {

namespace {

float from_half(uint32_t bits) {
    const uint16_t low = bits;
    f16 value;
    memcpy(&value, &low, 2);
    return value;
}

/// Element `i` (0 or 1) of a register that holds two.
float element(uint32_t pair, unsigned i) { return from_half(i ? pair >> 16 : pair); }

struct Shuffle {
    uint32_t bits;
    unsigned source;
    uint32_t result;
};

struct MatrixLoad {
    const void* row;
    uint32_t* registers;
    bool transposed;
};

struct MatrixStore {
    void* row;
    const uint32_t* registers;
    bool transposed;
};

struct MatrixProduct {
    float* c;
    const uint32_t* a;
    const uint32_t* b;
    bool a_is_row, b_is_row;
};

}  // namespace

uint32_t shuffle(uint32_t bits, unsigned source) {
    Shuffle mine{bits, source, 0};
    Machine::active().meet("__shfl_sync", &mine, false, [](Machine&, void* const all[WARP]) {
        for (unsigned lane = 0; lane < WARP; ++lane) {
            auto* s = static_cast<Shuffle*>(all[lane]);
            s->result = static_cast<Shuffle*>(all[s->source % WARP])->bits;
        }
    });
    return mine.result;
}

void load(void* to, const void* from, unsigned bytes) {
    Machine::active().touch(from, bytes, false, __builtin_return_address(0));
    memcpy(to, from, bytes);
}

void store(void* to, const void* from, unsigned bytes) {
    Machine::active().touch(to, bytes, true, __builtin_return_address(0));
    memcpy(to, from, bytes);
}

void load_matrix_x4(uint32_t registers[4], const void* row, bool transposed) {
    Machine& m = Machine::active();
    if (!m.shared().holds(row)) m.fail("ldmatrix reads something else than shared memory");
    // Without a trace of its own: eight rows are one wavefront, whatever lane names them.
    m.touch(row, 16, false, nullptr);
    MatrixLoad mine{row, registers, transposed};
    m.meet("ldmatrix", &mine, false, [](Machine& machine, void* const all[WARP]) {
        void* rows[WARP];
        for (unsigned lane = 0; lane < WARP; ++lane) rows[lane] = const_cast<void*>(static_cast<MatrixLoad*>(all[lane])->row);
        machine.log_rows(rows);
        for (unsigned matrix = 0; matrix < 4; ++matrix) {
            uint16_t elements[8][8];
            for (unsigned r = 0; r < 8; ++r) memcpy(elements[r], rows[8 * matrix + r], 16);
            for (unsigned lane = 0; lane < WARP; ++lane) {
                auto* load = static_cast<MatrixLoad*>(all[lane]);
                const unsigned i = lane / 4, j = 2 * (lane % 4);
                const uint32_t low = load->transposed ? elements[j][i] : elements[i][j];
                const uint32_t high = load->transposed ? elements[j + 1][i] : elements[i][j + 1];
                load->registers[matrix] = low | high << 16;
            }
        }
    });
}

void store_matrix_x4(void* row, const uint32_t registers[4], bool transposed) {
    Machine& m = Machine::active();
    if (!m.shared().holds(row)) m.fail("stmatrix writes something else than shared memory");
    m.touch(row, 16, true, nullptr);
    MatrixStore mine{row, registers, transposed};
    m.meet("stmatrix", &mine, false, [](Machine& machine, void* const all[WARP]) {
        void* rows[WARP];
        for (unsigned lane = 0; lane < WARP; ++lane) rows[lane] = static_cast<MatrixStore*>(all[lane])->row;
        machine.log_rows(rows);
        for (unsigned matrix = 0; matrix < 4; ++matrix) {
            uint16_t elements[8][8];
            for (unsigned lane = 0; lane < WARP; ++lane) {
                const auto* store = static_cast<MatrixStore*>(all[lane]);
                const unsigned i = lane / 4, j = 2 * (lane % 4);
                (store->transposed ? elements[j][i] : elements[i][j]) = store->registers[matrix] & 0xFFFF;
                (store->transposed ? elements[j + 1][i] : elements[i][j + 1]) = store->registers[matrix] >> 16;
            }
            for (unsigned r = 0; r < 8; ++r) memcpy(rows[8 * matrix + r], elements[r], 16);
        }
    });
}

namespace {

/// D = A B + C of 16 x 8 x `depth` (8 or 16).
template <unsigned depth>
void multiply_m16n8(Machine&, void* const all[WARP]) {
    float a[16][depth], b[depth][8];
    for (unsigned lane = 0; lane < WARP; ++lane) {
        const auto* p = static_cast<MatrixProduct*>(all[lane]);
        const unsigned group = lane / 4, in_group = lane % 4;
        // a0, a1: row group; a2, a3: row group + 8; and so on 8 columns further on.
        for (unsigned i = 0; i < depth / 2; ++i) a[group + 8 * (i / 2 % 2)][2 * in_group + i % 2 + 8 * (i / 4)] = element(p->a[i / 2], i % 2);
        for (unsigned i = 0; i < depth / 4; ++i) b[2 * in_group + i % 2 + 8 * (i / 2)][group] = element(p->b[i / 2], i % 2);
    }
    for (unsigned lane = 0; lane < WARP; ++lane) {
        const auto* p = static_cast<MatrixProduct*>(all[lane]);
        for (unsigned i = 0; i < 4; ++i) {
            const unsigned row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
            float sum = 0;
            for (unsigned k = 0; k < depth; ++k) sum += a[row][k] * b[k][column];
            p->c[i] += sum;
        }
    }
}

/// The four products of m8n8k4, one for each quad pair: lanes 4 q to 4 q + 3 and 16 + 4 q to 16 + 4 q + 3.
void multiply_m8n8k4(Machine&, void* const all[WARP]) {
    for (unsigned pair = 0; pair < 4; ++pair) {
        float a[8][4], b[4][8];
        for (unsigned member = 0; member < 8; ++member) {
            const unsigned lane = 4 * pair + member % 4 + 16 * (member / 4);
            const auto* p = static_cast<MatrixProduct*>(all[lane]);
            for (unsigned i = 0; i < 4; ++i) {
                const float of_a = element(p->a[i / 2], i % 2), of_b = element(p->b[i / 2], i % 2);
                // A row by row: row lane % 4 (+ 4 in the upper half), column i; column by column: column lane % 4, row i (+ 4).
                if (p->a_is_row) a[lane % 4 + 4 * (lane / 16)][i] = of_a;
                else a[i + 4 * (lane / 16)][lane % 4] = of_a;
                if (p->b_is_row) b[lane % 4][i + 4 * (lane / 16)] = of_b;
                else b[i][lane % 4 + 4 * (lane / 16)] = of_b;
            }
        }
        for (unsigned member = 0; member < 8; ++member) {
            const unsigned lane = 4 * pair + member % 4 + 16 * (member / 4);
            const auto* p = static_cast<MatrixProduct*>(all[lane]);
            for (unsigned i = 0; i < 8; ++i) {
                const unsigned row = (lane & 1) + (i & 2) + 4 * (lane / 16), column = (i & 4) + (lane & 2) + (i & 1);
                float sum = 0;
                for (unsigned k = 0; k < 4; ++k) sum += a[row][k] * b[k][column];
                p->c[i] += sum;
            }
        }
    }
}

}  // namespace

void mma_m16n8k16(float c[4], const uint32_t a[4], const uint32_t b[2]) {
    MatrixProduct mine{c, a, b, true, false};
    Machine::active().meet("mma.m16n8k16", &mine, false, multiply_m16n8<16>);
}

void mma_m16n8k8(float c[4], const uint32_t a[2], uint32_t b) {
    MatrixProduct mine{c, a, &b, true, false};
    Machine::active().meet("mma.m16n8k8", &mine, false, multiply_m16n8<8>);
}

void mma_m8n8k4(float c[8], const uint32_t a[2], const uint32_t b[2], bool a_is_row, bool b_is_row) {
    MatrixProduct mine{c, a, b, a_is_row, b_is_row};
    Machine::active().meet("mma.m8n8k4", &mine, false, multiply_m8n8k4);
}

void copy_async(void* shared, const void* global, unsigned bytes, unsigned valid) {
    Machine& m = Machine::active();
    if (!m.shared().holds(shared)) m.fail("cp.async writes to something else than shared memory");
    if (bytes != 4 && bytes != 8 && bytes != 16) m.fail("cp.async copies 4, 8 or 16 bytes");
    PendingCopy copy{shared, bytes, m.thread().copy_group, __builtin_return_address(0), {}};
    if (valid > bytes) m.fail("cp.async takes more bytes than it copies");
    if (reinterpret_cast<uint64_t>(global) % bytes || reinterpret_cast<uint64_t>(shared) % bytes)
        m.fail("cp.async copies " + std::to_string(bytes) + " bytes from or to a misaligned address");
    if (valid > 0) {
        m.touch(global, valid, false, copy.site);
        memcpy(copy.data, global, valid);
    }
    if (const char* wrong = m.shared().expect_copy(shared, bytes, m.flow())) m.fail(wrong);
    m.thread().copies.push_back(copy);
}

void commit_copies() { ++Machine::active().thread().copy_group; }

void wait_copies(unsigned pending) {
    Machine& m = Machine::active();
    auto& copies = m.thread().copies;
    // Copies that were never committed stay, as on the device.
    const auto arrives = [&](const PendingCopy& c) { return c.group + pending < m.thread().copy_group; };
    for (PendingCopy& c : copies) {
        if (!arrives(c)) continue;
        m.shared().copy_arrived(c.shared, c.bytes);
        m.touch(c.shared, c.bytes, true, c.site);
        memcpy(c.shared, c.data, c.bytes);
    }
    copies.erase(std::remove_if(copies.begin(), copies.end(), arrives), copies.end());
}

}  // namespace emulator
