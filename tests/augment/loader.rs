//! Batches come in order and are the same, bit for bit, whoever prepares them and whenever.

use super::{PLAIN, blobs, sampled, texture};
use std::sync::Arc;
use unet_engine::augment::{AugmentConfig, Batch, Loader, LoaderOptions};
use unet_engine::dataset::Sample;
use unet_engine::geometry::Mask;

fn samples() -> Arc<Vec<Sample>> {
    Arc::new(vec![blobs(64, 64), texture(40, 60), blobs(100, 50), texture(33, 32), blobs(48, 48)])
}

fn options(workers: usize) -> LoaderOptions {
    let augment = Some(AugmentConfig::default());
    LoaderOptions { batch: 4, size: [48, 32], seed: 11, workers, augment, normalization: PLAIN, channels: 1 }
}

/// Bits of the arrays, and the samples.
type Bits = (Vec<u32>, Vec<u32>, Vec<u32>, Vec<usize>);

fn bits(batch: &Batch) -> Bits {
    let of = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect();
    (of(&batch.image), of(&batch.target), of(&batch.weight), batch.samples.clone())
}

fn all(loader: &mut Loader) -> Vec<Bits> {
    std::iter::from_fn(|| loader.next().expect("no worker panics").map(bits)).collect()
}

fn order(epochs: std::ops::Range<u32>) -> Vec<(u32, usize)> {
    epochs.flat_map(|epoch| (0..8).map(move |i| (epoch, (i * 3 + epoch as usize) % 5))).collect()
}

#[test]
fn any_number_of_workers_gives_the_same_bits() {
    let mut expected = None;
    for workers in [1, 2, 4] {
        let mut loader = Loader::new(samples(), options(workers)).expect("threads start");
        loader.enqueue(&order(0..6));
        let batches = all(&mut loader);
        assert_eq!(batches.len(), 12);
        assert_eq!(*expected.get_or_insert_with(|| batches.clone()), batches, "{workers} workers");
    }
}

#[test]
fn starting_at_a_later_epoch_gives_the_same_bits() {
    let mut loader = Loader::new(samples(), options(2)).expect("threads start");
    let mut whole = Vec::new();
    for epoch in 0..4 {
        loader.enqueue(&order(epoch..epoch + 1));
        whole.extend(all(&mut loader));
    }
    let mut resumed = Loader::new(samples(), options(1)).expect("threads start");
    resumed.enqueue(&order(2..4));
    assert_eq!(all(&mut resumed), whole[4..]);
}

#[test]
fn epochs_images_and_seeds_differ() {
    let first = |seed: u64, epoch: u32, sample: usize| {
        let mut loader = Loader::new(samples(), LoaderOptions { seed, batch: 1, ..options(1) }).expect("threads start");
        loader.enqueue(&[(epoch, sample)]);
        all(&mut loader).remove(0).0
    };
    let base = first(1, 0, 0);
    assert_eq!(base, first(1, 0, 0));
    assert!(base != first(2, 0, 0) && base != first(1, 1, 0) && base != first(1, 0, 4));
}

#[test]
fn short_batches_are_padded_with_weight_zero() {
    let mut loader = Loader::new(samples(), LoaderOptions { augment: None, ..options(2) }).expect("threads start");
    loader.enqueue(&[(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]);
    loader.enqueue(&[(1, 4)]);
    let n_pixels = 48 * 32;
    assert_eq!(loader.next().expect("no panic").expect("a full batch").samples, [0, 1, 2, 3]);
    let short = loader.next().expect("no panic").expect("a short batch");
    assert_eq!(short.samples, [4]);
    assert!(short.weight[..n_pixels].contains(&1.0));
    for array in [&short.image, &short.target, &short.weight] {
        assert!(array.len() == 4 * n_pixels && array[n_pixels..].iter().all(|&v| v == 0.0));
    }
    let [image, target, weight] = sampled(&samples()[4], [48, 32], None, 4);
    assert_eq!((&short.image[..n_pixels], &short.target[..n_pixels], &short.weight[..n_pixels]), (&*image, &*target, &*weight));
    assert_eq!(loader.next().expect("no panic").expect("the next order").samples, [4]);
    assert!(loader.next().expect("no panic").is_none());
    assert!(loader.next().expect("no panic").is_none(), "it stays at the end");
}

/// Labels move like the mask; surplus instances keep their picture and lose their weight.
#[test]
fn several_channels_get_labels_and_surplus_instances_no_weight() {
    let mut sample = texture(48, 32);
    let column = |from: i64, to: i64| {
        let mut mask = Mask::new(48, 32);
        (4..28).for_each(|y| mask.set_span(y, from, to));
        mask
    };
    sample.instances = vec![column(2, 14), column(14, 30), column(34, 40)];
    let batches = [1, 2, 3].map(|channels| {
        let options = LoaderOptions { batch: 1, channels, ..options(1) };
        let mut loader = Loader::new(Arc::new(vec![sample.clone()]), options).expect("threads start");
        loader.enqueue(&(0..20).map(|epoch| (epoch, 0)).collect::<Vec<_>>());
        std::iter::from_fn(|| loader.next().expect("no panic").cloned()).collect::<Vec<_>>()
    });
    let mut seen = [0; 4];
    for ((one, two), three) in batches[0].iter().zip(&batches[1]).zip(&batches[2]) {
        assert!(one.image == two.image && two.image == three.image, "the network sees the same");
        assert_eq!(one.weight, three.weight);
        for i in 0..48 * 32 {
            let label = three.target[i];
            seen[label as usize] += 1;
            assert_eq!(one.target[i], f32::from(u8::from(label != 0.0)));
            let expected = if label == 3.0 { (0.0, 0.0) } else { (label, three.weight[i]) };
            assert_eq!((two.target[i], two.weight[i]), expected, "the smallest of three is one too many for two channels");
        }
    }
    assert!(seen.iter().all(|&n| n > 500), "pixels of {seen:?}");
    assert!(seen[1] > seen[2] && seen[2] > seen[3], "the largest is the first");
}

#[test]
fn its_bytes_cover_its_buffers() {
    let loader = Loader::new(samples(), options(3)).expect("threads start");
    // Three batches to fill, one ready, one held: each of three arrays of 4 images.
    assert!(loader.host_bytes() >= 5 * 3 * 4 * 48 * 32 * 4);
}

#[test]
fn wrong_ranges_and_masks_are_errors() {
    let wrong = AugmentConfig { scale: [0.0, 1.0], ..AugmentConfig::default() };
    let error = Loader::new(samples(), LoaderOptions { augment: Some(wrong), ..options(1) }).err().expect("a wrong range");
    assert!(error.to_string().contains("augment.scale"), "{error}");
    let mut sample = blobs(20, 20);
    sample.instances = blobs(21, 20).instances;
    let error = Loader::new(Arc::new(vec![sample]), options(1)).err().expect("a mask of another size");
    assert!(error.to_string().contains("mask"), "{error}");
}
