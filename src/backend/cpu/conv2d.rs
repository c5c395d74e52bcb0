//! Convolution and the gradient of its data, as implicit products ([`super::gemm`]). The gradient is the same product with flipped,
//! transposed weights. Formulas: [`crate::ops::conv2d`].

use super::arena::{Operands, Prepared};
use super::gemm::{Gemm, MAX_PATCH, MAX_ROWS, Packing, Pixels, Target, Tile, pack, packed_len, scale_columns};
use super::{Settings, batch_norm, winograd};
use crate::ops::conv2d::{Conv2d, Conv2dDataGrad};
use crate::ops::conv2d_normalised::Conv2dNormalised;
use crate::plan::{Request, Scratch};
use crate::tape::Shape;

/// Weights as products read them, and what else a convolution takes.
pub(super) fn forward_scratch(settings: Settings, request: &Request<'_>) -> Scratch {
    let work = Work::forward(settings, request.inputs);
    let [prepared, workspace] = [work.prepared(), work.workspace()].map(|floats| floats * size_of::<f32>());
    match request.lasts {
        true => Scratch { workspace, prepared },
        false => Scratch::workspace(workspace + prepared),
    }
}

/// As forward, with a factor and a number to add for each output channel.
pub(super) fn normalised_scratch(settings: Settings, request: &Request<'_>) -> Scratch {
    let Scratch { workspace, prepared } = forward_scratch(settings, request);
    Scratch { workspace: workspace + size_of::<f32>() * 2 * zeros_len(request.inputs[0].c()), prepared }
}

/// As forward.
pub(super) fn data_grad_workspace(settings: Settings, op: &Conv2dDataGrad, inputs: &[Shape]) -> usize {
    let work = Work::data_grad(settings, op, inputs);
    size_of::<f32>() * (work.prepared() + work.workspace())
}

/// A convolution as far as its memory depends on it.
#[derive(Clone, Copy)]
struct Work {
    settings: Settings,
    image: Shape,
    kernel: usize,
    channels_in: usize,
    /// Of each target.
    channels_out: [usize; 2],
}

impl Work {
    fn forward(settings: Settings, inputs: &[Shape]) -> Work {
        let w = inputs[0];
        Work { settings, image: inputs[1], kernel: w.0[0], channels_in: w.0[2], channels_out: [w.c(), 0] }
    }

    fn data_grad(settings: Settings, op: &Conv2dDataGrad, inputs: &[Shape]) -> Work {
        let w = inputs[0];
        Work { settings, image: inputs[1], kernel: w.0[0], channels_in: w.c(), channels_out: op.channels }
    }

    /// How weights are transformed, where that pays.
    fn transform(self) -> Option<winograd::Transform> {
        let Work { settings, image, kernel, channels_in: depth, channels_out } = self;
        let column_blocks = channels_out.iter().map(|c| c.div_ceil(settings.level.tile_columns())).sum();
        let pays = settings.winograd && winograd::pays(kernel, image, depth, channels_out.iter().sum());
        pays.then_some(winograd::Transform { level: settings.level, depth, column_blocks })
    }

    /// Floats of packed weights.
    fn packed(self) -> usize {
        let depth = self.kernel * self.kernel * self.channels_in;
        self.channels_out.iter().map(|&c| packed_len(self.settings.level, depth, c)).sum()
    }

    /// Floats of weights as products read them, whole cache lines.
    fn prepared(self) -> usize {
        self.transform().map_or(self.packed(), winograd::Transform::len).next_multiple_of(16)
    }

    /// Floats besides: zeros, and packed weights that are on their way to be transformed, where tiles lie later.
    fn workspace(self) -> usize {
        let Work { settings: Settings { level, threads, .. }, image, channels_in, channels_out, .. } = self;
        let tiles = |_| winograd::workspace(level, threads, image, channels_in, channels_out).max(self.packed());
        zeros_len(channels_in) + self.transform().map_or(0, tiles)
    }

    /// Prepares weights that `pack` packs; `scratch` is what follows the zeros.
    fn prepare(self, out: &mut [f32], scratch: &mut [f32], pack: impl FnOnce(&mut [f32])) {
        let n = self.packed();
        match self.transform() {
            Some(transform) => {
                pack(&mut scratch[..n]);
                transform.run(&scratch[..n], out);
            }
            None => pack(&mut out[..n]),
        }
    }
}

/// Floats of zeros that taps outside the image read: all channels of a pixel, rounded up to a cache line.
fn zeros_len(channels: usize) -> usize {
    channels.next_multiple_of(16)
}

pub(super) fn forward(settings: Settings, op: &Conv2d, operands: &mut Operands) {
    let bias = op.bias.then(|| operands.input(operands.n_inputs() - 1));
    let workspace = operands.workspace();
    convolve(settings, op.two_inputs, Tail { scale: None, bias, relu: false }, operands, workspace);
}

/// The factors go into the weights, what is added stands in for a bias.
pub(super) fn normalised(settings: Settings, op: &Conv2dNormalised, operands: &mut Operands) {
    let co = operands.output_shape(0).c();
    let (numbers, workspace) = operands.workspace::<f32>().split_at_mut(2 * zeros_len(co));
    let (scale, shift) = numbers.split_at_mut(zeros_len(co));
    let statistics = [0, 1, 2, 3].map(|i| operands.input(op.n_convolved() + i));
    batch_norm::scale_and_shift(statistics, op.eps, scale, shift);
    let tail = Tail { scale: Some(&scale[..co]), bias: Some(&shift[..co]), relu: op.relu };
    convolve(settings, op.two_inputs, tail, operands, workspace);
}

/// What happens to each output channel behind the sum.
struct Tail<'a> {
    scale: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    relu: bool,
}

fn convolve(settings: Settings, two_inputs: bool, tail: Tail, operands: &mut Operands, workspace: &mut [f32]) {
    let (w, x) = (operands.input_shape(0), operands.input_shape(1));
    let [r, s, ci, co] = w.0;
    let second = if two_inputs { operands.input(2) } else { &[] };
    let channels = [x.c(), ci - x.c()];
    let work = Work::forward(settings, &[w, x]);
    let (Prepared { numbers: weights, is_ready }, workspace) = match operands.prepared() {
        Some(prepared) => (prepared, workspace),
        None => {
            let (numbers, workspace) = workspace.split_at_mut(work.prepared());
            (Prepared { numbers, is_ready: false }, workspace)
        }
    };
    let (zeros, rest) = workspace.split_at_mut(zeros_len(ci));
    zeros.fill(0.0);
    if !is_ready {
        work.prepare(weights, rest, |packed| {
            pack(settings.level, Packing::Forward, operands.input(0), [r * s, ci, co], co, packed);
            if let Some(scale) = tail.scale {
                scale_columns(settings.level, r * s * ci, scale, packed);
            }
        });
    }
    let window = Window { images: [operands.input(1), second], channels, kernel: r, size: x, zeros };
    let target = Target::new(operands.output(0), co);
    window.run(work, weights, &[target], tail.bias, tail.relu, rest);
}

pub(super) fn data_grad(settings: Settings, op: &Conv2dDataGrad, operands: &mut Operands) {
    let level = settings.level;
    let (w, dy) = (operands.input_shape(0), operands.input_shape(1));
    let [r, s, ci, co] = w.0;
    let work = Work::data_grad(settings, op, &[w, dy]);
    let (weights, rest) = operands.workspace::<f32>().split_at_mut(work.prepared());
    let (zeros, rest) = rest.split_at_mut(zeros_len(co));
    zeros.fill(0.0);
    work.prepare(weights, rest, |packed| {
        let (mut from, mut packed_from) = (0, 0);
        for channels in op.channels {
            pack(level, Packing::Flipped(from), operands.input(0), [r * s, ci, co], channels, &mut packed[packed_from..]);
            from += channels;
            packed_from += packed_len(level, r * s * co, channels);
        }
    });
    let window = Window { images: [operands.input(1), &[]], channels: [co, 0], kernel: r, size: dy, zeros };
    let first = op.channels.iter().position(|&c| c > 0).expect("checked when recorded");
    let mut targets = [Target::new(operands.output(0), op.channels[first]); 2];
    if operands.n_outputs() == 2 {
        targets[1] = Target::new(operands.output(1), op.channels[1]);
    }
    window.run(work, weights, &targets[..operands.n_outputs()], None, false, rest);
}

/// A square neighbourhood over one or two images.
struct Window<'a> {
    images: [&'a [f32]; 2],
    /// 0 for an image that is not there.
    channels: [usize; 2],
    kernel: usize,
    size: Shape,
    zeros: &'a [f32],
}

impl Window<'_> {
    fn run(&self, work: Work, weights: &[f32], targets: &[Target], bias: Option<&[f32]>, relu: bool, workspace: &mut [f32]) {
        let channels_in = self.channels[0] + self.channels[1];
        let level = work.settings.level;
        if work.transform().is_some() {
            let Window { images, channels, size: image, zeros, .. } = *self;
            return winograd::Convolution { level, image, images, channels, zeros, weights, targets, bias, relu }.run(workspace);
        }
        for (image, channels) in self.images.iter().zip(self.channels) {
            assert_eq!(image.len(), self.size.pixels() * channels, "an image of {channels} channels");
        }
        assert!(self.zeros.len() >= channels_in, "zeros for all channels");
        let depth = self.kernel * self.kernel * channels_in;
        let n_pixels = self.size.pixels();
        Gemm { level, pixels: self, n_pixels, depth, channels_in, packed: weights, targets, bias, relu }.run();
    }

    /// Whether the whole neighbourhood is copied: few channels make segments too short to be worth their overhead.
    #[inline(always)]
    fn is_patch(&self) -> bool {
        self.kernel * self.kernel * (self.channels[0] + self.channels[1]) <= MAX_PATCH
    }

    /// Coordinates (row of all images, y, x) of pixel `p`.
    #[inline(always)]
    fn coordinates(&self, p: usize) -> [usize; 3] {
        let row = p / self.size.w();
        [row, row % self.size.h(), p % self.size.w()]
    }

    /// The pixel under tap (r, s) of the pixel at `p`, if it lies in the image.
    #[inline(always)]
    fn neighbour(&self, p: usize, y: usize, x: usize, r: usize, s: usize) -> Option<usize> {
        let pad = self.kernel / 2;
        let inside = (pad..self.size.h() + pad).contains(&(y + r)) && (pad..self.size.w() + pad).contains(&(x + s));
        inside.then(|| p + r * self.size.w() + s - pad * self.size.w() - pad)
    }

    /// A tile within one row, whose columns all lie inside: pointers follow one another.
    #[inline(always)]
    unsafe fn gather_inner(&self, tile: &mut Tile, p: usize, y: usize, x: usize) {
        let depth = self.channels[0] + self.channels[1];
        for tap in 0..self.kernel * self.kernel {
            let (r, s) = (tap / self.kernel, tap % self.kernel);
            let Some(q) = self.neighbour(p, y, x, r, s) else { continue };
            let mut row = tap * depth;
            for (image, channels) in self.images.iter().zip(self.channels) {
                if channels > 0 {
                    let first = image.as_ptr().wrapping_add(q * channels);
                    tile.push(std::array::from_fn(|m| first.wrapping_add(m * channels)), row, channels);
                    row += channels;
                }
            }
        }
    }

    /// As [`Window::gather_inner`], of one image, in which the taps of a row of the kernel lie side by side, as their weights do. Rows outside
    /// of the image are left out, where a patch would have zeros: the same as long as weights are finite.
    #[inline(always)]
    unsafe fn gather_rows(&self, tile: &mut Tile, p: usize, y: usize, x: usize) {
        let ([channels, _], pad) = (self.channels, self.kernel / 2);
        for r in 0..self.kernel {
            let Some(q) = self.neighbour(p, y, x, r, pad) else { continue };
            let first = self.images[0].as_ptr().wrapping_add((q - pad) * channels);
            let len = self.kernel * channels;
            tile.push(std::array::from_fn(|m| first.wrapping_add(m * channels)), r * len, len);
        }
    }

    /// Any tile: each pixel for itself.
    #[inline(never)]
    unsafe fn gather_edge(&self, tile: &mut Tile, first: usize, count: usize) {
        let depth = self.channels[0] + self.channels[1];
        let pixels: [usize; MAX_ROWS] = std::array::from_fn(|m| first + m.min(count - 1));
        let at = pixels.map(|p| self.coordinates(p));
        for tap in 0..self.kernel * self.kernel {
            let (r, s) = (tap / self.kernel, tap % self.kernel);
            let under: [Option<usize>; MAX_ROWS] = std::array::from_fn(|m| self.neighbour(pixels[m], at[m][1], at[m][2], r, s));
            if under.iter().all(Option::is_none) {
                continue;
            }
            let mut row = tap * depth;
            for (image, channels) in self.images.iter().zip(self.channels) {
                if channels > 0 {
                    let x = under.map(|q| q.map_or(self.zeros.as_ptr(), |q| image[q * channels..].as_ptr()));
                    tile.push(x, row, channels);
                    row += channels;
                }
            }
        }
    }

    #[inline(never)]
    unsafe fn gather_patch(&self, tile: &mut Tile, first: usize, count: usize, rows: usize) {
        let (taps, c0) = (self.kernel * self.kernel, self.channels[0]);
        let depth = c0 + self.channels[1];
        for m in 0..rows {
            let p = first + m.min(count - 1);
            let [_, y, x] = self.coordinates(p);
            for tap in 0..taps {
                let out = &mut tile.patch[m * MAX_PATCH + tap * depth..][..depth];
                match self.neighbour(p, y, x, tap / self.kernel, tap % self.kernel) {
                    Some(q) => {
                        out[..c0].copy_from_slice(&self.images[0][q * c0..][..c0]);
                        out[c0..].copy_from_slice(&self.images[1][q * self.channels[1]..][..self.channels[1]]);
                    }
                    None => out.fill(0.0),
                }
            }
        }
        tile.push_patch(taps * depth);
    }
}

impl Pixels for Window<'_> {
    // The pointers hold: a neighbour lies inside its image, whose length `run` has checked; zeros are as long as any segment that may point to
    // them; and of inner tiles all taps of a row of the kernel lie inside.
    #[inline(always)]
    unsafe fn gather(&self, tile: &mut Tile, first: usize, count: usize, rows: usize) {
        let pad = self.kernel / 2;
        let [_, y, x] = self.coordinates(first);
        let is_inner = count == rows && x >= pad && x + rows + pad <= self.size.w();
        // SAFETY: as said above.
        unsafe {
            if is_inner && self.channels[1] == 0 {
                self.gather_rows(tile, first, y, x);
            } else if self.is_patch() {
                self.gather_patch(tile, first, count, rows);
            } else if is_inner {
                self.gather_inner(tile, first, y, x);
            } else {
                self.gather_edge(tile, first, count);
            }
        }
    }

    #[inline(always)]
    fn target(&self, p: usize) -> usize {
        p
    }
}
