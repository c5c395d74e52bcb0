//! Properties, against definitions written as plainly as possible.

use super::*;
use proptest::prelude::*;

const POINT: OperatingPoint = OperatingPoint { threshold: 0.5, min_area: 0, opening: 0, closing: 0, fill_holes: false };

fn masks() -> impl Strategy<Value = Mask> {
    (1usize..14, 1usize..14, 1u32..9).prop_flat_map(|(width, height, tenths)| {
        proptest::collection::vec(0u32..10, width * height)
            .prop_map(move |v| Mask::from_pixels(width, height, v.iter().map(|&v| u8::from(v < tenths)).collect()))
    })
}

fn pixels(mask: &Mask) -> impl Iterator<Item = (i64, i64)> + '_ {
    (0..mask.height() as i64).flat_map(|y| (0..mask.width() as i64).map(move |x| (x, y)))
}

/// Whether any pixel of the picture within `radius` of (x, y) has the value `wanted`.
fn reaches(mask: &Mask, x: i64, y: i64, radius: i64, wanted: bool) -> bool {
    pixels(mask).any(|(u, v)| (u - x).pow(2) + (v - y).pow(2) <= radius * radius && mask.get(u, v) == wanted)
}

fn includes(large: &Mask, small: &Mask) -> bool {
    large.pixels().iter().zip(small.pixels()).all(|(l, s)| l >= s)
}

/// The pixels that can be reached from (x, y) over pixels of the same value.
fn flood(mask: &Mask, x: i64, y: i64, eight: bool) -> Mask {
    let mut out = Mask::new(mask.width(), mask.height());
    let wanted = mask.get(x, y);
    let mut stack = vec![(x, y)];
    while let Some((x, y)) = stack.pop() {
        let inside = x >= 0 && y >= 0 && x < mask.width() as i64 && y < mask.height() as i64;
        if !inside || out.get(x, y) || mask.get(x, y) != wanted {
            continue;
        }
        out.set(x as usize, y as usize, true);
        stack.extend([(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)]);
        if eight {
            stack.extend([(x - 1, y - 1), (x + 1, y - 1), (x - 1, y + 1), (x + 1, y + 1)]);
        }
    }
    out
}

fn probability(mask: &Mask) -> Vec<f32> {
    mask.pixels().iter().enumerate().map(|(i, &p)| if p != 0 { 0.5 + (i % 7) as f32 / 14.0 } else { 0.25 }).collect()
}

proptest! {
    #[test]
    fn dilation_and_erosion_are_the_disc(mask in masks(), radius in 0usize..5) {
        let (dilated, eroded) = (morphology::dilate(&mask, radius), morphology::erode(&mask, radius));
        for (x, y) in pixels(&mask) {
            prop_assert_eq!(dilated.get(x, y), reaches(&mask, x, y, radius as i64, true), "dilation at ({}, {})", x, y);
            prop_assert_eq!(eroded.get(x, y), !reaches(&mask, x, y, radius as i64, false), "erosion at ({}, {})", x, y);
        }
    }

    #[test]
    fn opening_takes_closing_adds_and_both_only_once(mask in masks(), radius in 1usize..5) {
        let (opened, closed) = (morphology::open(&mask, radius), morphology::close(&mask, radius));
        prop_assert!(includes(&mask, &opened) && includes(&closed, &mask));
        prop_assert_eq!(morphology::open(&opened, radius), opened);
        prop_assert_eq!(morphology::close(&closed, radius), closed);
    }

    #[test]
    fn filling_leaves_no_hole_and_fills_nothing_else(mask in masks()) {
        let filled = components::fill_holes(&mask);
        for (x, y) in pixels(&mask) {
            let part = flood(&mask, x, y, false);
            let open = pixels(&part).any(|(u, v)| {
                part.get(u, v) && (u == 0 || v == 0 || u + 1 == mask.width() as i64 || v + 1 == mask.height() as i64)
            });
            prop_assert_eq!(filled.get(x, y), mask.get(x, y) || !open, "({}, {})", x, y);
        }
    }

    #[test]
    fn components_are_what_a_flood_reaches(mask in masks()) {
        let found = components::label(&mask);
        let mut next = 1;
        for (i, (x, y)) in pixels(&mask).enumerate() {
            let label = found.labels[i];
            prop_assert_eq!(label != 0, mask.get(x, y));
            if label == 0 {
                continue;
            }
            prop_assert!(label <= next, "labels in scan order");
            next = next.max(label + 1);
            let part = flood(&mask, x, y, true);
            let same: Vec<u8> = found.labels.iter().map(|&l| u8::from(l == label)).collect();
            prop_assert_eq!(part.pixels(), &same[..]);
            prop_assert_eq!(found.areas[label as usize - 1], part.area());
        }
        prop_assert_eq!(found.areas.len() + 1, next as usize);
    }

    #[test]
    fn instances_partition_the_foreground(mask in masks(), min_area in 0usize..6) {
        let probability = probability(&mask);
        let point = OperatingPoint { min_area, ..POINT };
        let found = instances(&probability, mask.width(), mask.height(), &point);
        let mut union = Mask::new(mask.width(), mask.height());
        for instance in &found {
            prop_assert!(instance.area >= min_area && instance.area == instance.mask.area());
            prop_assert_eq!(Some(instance.bounds), instance.mask.bounds());
            prop_assert!(instance.mask.pixels().iter().zip(union.pixels()).all(|(a, b)| a & b == 0), "instances overlap");
            union.union_with(&instance.mask);
            let inside: Vec<usize> = (0..probability.len()).filter(|&i| instance.mask.pixels()[i] != 0).collect();
            let mean = |f: &dyn Fn(usize) -> f64| inside.iter().map(|&i| f(i)).sum::<f64>() / inside.len() as f64;
            prop_assert!((mean(&|i| (i % mask.width()) as f64 + 0.5) - instance.centroid[0]).abs() < 1e-9);
            prop_assert!((mean(&|i| (i / mask.width()) as f64 + 0.5) - instance.centroid[1]).abs() < 1e-9);
            prop_assert!((mean(&|i| f64::from(probability[i])) - f64::from(instance.score)).abs() < 1e-5);
        }
        let kept = pixels(&mask).all(|(x, y)| {
            union.get(x, y) == (mask.get(x, y) && flood(&mask, x, y, true).area() >= min_area)
        });
        prop_assert!(kept, "small objects, and only they, are dropped");
        prop_assert!(found.windows(2).all(|w| w[0].area >= w[1].area));
    }

    #[test]
    fn channels_never_change_the_union(mask in masks(), seed in 0usize..1000) {
        let probability = probability(&mask);
        let channel = |k: usize| (0..probability.len()).map(|i| ((i * 31 + k * 17 + seed) % 11) as f32).collect::<Vec<_>>();
        let channels = [channel(0), channel(1), channel(2)];
        let found = instances_by_channel(&probability, &channels, mask.width(), mask.height(), &POINT);
        let mut union = Mask::new(mask.width(), mask.height());
        found.iter().for_each(|instance| union.union_with(&instance.mask));
        prop_assert_eq!(union, mask.clone());
        prop_assert_eq!(found.iter().map(|i| i.area).sum::<usize>(), mask.area());
    }
}

#[test]
fn two_touching_discs_are_split_by_their_channels() {
    let (width, height) = (40, 20);
    let disc = |cx: i64| -> Vec<f32> {
        let inside = |i: i64| (i % 40 - cx).pow(2) + (i / 40 - 10).pow(2) <= 64;
        (0..800).map(|i| if inside(i) { 0.9 } else { 0.05 }).collect()
    };
    let channels = [disc(11), disc(26)];
    let union: Vec<f32> = channels[0].iter().zip(&channels[1]).map(|(a, b)| 1.0 - (1.0 - a) * (1.0 - b)).collect();
    assert_eq!(instances(&union, width, height, &POINT).len(), 1);
    let found = instances_by_channel(&union, &channels, width, height, &POINT);
    assert_eq!(found.len(), 2);
    assert!((found[0].centroid[0] - found[1].centroid[0]).abs() > 12.0);
}

/// Two equal parts, neither large enough by itself: one of them takes all, or the union would lose it.
#[test]
fn equal_halves_below_the_smallest_object_stay_together() {
    let point = OperatingPoint { min_area: 60, ..POINT };
    let half = |k: usize| (0..100).map(|i| if (i % 20 < 10) == (k == 0) { 0.9 } else { 0.1 }).collect::<Vec<f32>>();
    let found = instances_by_channel(&[0.9; 100], &[half(0), half(1)], 20, 5, &point);
    assert_eq!(found.iter().map(|instance| instance.area).collect::<Vec<_>>(), [100]);
}

#[test]
fn nothing_and_everything() {
    assert!(instances(&[], 0, 0, &POINT).is_empty());
    assert!(instances(&[0.4; 12], 4, 3, &POINT).is_empty());
    let cleaned = OperatingPoint { opening: 2, closing: 2, fill_holes: true, ..POINT };
    let all = instances(&[0.5; 12], 4, 3, &cleaned);
    assert_eq!((all.len(), all[0].area, all[0].centroid), (1, 12, [2.0, 1.5]));
}
