// A block: its threads as fibers, in an order that a seed permutes, and where they wait for one another.
#include <algorithm>

#include "machine.h"

namespace emulator {

void Machine::run_thread() {
    Machine& m = active();
    m.kernel_->body(m.parameters_);
    if (!m.thread().copies.empty()) m.fail("ends with asynchronous copies in flight");
    if (!m.block_.products[m.warp()].empty()) m.fail("ends with products in flight");
    m.thread().ended = true;
    --m.block_.n_live;
    // A barrier waits for the threads that have not ended.
    if (m.block_.n_live > 0 && m.block_.at_barrier == m.block_.n_live) {
        ++m.block_.barrier_epoch;
        m.block_.at_barrier = 0;
        m.make_ready(m.block_.waiting);
    }
    m.suspend();
}

void Machine::run_block(Index index) {
    const unsigned n = kernel_->threads;
    while (stacks_.size() < n) stacks_.push_back(Stack::take());
    threads_.resize(std::max<size_t>(threads_.size(), n));
    block_.index = index;
    block_.n_threads = block_.n_live = n;
    block_.at_barrier = 0;
    if (++block_.barrier_epoch >= MOST_EPOCHS - (1 << 20)) {
        error_ = "passes more barriers in all blocks together than the emulator counts";
        return;
    }
    block_.warp_epochs.assign(n / WARP, 1);
    block_.collectives.assign(n / WARP, {});
    block_.products.assign(n / WARP, {});
    block_.product_groups.assign(n / WARP, 0);
    block_.fenced.assign(n / WARP, false);
    block_.ready.clear();
    block_.next_ready = 0;
    block_.waiting.clear();
    shared_.begin_block(block_.barrier_epoch);
    if (traces_block_) log_.begin_block(n);
    std::vector<unsigned> all(n);
    for (unsigned i = 0; i < n; ++i) {
        all[i] = i;
        threads_[i].index = i;
        threads_[i].ended = false;
        threads_[i].copies.clear();
        threads_[i].copy_group = 0;
        threads_[i].fences = 0;
        threads_[i].fence_epoch = 0;
        threads_[i].context = stacks_[i].prepare(run_thread);
    }
    make_ready(all);
    run_fibers();
}

void Machine::run_fibers() {
    while (error_.empty() && block_.next_ready < block_.ready.size()) {
        current_ = block_.ready[block_.next_ready++];
        if (block_.next_ready == block_.ready.size()) {
            block_.ready.clear();
            block_.next_ready = 0;
        }
        running.stack = stacks_[current_].start();
        switch_context(scheduler_, threads_[current_].context);
    }
    if (error_.empty() && block_.n_live > 0) error_ = describe_deadlock();
}

uint64_t Machine::random() {
    uint64_t x = random_ += 0x9E3779B97F4A7C15;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
    x = (x ^ x >> 27) * 0x94D049BB133111EB;
    return x ^ x >> 31;
}

void Machine::suspend() { switch_context(thread().context, scheduler_); }

void Machine::make_ready(std::vector<unsigned>& threads) {
    for (size_t i = threads.size(); i > 1; --i) std::swap(threads[i - 1], threads[random() % i]);
    block_.ready.insert(block_.ready.end(), threads.begin(), threads.end());
    threads.clear();
}

std::string Machine::describe_deadlock() const {
    std::string text = "deadlock in block (" + std::to_string(block_.index.x) + ", " + std::to_string(block_.index.y) + ", " + std::to_string(block_.index.z) + "): of " + std::to_string(block_.n_threads) + " threads " + std::to_string(block_.n_threads - block_.n_live) + " have ended, " + std::to_string(block_.at_barrier) + " wait at __syncthreads";
    for (size_t w = 0; w < block_.collectives.size(); ++w) {
        const Collective& c = block_.collectives[w];
        if (c.arrived) text += ", " + std::to_string(c.arrived) + " lanes of warp " + std::to_string(w) + " wait for the others in " + c.name;
    }
    return text;
}

void Machine::barrier() {
    ++block_.at_barrier;
    if (block_.at_barrier == block_.n_live) {
        block_.at_barrier = 0;
        ++block_.barrier_epoch;
        block_.waiting.push_back(current_);
        make_ready(block_.waiting);
    } else {
        block_.waiting.push_back(current_);
    }
    suspend();
}

void Machine::meet(const char* name, void* argument, bool orders, void (*complete)(Machine&, void* const arguments[WARP])) {
    Collective& c = block_.collectives[warp()];
    if (c.arrived && c.name != name) fail(std::string("lanes of a warp part: some are at ") + c.name + ", others at " + name);
    c.name = name;
    c.arguments[lane()] = argument;
    if (++c.arrived < WARP) {
        suspend();
        return;
    }
    complete(*this, c.arguments);
    c.arrived = 0;
    if (orders) ++block_.warp_epochs[warp()];
    std::vector<unsigned> lanes;
    for (unsigned i = 0; i < WARP; ++i) lanes.push_back(warp() * WARP + i);
    make_ready(lanes);
    suspend();
}

Index thread_index() { return {Machine::active().thread().index, 0, 0}; }
Index block_index() { return Machine::active().block().index; }
Index block_size() { return {Machine::active().block().n_threads, 1, 1}; }
Index grid_size() { return Machine::active().grid(); }

void sync_threads() { Machine::active().barrier(); }

void sync_warp() {
    Machine::active().meet("__syncwarp", nullptr, true, [](Machine&, void* const[WARP]) {});
}

void* shared_memory(size_t bytes) {
    Machine& m = Machine::active();
    void* memory = bytes > MAX_STATIC_SHARED ? nullptr : m.shared().claim(bytes);
    if (!memory) m.fail("declares " + std::to_string(bytes) + " bytes of shared memory: more than " + std::to_string(MAX_STATIC_SHARED) + ", or twice with different sizes");
    return memory;
}

void* large_shared_memory(size_t bytes) {
    Machine& m = Machine::active();
    if (bytes != m.dynamic_shared()) m.fail("has " + std::to_string(bytes) + " bytes of dynamic shared memory; the launch gives " + std::to_string(m.dynamic_shared()));
    void* memory = m.shared().claim(bytes);
    if (!memory) m.fail("has " + std::to_string(bytes) + " bytes of shared memory: more than " + std::to_string(MAX_SHARED) + ", or twice with different sizes");
    return memory;
}

}  // namespace emulator
