// What a launch's accesses cost: sectors of 32 bytes of global memory per request, and wavefronts of shared memory.
#pragma once

#include <cstdint>
#include <vector>

namespace emulator {

/// One lane's part of an access.
struct LaneAccess {
    const void* site;
    uint64_t address;
    uint16_t bytes;
    bool shared, writes;
};

/// Sums over the traced blocks of a launch (one block: they are alike).
struct Traffic {
    uint64_t requests = 0;
    /// Sectors moved, and those that the bytes asked for would fill if they lay side by side.
    uint64_t sectors = 0, least_sectors = 0;
    uint64_t shared_requests = 0;
    /// Passes over the banks, and those that an access without conflicts takes.
    uint64_t wavefronts = 0, least_wavefronts = 0;
};

/// The accesses of a block, lane by lane.
class TrafficLog {
public:
    void begin_block(unsigned n_threads) {
        lanes_.assign(n_threads, {});
        rows_.clear();
    }
    void add(unsigned thread, const LaneAccess& access) { lanes_[thread].push_back(access); }
    /// Rows of 16 bytes that a warp reads in one wavefront each eight (ldmatrix).
    void add_rows(const std::vector<uint64_t>& addresses) { rows_.push_back(addresses); }
    Traffic count() const;

private:
    std::vector<std::vector<LaneAccess>> lanes_;
    std::vector<std::vector<uint64_t>> rows_;
};

}  // namespace emulator
