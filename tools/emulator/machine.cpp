#include "machine.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <utility>

namespace emulator {

constinit thread_local Running running{};

namespace {
std::string hexadecimal(uint64_t value) {
    std::ostringstream text;
    text << "0x" << std::hex << value;
    return text.str();
}
}  // namespace

Machine& Machine::active() {
    if (!running.machine) {
        fputs("emulator: a kernel ran outside of a launch\n", stderr);
        abort();
    }
    return *running.machine;
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

std::string Machine::launch(const Kernel& kernel, Index grid, unsigned threads, unsigned dynamic_shared, const void* parameters,
                            const std::vector<Operand>& operands) {
    if (threads != kernel.threads) return "launched with " + std::to_string(threads) + " threads; the kernel is made for " + std::to_string(kernel.threads);
    if (threads % WARP != 0 || threads > MAX_THREADS) return "blocks have whole warps and at most " + std::to_string(MAX_THREADS) + " threads";
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) return "a grid of this size cannot be launched";
    kernel_ = &kernel;
    grid_ = grid;
    dynamic_shared_ = dynamic_shared;
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
    last_operand_[0] = last_operand_[1] = 0;
    block_.barrier_epoch = 1;
    shared_.begin_launch();
    const Running outer = std::exchange(running, {this, nullptr});
    const uint64_t n_blocks = uint64_t{grid.x} * grid.y * grid.z;
    for (uint64_t i = 0; i < n_blocks && error_.empty(); ++i) {
        traces_block_ = traces_ && i == n_blocks / 2;
        block_number_ = i % MANY_BLOCKS;
        run_block({unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / grid.x / grid.y)});
        if (traces_block_) traffic_ = log_.count();
    }
    running = outer;
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
    if (running.is_local(address)) return;
    const auto at = reinterpret_cast<uint64_t>(address);
    if (!writes && at - reinterpret_cast<uint64_t>(parameters_) < kernel_->parameter_bytes) return;
    const bool is_power = (bytes & (bytes - 1)) == 0;
    if (is_power && bytes <= 16 && at % bytes != 0)
        fail("accesses " + std::to_string(bytes) + " bytes at the misaligned address " + hexadecimal(at) + where(site));
    if (shared_.holds(address)) {
        if (const char* wrong = shared_.touch(address, bytes, writes, flow()))
            fail(std::string(wrong) + ", at its byte " + std::to_string(shared_.offset(address)) + where(site));
        if (writes) shared_.note_fences(address, bytes, thread().fences);
        if (traces_block_ && site) log_.add(current_, {site, shared_.offset(address), uint16_t(bytes), true, writes});
        return;
    }
    touch_global(at, bytes, writes, site);
}

Flow Machine::touch_line(const void* line) {
    touch(line, 16, false, nullptr);
    Flow first = 0;
    for (unsigned byte = 0; byte < 16; ++byte) {
        const auto [writer, fences] = shared_.writer(static_cast<const unsigned char*>(line) + byte);
        if (byte > 0 && writer == first) continue;
        first = writer;
        const unsigned by = writer & 0xFFFF, warp_start = current_ / WARP * WARP;
        const bool published = threads_[by].fences > fences;
        for (unsigned lane = 0; lane < WARP; ++lane)
            if (!published && threads_[warp_start + lane].fence_epoch <= writer >> 36)
                fail("wgmma reads shared memory that thread " + std::to_string(by) + " wrote, without fence.proxy.async between, at its byte " +
                     std::to_string(shared_.offset(line)));
    }
    return first;
}

void Machine::touch_global(uint64_t address, unsigned bytes, bool writes, const void* site) {
    size_t& last = last_operand_[writes];
    if (last < operands_.size() && touch_operand(last, address, bytes, writes, site)) return;
    for (size_t i = 0; i < operands_.size(); ++i) {
        if (!touch_operand(i, address, bytes, writes, site)) continue;
        last = i;
        return;
    }
    Dl_info constant;
    if (!writes && dladdr(reinterpret_cast<void*>(address), &constant)) return;
    fail(std::string(writes ? "writes " : "reads ") + std::to_string(bytes) + " bytes outside of its operands, " + describe_outside(address, bytes) + where(site));
}

/// Whether an access belongs to an operand, which then takes note of it.
bool Machine::touch_operand(size_t i, uint64_t address, unsigned bytes, bool writes, const void* site) {
    const Operand& o = operands_[i];
    if (address < o.address || address + bytes > o.address + o.bytes) return false;
    if (writes && o.access == READ) return false;  // The same memory may be named twice.
    Allocation& a = *operand_allocations_[i];
    const Touch me = make_touch(launch_, block_number_, block_.barrier_epoch, current_);
    if (const char* wrong = a.touch(address - a.start(), bytes, writes, me))
        fail(std::string(wrong) + ": byte " + std::to_string(address - o.address) + " of operand " + std::to_string(i) + where(site));
    if (traces_block_) log_.add(current_, {site, address, uint16_t(bytes), false, writes});
    return true;
}

std::string Machine::describe_outside(uint64_t address, unsigned bytes) const {
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
    return nearest;
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
