// Philox 4x32-10 (Salmon et al., SC 2011), as in src/random.rs.
#pragma once

#include "platform.cuh"

/// Four random words.
struct PhiloxBlock {
    uint32_t words[4];
};

__device__ __forceinline__ PhiloxBlock philox_block(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
    uint32_t c0 = counter.words[0], c1 = counter.words[1], c2 = counter.words[2], c3 = counter.words[3];
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t{c0} * 0xD2511F53u, b = uint64_t{c2} * 0xCD9E8D57u;
        c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ key0;
        c1 = static_cast<uint32_t>(b);
        c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ key1;
        c3 = static_cast<uint32_t>(a);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}
