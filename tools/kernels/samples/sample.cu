#include <mma.h>
using namespace nvcuda;

// A loop without tensor cores within the outer loop, and one with them.
extern "C" __global__ void product(const half* a, const half* b, float* c, int k) {
  __shared__ half tile[256];
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
  wmma::fill_fragment(sum, 0.f);
  for (int s = 0; s < k; s += 16) {
#pragma unroll 1
    for (int i = threadIdx.x; i < 256; i += blockDim.x) tile[i] = a[i + s * 16];
    __syncthreads();
    wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> x;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> y;
    wmma::load_matrix_sync(x, tile, 16);
    wmma::load_matrix_sync(y, b, 16);
#pragma unroll 1
    for (int t = 0; t < k; t++) wmma::mma_sync(sum, x, y, sum);
    __syncthreads();
  }
  wmma::store_matrix_sync(c, sum, 16, wmma::mem_row_major);
}

// More values than registers.
extern "C" __global__ void __launch_bounds__(1024, 2) spills(const float* x, float* y) {
  float v[48];
#pragma unroll
  for (int i = 0; i < 48; i++) v[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 48; i++)
    y[i * 1024 + threadIdx.x] = v[47 - i] * v[(i * 7) % 48] + v[(i * 11) % 48];
}

__device__ __noinline__ float called(float x) { return x * x + 1.f; }
extern "C" __global__ void calls(float* x) { x[threadIdx.x] = called(called(x[threadIdx.x])); }
