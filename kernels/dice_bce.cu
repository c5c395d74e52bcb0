// The loss and its gradient. Formulae: src/ops/dice_bce.rs.
//
// A term is computed in f32 and summed in f64: per thread, then over the threads of a chunk of pixels, then over the chunks of an
// image, then over the images. The gradient starts from factors of each channel that one block makes of the sums.
#include "logistic.cuh"
#include "rows.cuh"

constexpr int LOSS_THREADS = 256;
/// Pixels of a partial sum.
constexpr int64_t LOSS_CHUNK = 2048;
/// The most channels of one block.
constexpr int LOSS_CHANNELS = 32;

/// What is summed; the order is that of `ops::dice_bce::sums`.
enum Sum { INTERSECTION, PREDICTED, TARGET, CROSS_ENTROPY, WEIGHT, TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, N_SUMS };

struct LossParameters {
    float alpha, smooth, class_weight, focal_gamma;
};

struct DiceBcePartialsParameters {
    const float* z;    // [N, pixels, K]
    const float* t;    // [N, pixels, K]
    const float* u;    // [N, pixels]
    double* partials;  // [N, chunks, K, 8]
    int64_t pixels;
    int32_t chunks;
    int32_t channels;
    LossParameters loss;
};
static_assert(sizeof(DiceBcePartialsParameters) == 64);

struct DiceBceCombineParameters {
    const double* partials;  // [N, chunks, K, 8]
    double* totals;          // [N, K, 8]
    float* sums;             // [N, K, 8]
    int32_t chunks;
    int32_t channels;
};
static_assert(sizeof(DiceBceCombineParameters) == 32);

struct DiceBceLossParameters {
    const double* totals;  // [N, K, 8]
    float* loss;
    int32_t images;
    int32_t channels;
    LossParameters loss_parameters;
};
static_assert(sizeof(DiceBceLossParameters) == 40);

struct DiceBceFactorsParameters {
    const float* dloss;
    const float* sums;  // [N, K, 8]
    float* factors;     // [K, 4]
    int32_t images;
    int32_t channels;
    LossParameters loss;
};
static_assert(sizeof(DiceBceFactorsParameters) == 48);

struct DiceBceGradParameters {
    const float* z;        // [N, H, W, K]
    const float* t;        // [N, H, W, K]
    const float* u;        // [N, H, W]
    const float* factors;  // [K, 4]
    float* dz;             // [N, H, W, K]
    Rows rows;             // A row: (n, y). An item: elements of the row.
    int32_t w;
    int32_t channels;
    LossParameters loss;
};
static_assert(sizeof(DiceBceGradParameters) == 72);

struct DiceBceShared {
    double sums[N_SUMS][LOSS_THREADS];
};

/// x^gamma; 1 where gamma is 0, also at x = 0.
__device__ __forceinline__ float focal(float x, float gamma) { return gamma == 0.0f ? 1.0f : powf(x, gamma); }

__device__ __forceinline__ float cross_entropy(const Logistic& l, float t, const LossParameters& loss) {
    const float positive = t != 0.0f ? loss.class_weight * t * l.softplus_minus_z * focal(l.q, loss.focal_gamma) : 0.0f;
    const float negative = t != 1.0f ? (1.0f - t) * l.softplus_z * focal(l.p, loss.focal_gamma) : 0.0f;
    return positive + negative;
}

/// The derivative by z of softplus(z) p^gamma: p^gamma (p + gamma q softplus(z)).
__device__ __forceinline__ float focal_slope(float p, float q, float softplus_z, float gamma) {
    return focal(p, gamma) * (p + (gamma == 0.0f ? 0.0f : gamma * q * softplus_z));
}

__device__ __forceinline__ float cross_entropy_slope(const Logistic& l, float t, const LossParameters& loss) {
    const float positive = t != 0.0f ? loss.class_weight * t * focal_slope(l.q, l.p, l.softplus_minus_z, loss.focal_gamma) : 0.0f;
    const float negative = t != 1.0f ? (1.0f - t) * focal_slope(l.p, l.q, l.softplus_z, loss.focal_gamma) : 0.0f;
    return negative - positive;
}

__device__ __forceinline__ void add_element(double sum[N_SUMS], float z, float t, double u, const LossParameters& loss) {
    const Logistic l = logistic(z);
    const double on_target = u * t, off_target = u * (1.0 - t);
    sum[INTERSECTION] += on_target * l.p;
    sum[PREDICTED] += u * l.p;
    sum[TARGET] += on_target;
    sum[CROSS_ENTROPY] += u * cross_entropy(l, t, loss);
    sum[WEIGHT] += u;
    if (z >= 0.0f) {
        sum[TRUE_POSITIVE] += on_target;
        sum[FALSE_POSITIVE] += off_target;
    } else {
        sum[FALSE_NEGATIVE] += on_target;
    }
}

/// Adds up what `slots` threads, `columns` apart, have in each of `columns` columns, into the first of them. All threads come here.
template <int N>
__device__ __forceinline__ void add_slots(double (&sums)[N][LOSS_THREADS], int slots, int columns) {
    const int to = thread_in_block(), slot = to / columns;
    __syncthreads();
    for (int width = slots; width > 1;) {
        const int half = ceil_div(width, 2);
        if (slot + half < width) {
#pragma unroll
            for (int i = 0; i < N; ++i) sums[i][to] += sums[i][to + half * columns];
        }
        width = half;
        __syncthreads();
    }
}

/// Grid: x: image and chunk; y: channels, 32 a block. A thread has every so many pixels of one channel.
KERNEL(dice_bce_partials, LOSS_THREADS, DiceBcePartialsParameters) {
    SHARED(DiceBceShared, shared);
    const int rest = p.channels - static_cast<int>(blockIdx.y) * LOSS_CHANNELS;
    const int channels = rest < LOSS_CHANNELS ? rest : LOSS_CHANNELS, first_channel = p.channels - rest;
    const int slots = LOSS_THREADS / channels, slot = thread_in_block() / channels;
    const int channel = first_channel + thread_in_block() % channels;
    const int64_t image = blockIdx.x / p.chunks * p.pixels, chunk = blockIdx.x % p.chunks * LOSS_CHUNK;
    const int64_t end = image + (chunk + LOSS_CHUNK < p.pixels ? chunk + LOSS_CHUNK : p.pixels);
    double sum[N_SUMS] = {};
    if (slot < slots) {
        for (int64_t pixel = image + chunk + slot; pixel < end; pixel += slots) {
            const float z = p.z[pixel * p.channels + channel], t = p.t[pixel * p.channels + channel], u = p.u[pixel];
            // A pixel without weight contributes nothing, whatever was predicted there.
            if (u != 0.0f) add_element(sum, z, t, u, p.loss);
        }
    }
#pragma unroll
    for (int i = 0; i < N_SUMS; ++i) shared.sums[i][thread_in_block()] = sum[i];
    add_slots(shared.sums, slots, channels);
    const int of = thread_in_block() / N_SUMS, i = thread_in_block() % N_SUMS;
    if (of < channels) p.partials[(int64_t{blockIdx.x} * p.channels + first_channel + of) * N_SUMS + i] = shared.sums[i][of];
}

struct DiceBceCombineShared {
    double sums[1][LOSS_THREADS];
};

/// Grid: one block for each image and channel. A thread has every so many chunks of one sum.
KERNEL(dice_bce_combine, LOSS_THREADS, DiceBceCombineParameters) {
    SHARED(DiceBceCombineShared, shared);
    constexpr int SLOTS = LOSS_THREADS / N_SUMS;
    const int i = thread_in_block() % N_SUMS, slot = thread_in_block() / N_SUMS;
    const int channel = blockIdx.x % p.channels;
    const int64_t first_chunk = int64_t{blockIdx.x / p.channels} * p.chunks;
    double sum = 0.0;
#pragma unroll 4
    for (int chunk = slot; chunk < p.chunks; chunk += SLOTS) {
        sum += p.partials[((first_chunk + chunk) * p.channels + channel) * N_SUMS + i];
    }
    shared.sums[0][thread_in_block()] = sum;
    add_slots(shared.sums, SLOTS, N_SUMS);
    if (slot == 0) {
        const int64_t to = int64_t{blockIdx.x} * N_SUMS + i;
        p.totals[to] = shared.sums[0][i];
        p.sums[to] = static_cast<float>(shared.sums[0][i]);
    }
}

/// One sum of a channel over all images.
template <typename T>
__device__ __forceinline__ double total(const T* sums, int images, int channels, int channel, Sum i) {
    double total = 0.0;
    for (int n = 0; n < images; ++n) total += sums[(int64_t{n} * channels + channel) * N_SUMS + i];
    return total;
}

/// Numerator and denominator of a channel's Dice.
struct Fraction {
    double numerator, denominator;
};

template <typename T>
__device__ __forceinline__ Fraction dice(const T* sums, int images, int channels, int channel, float smooth) {
    const auto sum = [&](Sum i) { return total(sums, images, channels, channel, i); };
    return {2.0 * sum(INTERSECTION) + smooth, sum(PREDICTED) + sum(TARGET) + smooth};
}

/// Grid: one block. A lane has every 32nd channel.
KERNEL(dice_bce_loss, WARP_LANES, DiceBceLossParameters) {
    double scores = 0.0, entropy = 0.0;
    for (int channel = lane_in_warp(); channel < p.channels; channel += WARP_LANES) {
        const Fraction d = dice(p.totals, p.images, p.channels, channel, p.loss_parameters.smooth);
        scores += d.denominator > 0.0 ? d.numerator / d.denominator : 0.0;
        entropy += total(p.totals, p.images, p.channels, channel, CROSS_ENTROPY);
    }
    scores = warp_sum(scores);
    entropy = warp_sum(entropy);
    if (lane_in_warp() != 0) return;
    const double weight = total(p.totals, p.images, p.channels, 0, WEIGHT), alpha = p.loss_parameters.alpha;
    const double bce = weight > 0.0 ? entropy / (p.channels * weight) : 0.0;
    *p.loss = static_cast<float>(alpha * (1.0 - scores / p.channels) + (1.0 - alpha) * bce);
}

/// Per channel: the derivative of the loss by u p where t = 0, what t = 1 adds, and the factor of the cross-entropy's slope.
/// Grid: one block. A lane has every 32nd channel.
KERNEL(dice_bce_factors, WARP_LANES, DiceBceFactorsParameters) {
    const double dloss = *p.dloss, alpha = p.loss.alpha, weight = total(p.sums, p.images, p.channels, 0, WEIGHT);
    const double entropy = weight > 0.0 ? dloss * (1.0 - alpha) / (p.channels * weight) : 0.0;
    for (int channel = lane_in_warp(); channel < p.channels; channel += WARP_LANES) {
        const Fraction d = dice(p.sums, p.images, p.channels, channel, p.loss.smooth);
        const bool is_dice = d.denominator > 0.0;
        const double factor = is_dice ? dloss * alpha / (p.channels * d.denominator) : 0.0;
        const double background = is_dice ? factor * d.numerator / d.denominator : 0.0, on_target = -2.0 * factor;
        const Vector<float> factors{
            {static_cast<float>(background), static_cast<float>(on_target), static_cast<float>(entropy), 0.0f}};
        store_vector<4>(p.factors + 4 * channel, factors);
    }
}

/// `N` neighbouring elements of a row.
template <int N>
__device__ __forceinline__ void dice_bce_grad(const DiceBceGradParameters& p) {
    const Place at = place_in(p.rows);
    if (at.item >= static_cast<uint32_t>(p.rows.items)) return;
    const int64_t row = int64_t{at.row} * p.w;
    int x = at.item * N / p.channels, channel = at.item * N % p.channels;
    const int64_t first = row * p.channels + int64_t{at.item} * N;
    const auto z = load_vector<N>(p.z + first), t = load_vector<N>(p.t + first);
    Vector<float, N> u, dz;
    if (p.channels == 1) u = load_vector<N>(p.u + first);
#pragma unroll
    for (int k = 0; k < N; ++k) {
        if (p.channels != 1) u.v[k] = p.u[row + x];
        const auto factors = load_vector<4>(p.factors + 4 * channel);
        dz.v[k] = 0.0f;
        if (u.v[k] != 0.0f) {
            const Logistic l = logistic(z.v[k]);
            const float by_dice = l.p * l.q * (factors.v[0] + factors.v[1] * t.v[k]);
            dz.v[k] = u.v[k] * (by_dice + factors.v[2] * cross_entropy_slope(l, t.v[k], p.loss));
        }
        if (++channel == p.channels) {
            channel = 0;
            ++x;
        }
    }
    store_vector<N>(p.dz + first, dz);
}

KERNEL(dice_bce_grad, ROW_THREADS, DiceBceGradParameters) {
    if (int64_t{p.w} * p.channels % VECTOR<float> == 0) {
        dice_bce_grad<VECTOR<float>>(p);
    } else {
        dice_bce_grad<1>(p);
    }
}
