#include "machine.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <utility>

namespace emulator {

namespace {
thread_local Machine* active_machine = nullptr;

std::string hexadecimal(uint64_t value) {
    std::ostringstream text;
    text << "0x" << std::hex << value;
    return text.str();
}
}  // namespace

Machine* Machine::current() { return active_machine; }

Machine& Machine::active() {
    if (!active_machine) {
        fputs("emulator: a kernel ran outside of a launch\n", stderr);
        abort();
    }
    return *active_machine;
}

uint64_t Machine::allocate(size_t bytes) {
    allocations_.emplace_back(std::max<size_t>(bytes, 1));
    return allocations_.back().start();
}

void Machine::release(uint64_t address) {
    std::erase_if(allocations_, [&](const Allocation& a) { return a.start() == address; });
}

Allocation& Machine::find(uint64_t address, size_t bytes) {
    for (Allocation& a : allocations_)
        if (address >= a.start() && address + bytes <= a.end()) return a;
    fputs("emulator: the host names memory that was not allocated\n", stderr);
    abort();
}

void Machine::write(uint64_t to, const void* from, size_t bytes) {
    Allocation& a = find(to, bytes);
    memcpy(a.data.data() + (to - a.start()), from, bytes);
    memset(a.written.data() + (to - a.start()), 1, bytes);
}

void Machine::read(void* to, uint64_t from, size_t bytes) {
    Allocation& a = find(from, bytes);
    memcpy(to, a.data.data() + (from - a.start()), bytes);
}

std::string Machine::launch(const Kernel& kernel, Index grid, unsigned threads, const void* parameters, const std::vector<Operand>& operands) {
    if (threads != kernel.threads) return "launched with " + std::to_string(threads) + " threads; the kernel is made for " + std::to_string(kernel.threads);
    if (threads % WARP != 0 || threads > MAX_THREADS) return "blocks have whole warps and at most " + std::to_string(MAX_THREADS) + " threads";
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) return "a grid of this size cannot be launched";
    kernel_ = &kernel;
    grid_ = grid;
    parameters_ = static_cast<const unsigned char*>(parameters);
    launch_ = launch_ % ((1 << 24) - 1) + 1;
    operands_ = operands;
    operand_allocations_.clear();
    for (const Operand& o : operands_) {
        Allocation& a = find(o.address, o.bytes);
        operand_allocations_.push_back(&a);
        if (o.access == WRITE || o.access == SCRATCH) memset(a.written.data() + (o.address - a.start()), 0, o.bytes);
    }
    error_.clear();
    traffic_ = {};
    Machine* outer = std::exchange(active_machine, this);
    const uint64_t n_blocks = uint64_t{grid.x} * grid.y * grid.z;
    for (uint64_t i = 0; i < n_blocks && error_.empty(); ++i) {
        traces_block_ = traces_ && i == n_blocks / 2;
        run_block({unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / grid.x / grid.y)});
        if (traces_block_) traffic_ = log_.count();
    }
    active_machine = outer;
    return error_.empty() ? check_outputs() : error_;
}

std::string Machine::check_outputs() const {
    for (size_t i = 0; i < operands_.size(); ++i) {
        const Operand& o = operands_[i];
        if (o.access != WRITE) continue;
        const Allocation& a = *operand_allocations_[i];
        const unsigned char* written = a.written.data() + (o.address - a.start());
        const void* missed = memchr(written, 0, o.bytes);
        if (missed) {
            const auto at = static_cast<const unsigned char*>(missed) - written;
            return "left byte " + std::to_string(at) + " of operand " + std::to_string(i) + " (" + std::to_string(o.bytes) + " bytes) unwritten";
        }
    }
    return {};
}

void Machine::touch(const void* address, unsigned bytes, bool writes, const void* site) {
    const bool is_power = (bytes & (bytes - 1)) == 0;
    const auto at = reinterpret_cast<uint64_t>(address);
    // A thread's own variables: the most frequent case, and of no interest.
    if (stacks_[current_].holds(address)) return;
    if (is_power && bytes <= 16 && at % bytes != 0)
        fail("accesses " + std::to_string(bytes) + " bytes at the misaligned address " + hexadecimal(at) + where(site));
    if (shared_.holds(address)) {
        const SharedMemory::Flow me{uint16_t(current_), block_.barrier_epoch, block_.warp_epochs[warp()]};
        if (const char* wrong = shared_.touch(address, bytes, writes, me))
            fail(std::string(wrong) + ", at its byte " + std::to_string(shared_.offset(address)) + where(site));
        if (traces_block_) log_.add(current_, {site, shared_.offset(address), uint16_t(bytes), true, writes});
        return;
    }
    touch_global(at, bytes, writes, site);
}

void Machine::touch_global(uint64_t address, unsigned bytes, bool writes, const void* site) {
    for (size_t i = 0; i < operands_.size(); ++i) {
        const Operand& o = operands_[i];
        if (address < o.address || address + bytes > o.address + o.bytes) continue;
        if (writes && o.access == READ) continue;  // The same memory may be named twice.
        Allocation& a = *operand_allocations_[i];
        const uint64_t block = block_.index.x + uint64_t{grid_.x} * (block_.index.y + uint64_t{grid_.y} * block_.index.z);
        const Touch me{launch_, block % MANY_BLOCKS, current_, block_.barrier_epoch % (1 << 10)};
        if (const char* wrong = a.touch(address - a.start(), bytes, writes, me))
            fail(std::string(wrong) + ": byte " + std::to_string(address - o.address) + " of operand " + std::to_string(i) + where(site));
        if (traces_block_) log_.add(current_, {site, address, uint16_t(bytes), false, writes});
        return;
    }
    if (!writes) {
        const auto parameters = reinterpret_cast<uint64_t>(parameters_);
        if (address >= parameters && address + bytes <= parameters + kernel_->parameter_bytes) return;
        Dl_info constant;
        if (dladdr(reinterpret_cast<void*>(address), &constant)) return;
    }
    std::string nearest;
    uint64_t distance = UINT64_MAX;
    for (size_t i = 0; i < operands_.size(); ++i) {
        const Operand& o = operands_[i];
        const bool before = address < o.address;
        const uint64_t d = before ? o.address - address : address + bytes - std::min(address + bytes, o.address + o.bytes);
        if (d >= distance) continue;
        distance = d;
        const bool inside = !before && d == 0;
        nearest = (inside ? "inside of the read-only" : std::to_string(d) + (before ? " bytes before" : " bytes past the end of")) + " operand " + std::to_string(i) + " (" + std::to_string(o.bytes) + " bytes)";
    }
    fail(std::string(writes ? "writes " : "reads ") + std::to_string(bytes) + " bytes outside of its operands, " + nearest + where(site));
}

std::string Machine::where(const void* site) const {
    Dl_info found;
    std::string text = "; thread " + std::to_string(current_) + " of block (" + std::to_string(block_.index.x) + ", " + std::to_string(block_.index.y) + ", " + std::to_string(block_.index.z) + ")";
    if (dladdr(site, &found)) {
        const auto offset = static_cast<const char*>(site) - static_cast<const char*>(found.dli_fbase);
        text += ", code at " + hexadecimal(offset) + " of " + found.dli_fname + " (addr2line -Cfie FILE ADDRESS names the line)";
    }
    return text;
}

void Machine::fail(const std::string& what) {
    error_ = what;
    Context abandoned;
    switch_context(abandoned, scheduler_);
    abort();
}

void Machine::log_rows(void* const rows[WARP]) {
    if (!traces_block_) return;
    std::vector<uint64_t> offsets;
    for (unsigned lane = 0; lane < WARP; ++lane) offsets.push_back(shared_.offset(rows[lane]));
    log_.add_rows(offsets);
}

}  // namespace emulator
