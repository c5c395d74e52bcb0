// y = 1 / (1 + exp(-x)). Formulae: src/ops/sigmoid.rs.
#include "elementwise.cuh"
#include "logistic.cuh"

struct SigmoidParameters {
    const float* x;
    float* y;
    int64_t count;
};
static_assert(sizeof(SigmoidParameters) == 24);

KERNEL(sigmoid, ELEMENTWISE_THREADS, SigmoidParameters) {
    map_elements<float>(p.count, p.x, p.y, [](float x) { return sigmoid(x); });
}
