//! One image from its draw: the arithmetic that the loader's threads and the CPU backend share, and that `kernels/augment.cu` repeats
//! operation by operation. Formulae: [`crate::ops::augment`].

use super::intensity;
use super::transform::{Tap, displace, spline_taps};
use crate::image::GrayView;
use crate::image::letterbox::{Affine, is_inside, sample_row};
use crate::ops::augment::{Augment, Draw, SURPLUS};

/// What an image is made from. Arrays may be longer than the draw's picture.
#[derive(Clone, Copy)]
pub(crate) struct Material<'a> {
    pub content: &'a [f32],
    pub labels: &'a [u8],
    /// [2, rows, columns], read only where the draw is elastic.
    pub control: &'a [f32],
    pub quantiles: &'a [f32; 4096],
}

/// The length of the buffer that [`render`] works in.
pub(crate) fn scratch_len(augment: &Augment) -> usize {
    let [_, columns] = augment.control();
    let per_tap = size_of::<Tap>() / size_of::<f32>();
    (2 + per_tap) * augment.width + intensity::words_per_row(augment.width) + 2 * columns
}

/// The parts of that buffer.
struct Scratch<'a> {
    /// The source points of a row of pixels.
    xs: &'a mut [f32],
    ys: &'a mut [f32],
    /// Its random words.
    words: &'a mut [u32],
    /// The four rows of control points around it, summed: in x, then in y.
    line: &'a mut [f32],
    /// What each column takes of them.
    taps: &'a mut [Tap],
}

impl<'a> Scratch<'a> {
    fn carve(augment: &Augment, buffer: &'a mut [f32]) -> Scratch<'a> {
        let (width, [_, columns]) = (augment.width, augment.control());
        let (xs, rest) = buffer.split_at_mut(width);
        let (ys, rest) = rest.split_at_mut(width);
        let (words, rest) = rest.split_at_mut(intensity::words_per_row(width));
        let (line, taps) = rest.split_at_mut(2 * columns);
        Scratch { xs, ys, words: bytemuck::cast_slice_mut(words), line, taps: bytemuck::cast_slice_mut(taps) }
    }
}

/// Writes image, target and weight of one image, each of the input's size, row by row. Allocates nothing; `scratch` has
/// [`scratch_len`] numbers, whatever they are.
pub(crate) fn render(augment: &Augment, draw: &Draw, from: Material<'_>, out: [&mut [f32]; 3], scratch: &mut [f32]) {
    if draw.source.contains(&0) {
        out.into_iter().for_each(|values| values.fill(0.0));
        return;
    }
    let mut scratch = Scratch::carve(augment, scratch);
    if draw.is_elastic != 0 {
        spline_taps(augment.spacing, scratch.taps);
    }
    let width = augment.width;
    let [image, target, weight] = out;
    let rows = image.chunks_exact_mut(width).zip(target.chunks_exact_mut(width)).zip(weight.chunks_exact_mut(width));
    for (y, ((image, target), weight)) in rows.enumerate() {
        gather(augment, draw, from, y, [image, target, weight], &mut scratch);
        if draw.changes_intensity != 0 {
            intensity::apply(draw, from.quantiles, y, image, weight, scratch.words);
        }
        // Only now: the network sees surplus instances, with noise like everything else; the loss does not.
        for (target, weight) in target.iter_mut().zip(weight).filter(|(target, _)| **target == f32::from(SURPLUS)) {
            (*target, *weight) = (0.0, 0.0);
        }
    }
}

/// Samples row `y`.
fn gather(augment: &Augment, draw: &Draw, from: Material<'_>, y: usize, out: [&mut [f32]; 3], scratch: &mut Scratch<'_>) {
    let Scratch { xs, ys, line, taps, .. } = scratch;
    let map = Affine(draw.map);
    map.row(y, xs, ys);
    if draw.is_elastic != 0 {
        displace(augment, from.control, &map, y, line, taps, [xs, ys]);
    }
    let source = draw.source.map(|size| size as usize);
    let [width, height] = draw.content.map(|size| size as usize);
    let [image, target, weight] = out;
    sample_row(GrayView { width, height, pixels: &from.content[..width * height] }, source, xs, ys, image, weight);
    for ((target, &x), &y) in target.iter_mut().zip(&**xs).zip(&**ys) {
        let label = if is_inside(source, x, y) { from.labels[y as i32 as usize * source[0] + x as i32 as usize] } else { 0 };
        *target = f32::from(label);
    }
}
