#include <cuda_fp16.h>

__device__ void multiply(float (&d)[4], unsigned long long a, unsigned long long b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0,%1,%2,%3}, %4, %5, 1, 1, 1, 0, 0;"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(a), "l"(b));
}

// Products that follow each other as Hopper wants them.
extern "C" __global__ void good(float* y, unsigned long long a, int k) {
  float d[4] = {};
  for (int i = 0; i < k; i++) {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    multiply(d, a + i, a);
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  }
  for (int i = 0; i < 4; i++) y[threadIdx.x * 4 + i] = d[i];
}

// The sum is touched while a product is under way: ptxas serialises them, and says so.
extern "C" __global__ void bad(float* y, unsigned long long a, int k) {
  float d[4] = {};
  for (int i = 0; i < k; i++) {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    multiply(d, a + i, a);
    d[0] += 1;
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  }
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  for (int i = 0; i < 4; i++) y[threadIdx.x * 4 + i] = d[i];
}
