//! The gradient of a convolution's result, computed band by band from that of its normalisation, and used at once: laid out for the gradient
//! of the weights, and multiplied for the gradient of the images. It never lies in memory as an image.

use super::super::batch_norm::InputGrad;
use super::super::simd::Lanes;
use super::convolution::{Band, Work};
use super::layout::pair_panel;
use super::panel::Grid;
use super::product::{Multiplier, SIDE};
use half::bf16;

/// Both gradients' common side.
pub struct MergedGrad<'a> {
    pub gradient: InputGrad<'a, bf16>,
    /// Images, rows, columns.
    pub size: [usize; 3],
    /// Of the convolution's result: a multiple of 32.
    pub channels: usize,
    /// The gradient of the images, whose weights lie ready.
    pub data_grad: Work<'a>,
}

impl MergedGrad<'_> {
    /// Computes the gradient of rows `first_row ..` of `image`, and of those around them, in `panel`; multiplies it by the weights, and
    /// lays it out in `right` by pairs.
    ///
    /// # Safety
    /// The CPU has the level of `L`; this task alone writes to the band's pixels.
    #[inline(always)]
    pub unsafe fn lay_out<L: Lanes>(
        &self,
        multiplier: &Multiplier,
        [image, first_row]: [usize; 2],
        grid: Grid,
        panel: &mut [bf16],
        right: &mut [bf16],
        copies: usize,
    ) {
        // SAFETY: passed on.
        unsafe {
            self.fill::<L>([image, first_row], grid, panel);
            let band = Band { work: &self.data_grad, grid, image, first_row };
            for block in 0..self.data_grad.cut.column_blocks {
                band.multiply_by_ready::<L>(multiplier, panel, block);
            }
            pair_panel::<L>(panel, self.channels / SIDE, grid, right, copies);
        }
    }

    /// Lays the gradient into `panel`, `[block][position][32]`, zeros outside of the image.
    #[inline(always)]
    unsafe fn fill<L: Lanes>(&self, [image, first_row]: [usize; 2], grid: Grid, panel: &mut [bf16]) {
        let ([n, h, w], plane, pitch) = (self.size, grid.plane() * SIDE, grid.pitch());
        let [above, beside] = grid.window.reach();
        assert!(image < n && grid.images == 1 && grid.width == w && pitch == w + 2 * beside, "a band of the image");
        assert!(panel.len() >= grid.panel_len(self.channels / SIDE), "room for a panel");
        for block in panel.chunks_exact_mut(plane).take(self.channels / SIDE) {
            block[grid.positions() * SIDE..].fill(bf16::ZERO);
        }
        for row in 0..grid.image_rows() {
            let y = (first_row + row).wrapping_sub(above);
            for block in panel.chunks_exact_mut(plane).take(self.channels / SIDE) {
                let row = &mut block[row * pitch * SIDE..][..pitch * SIDE];
                let pixels = if y < h { beside..beside + w } else { 0..0 };
                row[..pixels.start * SIDE].fill(bf16::ZERO);
                row[pixels.end * SIDE..].fill(bf16::ZERO);
            }
            if y < h {
                let (at, out) = ((image * h + y) * w * self.channels, panel[(row * pitch + beside) * SIDE..].as_mut_ptr());
                // SAFETY: passed on; the row lies in the image, and its pixels in the panel.
                unsafe { self.fill_row::<L>(at, w, plane, out) };
            }
        }
    }

    /// `width` pixels, whose numbers start at `at` of the image.
    #[inline(always)]
    unsafe fn fill_row<L: Lanes>(&self, at: usize, width: usize, plane: usize, out: *mut bf16) {
        for x in 0..width {
            for c in (0..self.channels).step_by(2 * L::N) {
                // SAFETY: passed on.
                unsafe {
                    let [first, _] = self.gradient.dx_and_dz::<L>(at + x * self.channels + c, c);
                    let [second, _] = self.gradient.dx_and_dz::<L>(at + x * self.channels + c + L::N, c + L::N);
                    first.store_two_bf16(second, out.add(c / SIDE * plane + x * SIDE + c % SIDE));
                }
            }
        }
    }
}
