// The emulated device: its memory, and the launch that is being executed. One launch at a time and thread of the host; blocks run one
// after another, the threads of a block as fibers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emulator.h"
#include "fiber.h"
#include "memory.h"
#include "traffic.h"

namespace emulator {

constexpr unsigned WARP = 32;
/// Fewer than CUDA's 1,024: the shadow of memory keeps ten bits for a thread and needs some numbers for itself.
constexpr unsigned MAX_THREADS = 992;

/// One copy of cp.async that has not arrived.
struct PendingCopy {
    void* shared;
    unsigned bytes;
    unsigned group;
    /// Where in the program it was started.
    const void* site;
    unsigned char data[16];
};

/// A warp's part of a product of wgmma that has not been added.
struct PendingProduct {
    unsigned group;
    unsigned n;
    float* c[WARP];
    /// For each lane what its accumulators get.
    std::vector<float> sums;
    /// The lines of sixteen bytes that it reads, and who had written them when it began.
    std::vector<const void*> lines;
    std::vector<Flow> writers;
};

struct Thread {
    unsigned index = 0;
    bool ended = false;
    Context context = nullptr;
    std::vector<PendingCopy> copies;
    unsigned copy_group = 0;
    /// How often it published its writes to products.
    uint32_t fences = 0;
    /// The epoch of the block's barrier in which it did so last.
    uint64_t fence_epoch = 0;
};

/// A warp-wide operation in which lanes wait for one another.
struct Collective {
    const char* name = nullptr;
    unsigned arrived = 0;
    void* arguments[WARP] = {};
};

struct Block {
    Index index{};
    unsigned n_threads = 0;
    unsigned n_live = 0;
    unsigned at_barrier = 0;
    /// Counted on through all blocks of a launch, so that shadows of shared memory need no clearing. See memory.h.
    uint64_t barrier_epoch = 1;
    std::vector<uint32_t> warp_epochs;
    std::vector<Collective> collectives;
    /// By warp.
    std::vector<std::vector<PendingProduct>> products;
    std::vector<unsigned> product_groups;
    /// Whether wgmma.fence stands between the warp's registers and its next product.
    std::vector<bool> fenced;
    std::vector<unsigned> ready;
    size_t next_ready = 0;
    std::vector<unsigned> waiting;
};

/// A place in global memory that a launch may touch.
struct Operand {
    uint64_t address;
    uint64_t bytes;
    uint32_t access;  // Access
    uint32_t padding;
};

enum Access : uint32_t {
    READ = 0,
    /// Undefined before the launch; every byte must have been written after it.
    WRITE = 1,
    /// Read and written in place.
    UPDATE = 2,
    /// Undefined before the launch, and nobody's business after it.
    SCRATCH = 3,
};

class Machine;

/// The launch that this thread of the host runs, and the stack of the fiber that runs now; null outside of launches.
struct Running {
    Machine* machine;
    const char* stack;

    /// Whether an address is a variable of the running fiber: the most frequent case, and of no interest.
    bool is_local(const void* address) const { return size_t(static_cast<const char*>(address) - stack) < Stack::bytes(); }
};

// Asked for at every access: without a call for it.
extern constinit thread_local Running running __attribute__((tls_model("initial-exec")));

class Machine {
public:
    explicit Machine(uint64_t seed) : random_(seed) {}
    ~Machine() { Stack::give_back(std::move(stacks_)); }

    uint64_t allocate(size_t bytes);
    void release(uint64_t address);
    /// Copies of the host. They check bounds, and what they read must have been written.
    void write(uint64_t to, const void* from, size_t bytes);
    void read(void* to, uint64_t from, size_t bytes);

    /// Runs a kernel. Returns what went wrong, or nothing.
    std::string launch(const Kernel& kernel, Index grid, unsigned threads, unsigned dynamic_shared, const void* parameters,
                       const std::vector<Operand>& operands);

    /// From now on the middle block of every launch is traced: its traffic is what `traffic` then says.
    void trace(bool on) { traces_ = on; }
    const Traffic& traffic() const { return traffic_; }

    // For what the kernels call.
    Thread& thread() { return threads_[current_]; }
    Block& block() { return block_; }
    Index grid() const { return grid_; }
    unsigned warp() const { return current_ / WARP; }
    unsigned lane() const { return current_ % WARP; }
    SharedMemory& shared() { return shared_; }
    unsigned dynamic_shared() const { return dynamic_shared_; }
    /// A read by a product of a whole warp: what was written has to be published to it. Says who wrote the line.
    Flow touch_line(const void* line);
    void touch(const void* address, unsigned bytes, bool writes, const void* site);
    void barrier();
    /// Lanes meet; the last one to arrive runs `complete` on what all of them brought, and `orders` says whether memory is ordered.
    void meet(const char* name, void* argument, bool orders, void (*complete)(Machine&, void* const arguments[WARP]));
    /// Ends the launch with a message; does not return to the kernel.
    [[noreturn]] void fail(const std::string& what);
    /// Notes the rows of a matrix load, if this block is traced.
    void log_rows(void* const rows[WARP]);

    /// The present flow in its block.
    Flow flow() const { return make_flow(block_.barrier_epoch, block_.warp_epochs[warp()], current_); }

    /// The machine whose launch this thread of the host runs.
    static Machine& active();

private:
    static void run_thread();
    void run_block(Index index);
    void run_fibers();
    void suspend();
    void make_ready(std::vector<unsigned>& threads);
    bool touch_operand(size_t i, uint64_t address, unsigned bytes, bool writes, const void* site);
    std::string describe_outside(uint64_t address, unsigned bytes) const;
    std::string check_outputs() const;
    std::string describe_deadlock() const;
    Allocation& find(uint64_t address, size_t bytes);
    void touch_global(uint64_t address, unsigned bytes, bool writes, const void* site);
    std::string where(const void* site) const;

    std::vector<Allocation> allocations_;
    /// Splitmix64: an order that a seed replays with any compiler.
    uint64_t random();
    uint64_t random_;
    SharedMemory shared_;
    Traffic traffic_;
    TrafficLog log_;
    bool traces_ = false;
    bool traces_block_ = false;

    // The launch.
    const Kernel* kernel_ = nullptr;
    const unsigned char* parameters_ = nullptr;
    Index grid_{};
    unsigned dynamic_shared_ = 0;
    uint64_t launch_ = 0;
    uint64_t block_number_ = 0;
    /// The operands that were read and written last: the next access is most often there again.
    size_t last_operand_[2] = {};
    std::vector<Operand> operands_;
    std::vector<Allocation*> operand_allocations_;
    Block block_;
    unsigned current_ = 0;
    std::vector<Thread> threads_;
    std::vector<Stack> stacks_;
    Context scheduler_ = nullptr;
    std::string error_;
};

}  // namespace emulator
