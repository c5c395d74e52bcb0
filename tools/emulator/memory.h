// What the emulator knows of every byte of memory: whether anybody wrote it, and who touched it last.
//
// Two threads race for a byte if both touch it, one of them writes, and no barrier lies between. Threads of different blocks have none.
// Threads of one block have one if __syncthreads was passed between (the block's barrier epoch differs), or, in one warp, __syncwarp
// (the warp's epoch differs; kept for shared memory only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace emulator {

constexpr size_t MAX_STATIC_SHARED = 48 << 10;
/// Of Hopper, the most that a block can ask for.
constexpr size_t MAX_SHARED = 227 << 10;

/// Zeroed pages that cost nothing until they are touched, between pages that nobody may touch.
class Pages {
public:
    explicit Pages(size_t bytes = 0);
    ~Pages();
    Pages(Pages&& other) noexcept;
    Pages& operator=(Pages&& other) noexcept;
    Pages(const Pages&) = delete;

    unsigned char* data() const { return data_; }
    size_t bytes() const { return bytes_; }

private:
    unsigned char* data_ = nullptr;
    size_t bytes_ = 0;
};

/// Who touched a byte last, in one word: launch, block, epoch of its block's barrier and thread. Zero: nobody.
using Touch = uint64_t;

/// In a `Touch` of readers: several of them.
constexpr uint64_t MANY_BLOCKS = (1 << 20) - 1;
constexpr uint64_t MANY_THREADS = (1 << 10) - 1;

constexpr Touch make_touch(uint64_t launch, uint64_t block, uint64_t epoch, uint64_t thread) {
    return launch << 40 | block << 20 | (epoch & 0x3FF) << 10 | thread;
}

/// An allocation of global memory.
struct Allocation {
    explicit Allocation(size_t bytes) : data(bytes), written(bytes), writers(bytes * sizeof(Touch)), readers(bytes * sizeof(Touch)) {}

    Pages data;
    /// For each byte, whether it was written.
    Pages written;
    Pages writers;
    Pages readers;

    uint64_t start() const { return reinterpret_cast<uint64_t>(data.data()); }
    uint64_t end() const { return start() + data.bytes(); }
    /// Takes note of an access to bytes [at, at + n); says what is wrong with it, or nothing.
    const char* touch(size_t at, unsigned n, bool writes, Touch me);
};

/// One flow of control and when, in one word: thread, and the epochs of its block's barrier and of its warp's. Zero: nobody.
using Flow = uint64_t;

constexpr uint64_t MOST_EPOCHS = 1 << 28;

constexpr Flow make_flow(uint64_t block_epoch, uint64_t warp_epoch, uint64_t thread) {
    return block_epoch << 36 | (warp_epoch & 0xFFFFF) << 16 | thread;
}

/// A block's shared memory.
class SharedMemory {
public:
    SharedMemory() : data_(MAX_SHARED), writers_(MAX_SHARED), readers_(MAX_SHARED), in_flight_(MAX_SHARED), fences_(MAX_SHARED) {}
    /// Forgets all shadows, so that epochs may begin anew.
    void begin_launch();
    /// Forgets the last block's contents: what was written before this epoch counts as unwritten.
    void begin_block(uint64_t block_epoch) {
        bytes_ = 0;
        first_epoch_ = block_epoch;
    }
    /// The memory, of `bytes` bytes in this block; null if another size was asked for before.
    void* claim(size_t bytes);
    size_t bytes() const { return bytes_; }
    const unsigned char* start() const { return data_.data(); }
    bool holds(const void* address) const {
        return static_cast<size_t>(static_cast<const unsigned char*>(address) - data_.data()) < capacity();
    }
    size_t capacity() const { return data_.bytes(); }
    size_t offset(const void* address) const { return static_cast<const unsigned char*>(address) - data_.data(); }
    const char* touch(const void* address, unsigned n, bool writes, Flow me);
    /// Takes note of how often the writer had published its writes before this one.
    void note_fences(const void* address, unsigned n, uint32_t fences) { std::fill_n(&fences_[offset(address)], n, fences); }
    /// Who wrote a byte, and how often that thread had published by then.
    std::pair<Flow, uint32_t> writer(const void* address) const { return {writers_[offset(address)], fences_[offset(address)]}; }
    /// Marks bytes that a copy in flight will overwrite; nobody may touch them until it arrives.
    const char* expect_copy(const void* address, unsigned n, Flow me);
    void copy_arrived(const void* address, unsigned n);

private:
    Pages data_;
    std::vector<Flow> writers_, readers_;
    std::vector<unsigned char> in_flight_;
    std::vector<uint32_t> fences_;
    size_t bytes_ = 0, most_bytes_ = 0;
    uint64_t first_epoch_ = 1;
};

}  // namespace emulator
