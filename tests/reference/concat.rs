//! Concatenation over channels, and its inverse.

use super::Array;

/// All channels of the first image, then those of the next.
pub fn forward(images: &[Array]) -> Array {
    let [n, h, w, _] = images[0].shape;
    let mut data = Vec::new();
    for pixel in 0..n * h * w {
        for image in images {
            let c = image.shape[3];
            data.extend_from_slice(&image.data[pixel * c..(pixel + 1) * c]);
        }
    }
    Array::new([n, h, w, images.iter().map(|i| i.shape[3]).sum()], data)
}

pub fn split(image: &Array, channels: [usize; 2]) -> Vec<Array> {
    let [n, h, w, _] = image.shape;
    let part = |from: usize, c: usize| Array::from_fn([n, h, w, c], |[n, y, x, k]| image.at([n, y, x, from + k]));
    vec![part(0, channels[0]), part(channels[0], channels[1])]
}
