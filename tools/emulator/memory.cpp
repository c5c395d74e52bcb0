#include "memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "machine.h"

namespace emulator {

Pages::Pages(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("emulator: no memory");
        abort();
    }
    data_ = static_cast<unsigned char*>(memory);
}

Pages::Pages(Pages&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Pages& Pages::operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

Pages::~Pages() {
    if (data_) munmap(data_, bytes_);
}

namespace {

bool is_unordered(Touch other, Touch me) {
    if (other.launch != me.launch) return false;
    if (other.block != me.block) return true;
    return other.thread != me.thread && other.epoch == me.epoch;
}

/// Adds a reader to those known. A flow that comes later than all of them by a barrier replaces them.
void add_reader(Touch& readers, Touch me) {
    if (readers.launch != me.launch) {
        readers = me;
    } else if (readers.block != me.block) {
        readers.block = MANY_BLOCKS;
    } else if (readers.epoch != me.epoch) {
        readers = me;
    } else if (readers.thread != me.thread) {
        readers.thread = MANY_THREADS;
    }
}

}  // namespace

const char* Allocation::touch(size_t at, unsigned n, bool writes, Touch me) {
    auto* writer = reinterpret_cast<Touch*>(writers.data()) + at;
    auto* reader = reinterpret_cast<Touch*>(readers.data()) + at;
    for (unsigned i = 0; i < n; ++i) {
        if (is_unordered(writer[i], me)) return writes ? "races with a write of another thread" : "reads what another thread writes without a barrier between";
        if (writes) {
            if (is_unordered(reader[i], me)) return "writes what another thread reads without a barrier between";
            writer[i] = me;
            written.data()[at + i] = 1;
        } else {
            if (!written.data()[at + i]) return "reads memory that nobody wrote";
            add_reader(reader[i], me);
        }
    }
    return nullptr;
}

namespace {

constexpr uint16_t NOBODY = 0xFFFF;
/// As readers: more than one lane of a warp (which one is told by the number's lower part), or lanes of several warps.
constexpr uint16_t LANES_OF_WARP = 0x8000;
constexpr uint16_t MANY_WARPS = 0xFFFE;

bool is_unordered(const SharedMemory::Flow& other, const SharedMemory::Flow& me) {
    if (other.thread == NOBODY || other.block_epoch != me.block_epoch || other.thread == me.thread) return false;
    if (other.thread == MANY_WARPS) return true;
    const bool several = other.thread & LANES_OF_WARP;
    const unsigned warp = several ? other.thread & ~LANES_OF_WARP : other.thread / WARP;
    return warp != me.thread / WARP || other.warp_epoch == me.warp_epoch;
}

void add_reader(SharedMemory::Flow& readers, const SharedMemory::Flow& me) {
    const bool is_known = readers.thread != NOBODY && readers.block_epoch == me.block_epoch;
    if (!is_known) {
        readers = me;
    } else if (readers.thread == MANY_WARPS || readers.thread == me.thread) {
        readers.warp_epoch = me.warp_epoch;
    } else {
        const bool several = readers.thread & LANES_OF_WARP;
        const unsigned warp = several ? readers.thread & ~LANES_OF_WARP : readers.thread / WARP;
        if (warp != me.thread / WARP) {
            readers.thread = MANY_WARPS;
        } else {
            readers.thread = readers.warp_epoch == me.warp_epoch ? LANES_OF_WARP | warp : me.thread;
            readers.warp_epoch = me.warp_epoch;
        }
    }
}

}  // namespace

SharedMemory::SharedMemory() : data_(MAX_STATIC_SHARED), shadows_(MAX_STATIC_SHARED) { begin_block(); }

void SharedMemory::begin_block() {
    const size_t used = bytes_ ? bytes_ : capacity();
    memset(data_.data(), 0xFF, used);
    for (size_t i = 0; i < used; ++i) shadows_[i] = {{NOBODY, 0, 0}, {NOBODY, 0, 0}, false, false};
    bytes_ = 0;
}

void* SharedMemory::claim(size_t bytes) {
    if (bytes > capacity() || (bytes_ != 0 && bytes_ != bytes)) return nullptr;
    bytes_ = bytes;
    return data_.data();
}

const char* SharedMemory::touch(const void* address, unsigned n, bool writes, Flow me) {
    const size_t at = offset(address);
    if (at + n > bytes_) return "touches shared memory past the end of what the kernel declares";
    for (Shadow* s = &shadows_[at]; s != &shadows_[at] + n; ++s) {
        if (s->in_flight) return "touches shared memory into which an asynchronous copy is in flight";
        if (is_unordered(s->writer, me)) return writes ? "races for shared memory with a write of another thread" : "reads shared memory that another thread writes without a barrier between";
        if (writes) {
            if (is_unordered(s->reader, me)) return "writes shared memory that another thread reads without a barrier between";
            s->writer = me;
            s->written = true;
        } else {
            if (!s->written) return "reads shared memory that nobody wrote";
            add_reader(s->reader, me);
        }
    }
    return nullptr;
}

const char* SharedMemory::expect_copy(const void* address, unsigned n) {
    const size_t at = offset(address);
    if (at + n > bytes_) return "copies to shared memory past the end of what the kernel declares";
    for (size_t i = at; i < at + n; ++i) {
        if (shadows_[i].in_flight) return "copies to shared memory into which another copy is in flight";
        shadows_[i].in_flight = true;
    }
    return nullptr;
}

void SharedMemory::copy_arrived(const void* address, unsigned n) {
    const size_t at = offset(address);
    for (size_t i = at; i < at + n; ++i) shadows_[i].in_flight = false;
}

}  // namespace emulator

// The compiler's hooks. Accesses of unknown alignment and those to locals whose address escapes come here as well, and those of static
// initialisers, which run outside of any launch.
namespace {
void touch(const void* p, unsigned bytes, bool writes, const void* site) {
    if (emulator::Machine* machine = emulator::Machine::current()) machine->touch(p, bytes, writes, site);
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
