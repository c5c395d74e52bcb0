//! One transform moves picture, mask and weight.

use super::{PLAIN, blobs, sampled, texture};
use unet_engine::augment::{AugmentConfig, Transform};
use unet_engine::image::letterbox::Letterbox;
use unet_engine::random::{Philox, Purpose};

/// Every geometric transform at once.
fn geometric() -> AugmentConfig {
    AugmentConfig {
        rotation_degrees: 40.0,
        scale: [0.8, 1.25],
        translation: 0.05,
        shear_degrees: 8.0,
        flip_horizontal: 0.5,
        flip_vertical: 0.5,
        crop: 0.1,
        pad: 0.2,
        ..AugmentConfig::none()
    }
}

/// Each transform alone.
fn singles() -> Vec<(&'static str, AugmentConfig)> {
    let none = AugmentConfig::none;
    vec![
        ("rotation", AugmentConfig { rotation_degrees: 30.0, ..none() }),
        ("scale", AugmentConfig { scale: [0.7, 0.9], ..none() }),
        ("translation", AugmentConfig { translation: 0.2, ..none() }),
        ("shear", AugmentConfig { shear_degrees: 20.0, ..none() }),
        ("horizontal flip", AugmentConfig { flip_horizontal: 1.0, ..none() }),
        ("vertical flip", AugmentConfig { flip_vertical: 1.0, ..none() }),
        ("elastic", AugmentConfig { elastic_amplitude: 8.0, ..none() }),
        ("crop", AugmentConfig { crop: 0.5, ..none() }),
        ("pad", AugmentConfig { pad: 0.5, ..none() }),
        ("noise", AugmentConfig { noise: [0.1, 0.2], ..none() }),
        ("brightness", AugmentConfig { brightness: 0.3, ..none() }),
        ("contrast", AugmentConfig { contrast: 0.5, ..none() }),
        ("speckle", AugmentConfig { speckle: [0.2, 0.3], ..none() }),
    ]
}

#[test]
fn nothing_switched_on_is_the_letterbox() {
    for (source, size) in [([48, 48], [48, 48]), ([70, 31], [64, 64]), ([300, 200], [64, 96]), ([20, 30], [64, 32])] {
        let sample = texture(source[0], source[1]);
        let plain = sampled(&sample, size, None, 3);
        assert_eq!(plain, sampled(&sample, size, Some(AugmentConfig::none()), 3), "{source:?} in {size:?}");
        let letterbox = Letterbox::fit(source, size);
        assert_eq!(plain[0], letterbox.resample_image(&PLAIN.standardise(&sample.image)), "{source:?} in {size:?}");
        assert_eq!(plain[2], letterbox.weight(), "{source:?} in {size:?}");
    }
}

#[test]
fn each_transform_changes_what_it_should() {
    let sample = blobs(64, 64);
    let plain = sampled(&sample, [64, 64], None, 5);
    for (name, config) in singles() {
        let moved = sampled(&sample, [64, 64], Some(config), 5);
        assert_ne!(moved[0], plain[0], "{name} leaves the picture as it is");
        let is_intensity = ["noise", "brightness", "contrast", "speckle"].contains(&name);
        assert_eq!(moved[1] == plain[1], is_intensity, "{name} and the mask");
        let keeps_weight = is_intensity || name.ends_with("flip") || name == "crop";
        assert_eq!(moved[2] == plain[2], keeps_weight, "{name} and the weight");
    }
}

/// Exchanges left and right, or top and bottom.
fn mirrored(values: &[f32], width: usize, is_horizontal: bool) -> Vec<f32> {
    let height = values.len() / width;
    let from = |x: usize, y: usize| if is_horizontal { y * width + width - 1 - x } else { (height - 1 - y) * width + x };
    (0..values.len()).map(|i| values[from(i % width, i / width)]).collect()
}

#[test]
fn flips_are_exact() {
    let sample = blobs(64, 48);
    let plain = sampled(&sample, [64, 48], None, 0);
    for is_horizontal in [true, false] {
        let [flip_horizontal, flip_vertical] = [is_horizontal, !is_horizontal].map(|on| f32::from(u8::from(on)));
        let config = AugmentConfig { flip_horizontal, flip_vertical, ..AugmentConfig::none() };
        let flipped = sampled(&sample, [64, 48], Some(config), 0);
        for (flipped, plain) in flipped.iter().zip(&plain) {
            assert_eq!(*flipped, mirrored(plain, 64, is_horizontal));
        }
    }
}

/// The linear part of every drawn map is what the parameters say: its area factor, its handedness.
#[test]
fn drawn_maps_have_the_drawn_scale() {
    let letterbox = Letterbox::fit([50, 50], [100, 100]);
    for image in 0..50 {
        let mut rng = Philox::new(1, 0, image, Purpose::Geometry);
        let config = AugmentConfig { rotation_degrees: 180.0, shear_degrees: 30.0, scale: [1.5, 1.5], ..AugmentConfig::none() };
        let map = Transform::draw(&config, &letterbox, &mut rng).map.0;
        // Rotation and shear keep areas; 1.5 times as large on top of the letterbox's 2.
        let area = map[0] * map[4] - map[1] * map[3];
        assert!((area - 1.0 / 9.0).abs() < 1e-6, "{area}");
        let config = AugmentConfig { rotation_degrees: 180.0, scale: [1.5, 1.5], ..AugmentConfig::none() };
        let mut rng = Philox::new(1, 0, image, Purpose::Geometry);
        let map = Transform::draw(&config, &letterbox, &mut rng).map.0;
        assert!((map[0] * map[0] + map[1] * map[1] - 1.0 / 9.0).abs() < 1e-6, "a rotation keeps lengths");
        assert!((map[0] * map[3] + map[1] * map[4]).abs() < 1e-6, "a rotation keeps right angles");
    }
}

/// Whether all pixels within `reach` of (x, y) have the same value, and lie in the picture.
fn is_far_from_borders(mask: &[f32], width: usize, x: usize, y: usize, reach: usize) -> bool {
    let height = mask.len() / width;
    if x < reach || y < reach || x + reach >= width || y + reach >= height {
        return false;
    }
    let middle = mask[y * width + x];
    (y - reach..=y + reach).all(|y| mask[y * width + x - reach..=y * width + x + reach].iter().all(|&v| v == middle))
}

#[test]
fn augmenting_and_going_back_is_the_identity_on_labels() {
    let (size, sample) = ([96, 96], blobs(80, 60));
    let letterbox = Letterbox::fit([80, 60], size);
    let mask: Vec<f32> = sample.instances[0].pixels().iter().map(|&p| f32::from(p)).collect();
    let mut n_checked = 0;
    for image in 0..40 {
        let moved = sampled(&sample, size, Some(geometric()), image);
        let mut rng = Philox::new(11, 2, image, Purpose::Geometry);
        let back = Transform::draw(&geometric(), &letterbox, &mut rng).map.inverse().expect("it does not collapse the plane");
        for (i, &expected) in mask.iter().enumerate() {
            let (x, y) = (i % 80, i / 80);
            let (u, v) = back.apply(x as f64 + 0.5, y as f64 + 0.5);
            let is_inside = (0.0..96.0).contains(&u) && (0.0..96.0).contains(&v);
            if !is_inside || !is_far_from_borders(&mask, 80, x, y, 1) {
                continue;
            }
            let at = v as usize * 96 + u as usize;
            // The nearest input pixel's centre lies up to 0.71 input pixels away; it must not lie beyond the picture.
            if moved[2][at] == 1.0 {
                assert_eq!(moved[1][at], expected, "({x}, {y}) of image {image}, at ({u}, {v})");
                n_checked += 1;
            }
        }
    }
    assert!(n_checked > 40 * 2000, "only {n_checked} pixels were far from borders");
}

/// A picture that is its own mask stays its own mask under every geometric transform, elastic too.
#[test]
fn picture_and_mask_move_together() {
    let config = AugmentConfig { elastic_amplitude: 5.0, elastic_spacing: 24.0, ..geometric() };
    for image in 0..30 {
        let [picture, target, _] = sampled(&blobs(128, 128), [128, 128], Some(config.clone()), image);
        let n_organ = target.iter().filter(|&&t| t == 1.0).count();
        let wrong = picture.iter().zip(&target).filter(|(p, t)| f32::from(u8::from(**p > 0.5)) != **t).count();
        assert!(n_organ > 500, "image {image} shows {n_organ} pixels of the blobs");
        // Bilinear and nearest sampling disagree only at corners of outlines; half a pixel of shift would be 5 %.
        assert!(wrong * 50 < n_organ, "image {image}: {wrong} of {n_organ} pixels disagree");
    }
}

#[test]
fn padding_has_no_weight_no_target_and_value_zero() {
    let config = AugmentConfig {
        elastic_amplitude: 5.0,
        noise: [0.1, 0.1],
        speckle: [0.1, 0.1],
        brightness: 0.2,
        contrast: 0.2,
        ..geometric()
    };
    for image in 0..20 {
        let [picture, target, weight] = sampled(&texture(90, 40), [64, 64], Some(config.clone()), image);
        assert_eq!(target, weight, "everything in the picture is organ, nothing outside");
        assert!(weight.contains(&0.0) && weight.contains(&1.0));
        let padding = picture.iter().zip(&weight).filter(|(_, w)| **w == 0.0);
        assert!(padding.clone().all(|(p, _)| *p == 0.0));
    }
}
