// Augmentation: one gather from prepared pictures. Formulae, and the promise of equal bits: src/ops/augment.rs.
//
// A block makes a tile of one image; each of its warps a strip 32 pixels wide, so that what neighbouring lanes read and write lies side by
// side. What a whole tile shares is made first: the control points, summed in y for each row of the tile, and the table of quantiles. A
// lane then has one column, whose spline weights it keeps. Random words come in blocks of four pixels: a warp makes those of four rows at
// once, a block a lane, and hands them round through shared memory.
#include "exact.cuh"
#include "philox.cuh"

using F32 = Exact<float>;
using F64 = Exact<double>;

constexpr int AUGMENT_THREADS = 256;
constexpr int WARPS = AUGMENT_THREADS / WARP_LANES;
constexpr int TILE_COLUMNS = 64;
constexpr int TILE_ROWS = 32;
constexpr int STRIPS = TILE_COLUMNS / WARP_LANES;
/// Rows of a warp's strip, and those of which it makes the random words together.
constexpr int STRIP_ROWS = TILE_ROWS * STRIPS / WARPS;
constexpr int ROW_GROUP = 4;
/// Control points lie four pixels apart at least, and the last pixel takes three more than its first.
constexpr int CONTROL_COLUMNS = TILE_COLUMNS / 4 + 4;
constexpr int UPPER_QUANTILES = 2048;
constexpr int SURPLUS = 255;
/// Purpose::Noise.
constexpr uint32_t NOISE = 7;

struct Draw {
    double map[6];
    uint32_t source[2], content[2];
    uint32_t seed[2];
    uint32_t epoch, image;
    float gain, offset, mean, factor, noise, speckle;
    uint32_t is_elastic, changes_intensity;
};
static_assert(sizeof(Draw) == 112);

struct AugmentParameters {
    const float* content;    // [N, content_row]
    const uint8_t* labels;   // [N, labels_row]
    const Draw* draws;       // [N]
    const float* control;    // [N, 2, control_rows, control_columns]
    const float* quantiles;  // [UPPER_QUANTILES]
    float* image;            // [N, H, W], and so on
    float* target;
    float* weight;
    int64_t content_row, labels_row;
    int32_t h, w;
    int32_t control_rows, control_columns;
    float spacing;
    int32_t padding;
};
static_assert(sizeof(AugmentParameters) == 104);

struct AugmentShared {
    float quantiles[UPPER_QUANTILES];
    /// For each row of the tile the control points in x and in y, summed over the four rows around it.
    float lines[TILE_ROWS][2][CONTROL_COLUMNS];
    PhiloxBlock words[WARPS][ROW_GROUP][WARP_LANES / 4];
};

/// The uniform cubic B-spline at the centre of a pixel: its first control point and the weights of four.
struct Tap {
    int first;
    float weights[4];
};

__device__ __forceinline__ Tap spline_tap(int pixel, float spacing) {
    const F32 at = (F32(static_cast<float>(pixel)) + 0.5f) / spacing;
    const int first = static_cast<int>(at.value);
    const F32 t = at - static_cast<float>(first), s = F32(1.0f) - t;
    const auto middle = [](F32 u) { return (F32(3.0f) * u - 6.0f) * u * u + 4.0f; };
    return {first, {(s * s * s / 6.0f).value, (middle(t) / 6.0f).value, (middle(s) / 6.0f).value, (t * t * t / 6.0f).value}};
}

/// The lines of the tile at (x, y), from control point `first` on.
__device__ __forceinline__ void sum_control_rows(const AugmentParameters& p, AugmentShared& shared, int x, int y, int first) {
    const int points = p.control_rows * p.control_columns;
    const float* control = p.control + int64_t{blockIdx.z} * 2 * points;
    const int last_pixel = x + TILE_COLUMNS < p.w ? x + TILE_COLUMNS - 1 : p.w - 1;
    const int columns = spline_tap(last_pixel, p.spacing).first + 4 - first;
    const int rows = y + TILE_ROWS < p.h ? TILE_ROWS : p.h - y;
    for (int entry = thread_in_block(); entry < rows * columns; entry += AUGMENT_THREADS) {
        const int row = entry / columns, column = entry % columns;
        const Tap tap = spline_tap(y + row, p.spacing);
#pragma unroll
        for (int axis = 0; axis < 2; ++axis) {
            const float* at = control + axis * points + tap.first * p.control_columns + first + column;
            F32 sum = 0.0f;
#pragma unroll
            for (int i = 0; i < 4; ++i) sum = sum + F32(tap.weights[i]) * at[i * p.control_columns];
            shared.lines[row][axis][column] = sum.value;
        }
    }
}

/// What a column takes of a line.
__device__ __forceinline__ F32 displacement(const float* line, const Tap& tap) {
    const F32 a = line[0], b = line[1], c = line[2], d = line[3];
    return (a * tap.weights[0] + b * tap.weights[1]) + (c * tap.weights[2] + d * tap.weights[3]);
}

/// A place along one axis of the content: the pixel before it, whether there is another, and that one's share.
struct Place {
    int low;
    bool has_next;
    F32 share;
};

/// Where a point of the source lies in the content, which has `step` pixels for one of the source.
__device__ __forceinline__ Place place_of(F32 at, F32 step, uint32_t size) {
    const float u = (at * step - 0.5f).value, most = static_cast<float>(static_cast<int>(size) - 1);
    const float clamped = u < 0.0f ? 0.0f : u > most ? most : u;
    const int low = static_cast<int>(clamped);
    return {low, low + 1 < static_cast<int>(size), F32(clamped) - static_cast<float>(low)};
}

__device__ __forceinline__ F32 interpolate(const float* content, uint32_t width, const Place& x, const Place& y) {
    const float* upper = content + int64_t{y.low} * width + x.low;
    const float* lower = y.has_next ? upper + width : upper;
    const int right = x.has_next ? 1 : 0;
    const F32 a = F32(upper[0]) + (F32(upper[right]) - upper[0]) * x.share;
    const F32 b = F32(lower[0]) + (F32(lower[right]) - lower[0]) * x.share;
    return a + (b - a) * y.share;
}

/// The quantile of this number, of 4096.
__device__ __forceinline__ float quantile(const AugmentShared& shared, uint32_t number) {
    const bool is_upper = number >= UPPER_QUANTILES;
    const float q = shared.quantiles[is_upper ? number - UPPER_QUANTILES : UPPER_QUANTILES - 1 - number];
    return is_upper ? q : -q;
}

/// A pixel's intensity, changed; `word` is null without noise.
__device__ __forceinline__ float change(const Draw& draw, const AugmentShared& shared, F32 v, F32 weight, const uint32_t* word) {
    F32 value = v * draw.gain + draw.offset;
    if (word) {
        const float n1 = quantile(shared, *word & 0xFFF), n2 = quantile(shared, *word >> 20);
        value = value * (F32(1.0f) + F32(draw.speckle) * n1) + F32(draw.noise) * n2;
    }
    return (weight * (value - draw.mean) * draw.factor).value;
}

/// The random words of `ROW_GROUP` rows of a strip whose first pixel is (x, y).
__device__ __forceinline__ void draw_words(const AugmentParameters& p, const Draw& draw, AugmentShared& shared, int x, int y) {
    const int lane = lane_in_warp(), row = lane / (WARP_LANES / 4), quad = lane % (WARP_LANES / 4);
    const uint32_t per_row = static_cast<uint32_t>(ceil_div(p.w, 4));
    const uint32_t block = static_cast<uint32_t>(y + row) * per_row + static_cast<uint32_t>(x / 4 + quad);
    shared.words[warp_in_block()][row][quad] = philox_block({{draw.epoch, draw.image, NOISE, block}}, draw.seed[0], draw.seed[1]);
}

struct Point {
    F32 x, y;
};

/// The source's point that the centre of pixel (x, y) shows, but for the displacement.
__device__ __forceinline__ Point source_point(const Draw& draw, int x, int y) {
    const F64 cx = F64(x) + 0.5, cy = F64(y) + 0.5;
    const auto along = [&](const double* m) { return (F64(m[0]) * cx + (F64(m[1]) * cy + m[2])).value; };
    return {static_cast<float>(along(draw.map)), static_cast<float>(along(draw.map + 3))};
}

/// The point, displaced; `lines` are those of the pixel's row, from the first control point that the column takes on.
__device__ __forceinline__ Point displace(Point at, const Draw& draw, const float* line_x, const float* line_y, const Tap& tap) {
    const F32 dx = displacement(line_x, tap), dy = displacement(line_y, tap);
    const auto part = [&](int i) { return F32(static_cast<float>(draw.map[i])); };
    return {at.x - (part(0) * dx + part(1) * dy), at.y - (part(3) * dx + part(4) * dy)};
}

/// One picture and its draw, for a thread.
struct Picture {
    const float* content;
    const uint8_t* labels;
    Draw draw;
    F32 x_step, y_step;

    __device__ __forceinline__ Picture(const AugmentParameters& p, int n)
        : content(p.content + n * p.content_row), labels(p.labels + n * p.labels_row), draw(p.draws[n]), x_step(0.0f), y_step(0.0f) {
        x_step = F32(static_cast<float>(draw.content[0])) / static_cast<float>(draw.source[0]);
        y_step = F32(static_cast<float>(draw.content[1])) / static_cast<float>(draw.source[1]);
    }

    __device__ __forceinline__ bool has_noise() const {
        return draw.changes_intensity && (draw.noise != 0.0f || draw.speckle != 0.0f);
    }

    __device__ __forceinline__ bool holds(Point at) const {
        return at.x.value >= 0.0f && at.y.value >= 0.0f && at.x.value < static_cast<float>(draw.source[0]) &&
               at.y.value < static_cast<float>(draw.source[1]);
    }

    __device__ __forceinline__ F32 intensity(Point at) const {
        return interpolate(content, draw.content[0], place_of(at.x, x_step, draw.content[0]), place_of(at.y, y_step, draw.content[1]));
    }

    __device__ __forceinline__ int label(Point at) const {
        return labels[int64_t{static_cast<int>(at.y.value)} * draw.source[0] + static_cast<int>(at.x.value)];
    }
};

/// Writes output `out` from the point of the source that it shows; `word` is null without noise.
__device__ __forceinline__ void write_pixel(const AugmentParameters& p, const AugmentShared& shared, const Picture& picture, Point at,
                                            int64_t out, const uint32_t* word) {
    const bool is_inside = picture.holds(at);
    const F32 v = is_inside ? picture.intensity(at) : F32(0.0f), weight = is_inside ? 1.0f : 0.0f;
    const int label = is_inside ? picture.label(at) : 0;
    const bool is_surplus = label == SURPLUS;
    // The network sees surplus instances, with noise like everything else; the loss does not.
    p.image[out] = picture.draw.changes_intensity ? change(picture.draw, shared, v, weight, word) : v.value;
    p.target[out] = is_surplus ? 0.0f : static_cast<float>(label);
    p.weight[out] = is_surplus ? 0.0f : weight.value;
}

/// Grid: tiles of a row, rows of tiles, images.
KERNEL(augment, AUGMENT_THREADS, AugmentParameters) {
    SHARED(AugmentShared, shared);
    const int n = static_cast<int>(blockIdx.z);
    const Picture picture(p, n);
    const Draw& draw = picture.draw;
    const int tile_x = static_cast<int>(blockIdx.x) * TILE_COLUMNS, tile_y = static_cast<int>(blockIdx.y) * TILE_ROWS;
    const bool is_elastic = draw.is_elastic, has_noise = picture.has_noise();
    const int first = is_elastic ? spline_tap(tile_x, p.spacing).first : 0;
    if (is_elastic) sum_control_rows(p, shared, tile_x, tile_y, first);
    for (int i = thread_in_block(); i < UPPER_QUANTILES && has_noise; i += AUGMENT_THREADS) shared.quantiles[i] = p.quantiles[i];
    __syncthreads();
    const int warp = warp_in_block(), lane = lane_in_warp();
    const int strip_x = tile_x + warp % STRIPS * WARP_LANES, strip_row = warp / STRIPS * STRIP_ROWS, x = strip_x + lane;
    const Tap tap = is_elastic ? spline_tap(x, p.spacing) : Tap{};
#pragma unroll 1
    for (int group = strip_row; group < strip_row + STRIP_ROWS; group += ROW_GROUP) {
        if (has_noise) {
            // The words of the last group have been read.
            __syncwarp();
            draw_words(p, draw, shared, strip_x, tile_y + group);
            __syncwarp();
        }
#pragma unroll 1
        for (int i = 0; i < ROW_GROUP; ++i) {
            const int row = group + i, y = tile_y + row;
            if (x >= p.w || y >= p.h) continue;
            Point at = source_point(draw, x, y);
            const auto& [line_x, line_y] = shared.lines[row];
            if (is_elastic) at = displace(at, draw, line_x + tap.first - first, line_y + tap.first - first, tap);
            const uint32_t* word = has_noise ? &shared.words[warp][i][lane / 4].words[lane % 4] : nullptr;
            write_pixel(p, shared, picture, at, (int64_t{n} * p.h + y) * p.w + x, word);
        }
    }
}
