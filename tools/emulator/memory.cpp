#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "machine.h"

namespace emulator {

namespace {

/// Bytes before and behind all pages that belong to nobody: two kinds of memory side by side, and a step past the one would be a good
/// address of the other. A multiple of any page's size.
constexpr size_t GUARD = 64 << 10;

size_t mapped_bytes(size_t bytes) { return (bytes + GUARD - 1) / GUARD * GUARD + 2 * GUARD; }

}  // namespace

Pages::Pages(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    void* memory = mmap(nullptr, mapped_bytes(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory != MAP_FAILED) data_ = static_cast<unsigned char*>(memory) + GUARD;
    if (!data_ || mprotect(data_, bytes, PROT_READ | PROT_WRITE) != 0) {
        perror("emulator: no memory");
        abort();
    }
}

Pages::Pages(Pages&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Pages& Pages::operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

Pages::~Pages() {
    if (data_) munmap(data_ - GUARD, mapped_bytes(bytes_));
}

namespace {

/// Whether all of n words, or bytes, are the same: they almost always are, for they were touched together.
template <typename Word>
bool is_uniform(const Word* words, unsigned n) {
    Word difference = 0;
    for (unsigned i = 1; i < n; ++i) difference |= words[i] ^ words[0];
    return difference == 0;
}

bool is_unordered(Touch other, Touch me) {
    const uint64_t difference = other ^ me;
    if (difference >> 40) return false;         // Another launch.
    if (difference >> 20) return true;          // Another block.
    if (difference >> 10) return false;         // Another epoch.
    return difference != 0;
}

/// The readers known, and one more. A flow that comes later than all of them by a barrier replaces them.
Touch add_reader(Touch readers, Touch me) {
    const uint64_t difference = readers ^ me;
    if (difference >> 40) return me;
    if (difference >> 20) return readers | MANY_BLOCKS << 20;
    if (difference >> 10) return me;
    return difference ? readers | MANY_THREADS : readers;
}

const char* find_race(Touch writer, Touch reader, bool writes, Touch me) {
    if (is_unordered(writer, me)) return writes ? "races with a write of another thread" : "reads what another thread writes without a barrier between";
    if (writes && is_unordered(reader, me)) return "writes what another thread reads without a barrier between";
    return nullptr;
}

}  // namespace

const char* Allocation::touch(size_t at, unsigned n, bool writes, Touch me) {
    auto* writer = reinterpret_cast<Touch*>(writers.data()) + at;
    auto* reader = reinterpret_cast<Touch*>(readers.data()) + at;
    unsigned char* is_written = written.data() + at;
    // One look at all bytes where they have the same history, which is almost always.
    const unsigned step = is_uniform(writer, n) && is_uniform(reader, n) && is_uniform(is_written, n) ? n : 1;
    for (unsigned i = 0; i < n; i += step) {
        if (const char* wrong = find_race(writer[i], reader[i], writes, me)) return wrong;
        if (writes) {
            for (unsigned j = i; j < i + step; ++j) writer[j] = me;
            memset(is_written + i, 1, step);
        } else {
            if (!is_written[i]) return "reads memory that nobody wrote";
            const Touch readers_now = add_reader(reader[i], me);
            if (readers_now == reader[i]) continue;
            for (unsigned j = i; j < i + step; ++j) reader[j] = readers_now;
        }
    }
    return nullptr;
}

namespace {

/// As a flow's thread: more than one lane of a warp (which one is told by the number's lower part), or lanes of several warps.
constexpr unsigned LANES_OF_WARP = 0x8000;
constexpr unsigned MANY_WARPS = 0xFFFE;

unsigned thread_of(Flow flow) { return flow & 0xFFFF; }

unsigned warp_of(Flow flow) {
    const unsigned thread = thread_of(flow);
    return thread & LANES_OF_WARP ? thread & ~LANES_OF_WARP : thread / WARP;
}

bool is_unordered_in_block(Flow other, Flow me) {
    const uint64_t difference = other ^ me;
    if (difference >> 36) return false;  // Another block, or epoch of its barrier.
    if (!(difference & 0xFFFF)) return false;
    if (thread_of(other) == MANY_WARPS || warp_of(other) != warp_of(me)) return true;
    return difference >> 16 == 0;  // One warp: ordered if its own epoch differs.
}

/// The readers known, and one more.
Flow add_reader_in_block(Flow readers, Flow me) {
    const uint64_t difference = readers ^ me;
    if (difference >> 36) return me;
    if (thread_of(readers) == MANY_WARPS) return readers;
    if (warp_of(readers) != warp_of(me)) return (me & ~uint64_t{0xFFFF}) | MANY_WARPS;
    if (difference >> 16 || !difference) return me;
    return (me & ~uint64_t{0xFFFF}) | LANES_OF_WARP | warp_of(me);
}

const char* find_race_in_block(Flow writer, Flow reader, bool writes, Flow me) {
    if (is_unordered_in_block(writer, me)) return writes ? "races for shared memory with a write of another thread" : "reads shared memory that another thread writes without a barrier between";
    if (writes && is_unordered_in_block(reader, me)) return "writes shared memory that another thread reads without a barrier between";
    return nullptr;
}

}  // namespace

void SharedMemory::begin_launch() {
    std::fill_n(writers_.begin(), most_bytes_, 0);
    std::fill_n(readers_.begin(), most_bytes_, 0);
    std::fill_n(in_flight_.begin(), most_bytes_, 0);
}

void* SharedMemory::claim(size_t bytes) {
    if (bytes > capacity() || (bytes_ != 0 && bytes_ != bytes)) return nullptr;
    bytes_ = bytes;
    most_bytes_ = std::max(most_bytes_, bytes);
    return data_.data();
}

const char* SharedMemory::touch(const void* address, unsigned n, bool writes, Flow me) {
    const size_t at = offset(address);
    if (at + n > bytes_) return "touches shared memory past the end of what the kernel declares";
    Flow* writer = &writers_[at];
    Flow* reader = &readers_[at];
    const unsigned char* in_flight = &in_flight_[at];
    const unsigned step = is_uniform(writer, n) && is_uniform(reader, n) && is_uniform(in_flight, n) ? n : 1;
    for (unsigned i = 0; i < n; i += step) {
        if (in_flight[i]) return "touches shared memory into which an asynchronous copy is in flight";
        if (const char* wrong = find_race_in_block(writer[i], reader[i], writes, me)) return wrong;
        if (writes) {
            for (unsigned j = i; j < i + step; ++j) writer[j] = me;
        } else {
            if (writer[i] >> 36 < first_epoch_) return "reads shared memory that nobody wrote";
            const Flow readers_now = add_reader_in_block(reader[i], me);
            if (readers_now == reader[i]) continue;
            for (unsigned j = i; j < i + step; ++j) reader[j] = readers_now;
        }
    }
    return nullptr;
}

const char* SharedMemory::expect_copy(const void* address, unsigned n, Flow me) {
    const size_t at = offset(address);
    if (at + n > bytes_) return "copies to shared memory past the end of what the kernel declares";
    for (size_t i = at; i < at + n; ++i) {
        if (in_flight_[i]) return "copies to shared memory into which another copy is in flight";
        // It may arrive at any time from now on.
        if (const char* wrong = find_race_in_block(writers_[i], readers_[i], true, me)) return wrong;
        in_flight_[i] = 1;
    }
    return nullptr;
}

void SharedMemory::copy_arrived(const void* address, unsigned n) { memset(&in_flight_[offset(address)], 0, n); }

}  // namespace emulator

// The compiler's hooks. Accesses of unknown alignment and those to locals whose address escapes come here as well, and those of static
// initialisers, which run outside of any launch.
namespace {
inline void touch(const void* p, unsigned bytes, bool writes, const void* site) {
    if (emulator::running.is_local(p)) return;
    if (emulator::Machine* machine = emulator::running.machine) machine->touch(p, bytes, writes, site);
}
}  // namespace

#define HOOK(bytes)                                                                                       \
    void __tsan_read##bytes(void* p) { touch(p, bytes, false, __builtin_return_address(0)); }             \
    void __tsan_write##bytes(void* p) { touch(p, bytes, true, __builtin_return_address(0)); }             \
    void __tsan_unaligned_read##bytes(void* p) { touch(p, bytes, false, __builtin_return_address(0)); }   \
    void __tsan_unaligned_write##bytes(void* p) { touch(p, bytes, true, __builtin_return_address(0)); }

extern "C" {
HOOK(1)
HOOK(2)
HOOK(4)
HOOK(8)
HOOK(16)
void __tsan_read_range(void* p, size_t n) { touch(p, n, false, __builtin_return_address(0)); }
void __tsan_write_range(void* p, size_t n) { touch(p, n, true, __builtin_return_address(0)); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}

// The hooks of -fsanitize=undefined, for what a kernel may not do whatever it touches. The first word of what they get is the file's name.
namespace {
struct Place {
    const char* file;
    uint32_t line, column;
};

void refuse(const char* what, const void* place) {
    const auto* at = static_cast<const Place*>(place);
    if (emulator::Machine* machine = emulator::running.machine)
        machine->fail(std::string(what) + " in " + at->file + ", line " + std::to_string(at->line));
}
}  // namespace

extern "C" {
void __ubsan_handle_out_of_bounds(void* place, uintptr_t) { refuse("indexes past the end of an array", place); }
void __ubsan_handle_add_overflow(void* place, uintptr_t, uintptr_t) { refuse("adds integers beyond their type", place); }
void __ubsan_handle_sub_overflow(void* place, uintptr_t, uintptr_t) { refuse("subtracts integers beyond their type", place); }
void __ubsan_handle_mul_overflow(void* place, uintptr_t, uintptr_t) { refuse("multiplies integers beyond their type", place); }
void __ubsan_handle_negate_overflow(void* place, uintptr_t) { refuse("negates an integer beyond its type", place); }
void __ubsan_handle_divrem_overflow(void* place, uintptr_t, uintptr_t) { refuse("divides by zero, or beyond the type", place); }
void __ubsan_handle_shift_out_of_bounds(void* place, uintptr_t, uintptr_t) { refuse("shifts by more bits than there are", place); }
}
