//! The order of the training images: a pure function of (seed, epoch, n).
//!
//! The permutations of all epochs form one endless stream that is cut into full batches. Epoch e takes the batches that are complete
//! when its permutation is used up; what is left over leads the next epoch.

use crate::random::{Philox, Purpose};
use std::ops::Range;

/// The order of the images of one data set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub seed: u64,
    /// Number of training images.
    pub n: usize,
    /// Images per batch, at most `n`.
    pub batch: usize,
}

impl Order {
    /// The batches of `epoch` (from 0), numbered over the whole training.
    pub fn batches(&self, epoch: u32) -> Range<u64> {
        let complete = |epochs: u64| epochs * self.n as u64 / self.batch as u64;
        complete(u64::from(epoch))..complete(u64::from(epoch) + 1)
    }

    /// The (epoch, image) pairs of `epoch`'s batches, without the first `skip` batches.
    pub fn images(&self, epoch: u32, skip: usize) -> Vec<(u32, usize)> {
        let batches = self.batches(epoch);
        let first = (batches.start + skip as u64).min(batches.end) * self.batch as u64;
        let end = batches.end * self.batch as u64;
        let mut images = Vec::with_capacity((end - first) as usize);
        let mut permutation = (u32::MAX, Vec::new());
        for position in first..end {
            let of = (position / self.n as u64) as u32;
            if permutation.0 != of {
                permutation = (of, self.permutation(of));
            }
            images.push((of, permutation.1[(position % self.n as u64) as usize]));
        }
        images
    }

    fn permutation(&self, epoch: u32) -> Vec<usize> {
        let mut images: Vec<usize> = (0..self.n).collect();
        Philox::new(self.seed, epoch, 0, Purpose::Order).shuffle(&mut images);
        images
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Over some epochs every image is seen once per epoch, in full batches, but for the rest that the next epoch begins with.
        #[test]
        fn batches_are_full_and_every_image_is_seen_once_an_epoch(n in 1usize..40, batch in 1usize..12, seed: u64) {
            let order = Order { seed, n, batch: batch.min(n) };
            let epochs = 6u32;
            let stream: Vec<(u32, usize)> = (0..epochs).flat_map(|epoch| order.images(epoch, 0)).collect();
            prop_assert!(stream.len().is_multiple_of(order.batch) && n * epochs as usize - stream.len() < order.batch);
            for epoch in 0..epochs - 1 {
                let mut seen: Vec<usize> = stream.iter().filter(|(e, _)| *e == epoch).map(|&(_, image)| image).collect();
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..n).collect::<Vec<_>>());
            }
        }

        /// What remains after `skip` batches is the tail of the whole order: a resume in the middle of an epoch.
        #[test]
        fn skipping_batches_cuts_the_front(n in 1usize..30, batch in 1usize..8, epoch in 0u32..5, skip in 0usize..10) {
            let order = Order { seed: 3, n, batch: batch.min(n) };
            let whole = order.images(epoch, 0);
            let cut = (skip * order.batch).min(whole.len());
            prop_assert_eq!(&order.images(epoch, skip)[..], &whole[cut..]);
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let order = Order { seed: 1, n: 50, batch: 5 };
        assert_ne!(order.permutation(0), order.permutation(1));
        assert_ne!(order.permutation(0), Order { seed: 2, ..order }.permutation(0));
    }
}
