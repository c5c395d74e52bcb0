//! The ranges of all augmentations.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Ranges of all augmentations (in TOML: `[augment]`). A range of nothing switches that one off.
///
/// Lengths are in pixels of the network's input, intensities in units of the stretched picture, whose 1st to 99th percentile is
/// 0 to 1. Each image draws its own parameters, uniformly from the range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Largest rotation to either side, in degrees.
    pub rotation_degrees: f32,
    /// Smallest and largest magnification; [1, 1] for none.
    pub scale: [f32; 2],
    /// Largest shift to either side, as a share of the input's width and height.
    pub translation: f32,
    /// Largest shear to either side, in degrees.
    pub shear_degrees: f32,
    /// Probability of exchanging left and right.
    pub flip_horizontal: f32,
    /// Probability of exchanging top and bottom.
    pub flip_vertical: f32,
    /// Largest deviation of the elastic deformation's control points, in pixels.
    pub elastic_amplitude: f32,
    /// Distance of the elastic deformation's control points, in pixels.
    pub elastic_spacing: f32,
    /// Largest share of the picture's sides that is cropped away, at a random place.
    pub crop: f32,
    /// Largest share of the picture's sides that is added as padding, at a random place.
    pub pad: f32,
    /// Smallest and largest deviation of additive Gaussian noise; [0, 0] for none.
    pub noise: [f32; 2],
    /// Largest change of brightness to either side.
    pub brightness: f32,
    /// Largest relative change of contrast to either side, around mid-grey.
    pub contrast: f32,
    /// Smallest and largest deviation of speckle, noise in proportion to the intensity; [0, 0] for none.
    pub speckle: [f32; 2],
}

impl Default for AugmentConfig {
    fn default() -> Self {
        AugmentConfig {
            rotation_degrees: 20.0,
            scale: [0.85, 1.2],
            translation: 0.06,
            shear_degrees: 5.0,
            flip_horizontal: 0.5,
            flip_vertical: 0.5,
            elastic_amplitude: 3.0,
            elastic_spacing: 32.0,
            crop: 0.1,
            pad: 0.1,
            noise: [0.0, 0.04],
            brightness: 0.1,
            contrast: 0.2,
            speckle: [0.0, 0.1],
        }
    }
}

impl AugmentConfig {
    /// Everything off: the letterbox alone.
    pub fn none() -> Self {
        AugmentConfig {
            rotation_degrees: 0.0,
            scale: [1.0, 1.0],
            translation: 0.0,
            shear_degrees: 0.0,
            flip_horizontal: 0.0,
            flip_vertical: 0.0,
            elastic_amplitude: 0.0,
            elastic_spacing: 32.0,
            crop: 0.0,
            pad: 0.0,
            noise: [0.0, 0.0],
            brightness: 0.0,
            contrast: 0.0,
            speckle: [0.0, 0.0],
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// If a range makes no sense; names the key, the legal range and the value.
    pub fn validate(&self) -> Result<()> {
        let single = [
            ("rotation_degrees", self.rotation_degrees, 0.0, 180.0),
            ("translation", self.translation, 0.0, 1.0),
            ("shear_degrees", self.shear_degrees, 0.0, 60.0),
            ("flip_horizontal", self.flip_horizontal, 0.0, 1.0),
            ("flip_vertical", self.flip_vertical, 0.0, 1.0),
            ("elastic_spacing", self.elastic_spacing, 4.0, 4096.0),
            // Beyond a third of their distance the control points fold the picture over itself.
            ("elastic_amplitude", self.elastic_amplitude, 0.0, self.elastic_spacing / 3.0),
            ("crop", self.crop, 0.0, 0.9),
            ("pad", self.pad, 0.0, 4.0),
            ("brightness", self.brightness, 0.0, 1.0),
            ("contrast", self.contrast, 0.0, 0.95),
        ];
        for (key, value, low, high) in single {
            check(key, (low..=high).contains(&value), &format!("a number from {low} to {high}"), &value.to_string())?;
        }
        let pairs = [("scale", self.scale, 0.1, 10.0), ("noise", self.noise, 0.0, 1.0), ("speckle", self.speckle, 0.0, 1.0)];
        for (key, [from, to], low, high) in pairs {
            let legal = low <= from && from <= to && to <= high;
            check(key, legal, &format!("[from, to] with {low} <= from <= to <= {high}"), &format!("[{from}, {to}]"))?;
        }
        Ok(())
    }
}

fn check(key: &str, legal: bool, expected: &str, found: &str) -> Result<()> {
    if legal {
        return Ok(());
    }
    Err(Error::usage(format!("augment.{key}: expected {expected}, found {found}"))
        .remedy("correct the value under [augment] in the configuration file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_none_are_legal() {
        AugmentConfig::default().validate().expect("the defaults are legal");
        AugmentConfig::none().validate().expect("no augmentation is legal");
    }

    #[test]
    fn wrong_ranges_are_named() {
        let wrong = AugmentConfig { scale: [1.2, 0.8], ..AugmentConfig::none() };
        let message = wrong.validate().expect_err("a reversed range").to_string();
        assert!(message.contains("augment.scale") && message.contains("[1.2, 0.8]"), "{message}");
        let wrong = AugmentConfig { elastic_amplitude: 20.0, ..AugmentConfig::none() };
        assert!(wrong.validate().is_err());
        let wrong = AugmentConfig { contrast: f32::NAN, ..AugmentConfig::none() };
        assert!(wrong.validate().is_err());
    }

    #[test]
    fn unknown_keys_are_errors_and_missing_ones_defaults() {
        assert!(toml::from_str::<AugmentConfig>("rotate = 3.0").is_err());
        let config: AugmentConfig = toml::from_str("rotation_degrees = 3.0").expect("a legal table");
        assert_eq!(config, AugmentConfig { rotation_degrees: 3.0, ..AugmentConfig::default() });
    }
}
