// What the emulator knows of every byte of memory: whether anybody wrote it, and who touched it last.
//
// Two threads race for a byte if both touch it, one of them writes, and no barrier lies between. Threads of different blocks have none.
// Threads of one block have one if __syncthreads was passed between (the block's barrier epoch differs), or, in one warp, __syncwarp
// (the warp's epoch differs; kept for shared memory only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emulator {

/// Zeroed pages that cost nothing until they are touched.
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

/// Who touched a byte last: launch, block, thread and the epoch of its block's barrier.
struct Touch {
    uint64_t launch : 24, block : 20, thread : 10, epoch : 10;
};

/// In a `Touch` of readers: several of them.
constexpr uint64_t MANY_BLOCKS = (1 << 20) - 1;
constexpr uint64_t MANY_THREADS = (1 << 10) - 1;

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

/// A block's shared memory.
class SharedMemory {
public:
    /// One flow of control, and when: epochs of its block's barrier and of its warp's.
    struct Flow {
        uint16_t thread;
        uint32_t block_epoch, warp_epoch;
    };

    SharedMemory();
    /// Forgets the last block's contents.
    void begin_block();
    /// The memory, of `bytes` bytes in this block; null if another size was asked for before.
    void* claim(size_t bytes);
    size_t bytes() const { return bytes_; }
    bool holds(const void* address) const {
        return static_cast<size_t>(static_cast<const unsigned char*>(address) - data_.data()) < capacity();
    }
    size_t capacity() const { return data_.bytes(); }
    size_t offset(const void* address) const { return static_cast<const unsigned char*>(address) - data_.data(); }
    const char* touch(const void* address, unsigned n, bool writes, Flow me);
    /// Marks bytes that a copy in flight will overwrite; nobody may touch them until it arrives.
    const char* expect_copy(const void* address, unsigned n);
    void copy_arrived(const void* address, unsigned n);

private:
    struct Shadow {
        Flow writer, reader;
        bool written, in_flight;
    };

    Pages data_;
    std::vector<Shadow> shadows_;
    size_t bytes_ = 0;
};

}  // namespace emulator
