//! Gives bytes to a reader as if they were a file, and uses what it returns. Every function says whether the bytes were accepted,
//! and panics where the reader breaks a promise. The mutants of the test suite and the fuzz targets in `fuzz/` call the same functions.

use std::path::{Path, PathBuf};
use unet_engine::checkpoint::{self, Checkpoint, Description, Model, Tensor, pytorch};
use unet_engine::dataset::Source;
use unet_engine::dataset::manifest::Manifest;
use unet_engine::error::Error;
use unet_engine::image::{Gray, read};
use unet_engine::model::{Arch, NetworkSpec};
use unet_engine::predict::joint::JointCalibration;
use unet_engine::roi::{self, Roi, archive};
use unet_engine::train::config::{Config, Facts, Options};

/// A small picture for what needs pixels.
const PICTURE: [usize; 2] = [64, 48];
/// Pictures above this many pixels are read, but not searched for a grid: that is arithmetic, not reading.
const SEARCHED_PIXELS: usize = 1 << 14;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
}

/// The path of a file in a folder of this thread's own.
pub fn scratch(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

/// Writes the bytes to a file of this name and returns its path.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = scratch(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, bytes).expect("a file");
    path
}

/// An error must say something, and name the file it is about.
fn named(error: &Error, path: &Path) {
    let text = error.to_string();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    assert!(text.contains(&*name), "an error that does not name {name}: {text}");
}

pub fn roi(bytes: &[u8]) -> bool {
    let Ok(roi) = roi::decode(bytes) else { return false };
    use_roi(&roi);
    let again = roi::decode(&roi::encode(&roi)).expect("what was read can be written and read");
    assert_eq!(again.mask_area_px(), roi.mask_area_px(), "{roi:?}\nbecame\n{again:?}");
    true
}

fn use_roi(roi: &Roi) {
    let [width, height] = PICTURE;
    let filled = roi.fill(width, height, 3, -2).area() as u64;
    assert!(filled <= roi.mask_area_px(), "{filled} pixels of {}", roi.mask_area_px());
    let _ = roi.translated(i32::MAX, -7);
    let _ = (roi.leaves(width, height), roi.property("score"));
}

pub fn zip(bytes: &[u8]) -> bool {
    let path = file("mutant.zip", bytes);
    match archive::read(&path) {
        Ok(archive) => {
            archive.rois.iter().filter_map(|(_, roi)| roi.as_ref().ok()).for_each(use_roi);
            archive.rois.iter().filter_map(|(_, roi)| roi.as_ref().err()).for_each(|error| named(error, &path));
            archive.rois.iter().any(|(_, roi)| roi.is_ok())
        }
        Err(error) => {
            named(&error, &path);
            false
        }
    }
}

pub fn png(bytes: &[u8]) -> bool {
    picture("mutant.png", bytes)
}

pub fn jpeg(bytes: &[u8]) -> bool {
    picture("mutant.jpg", bytes)
}

pub fn tiff(bytes: &[u8]) -> bool {
    picture("mutant.tif", bytes)
}

/// Every way to read a picture; what they say must agree.
fn picture(name: &str, bytes: &[u8]) -> bool {
    let path = file(name, bytes);
    let (size, pages, labels) = (read::size(&path), read::page_count(&path), read::read_labels(&path));
    let first = read::read(&path);
    for error in [size.as_ref().err(), pages.as_ref().err(), labels.as_ref().err(), first.as_ref().err()].into_iter().flatten() {
        named(error, &path);
    }
    drop(labels);
    let Ok(first) = first else { return false };
    whole(&first);
    assert_eq!(size.expect("a picture has a size"), [first.width, first.height]);
    drop(first);
    let pages = read::read_pages(&path).expect("a picture has a page");
    pages.iter().filter_map(|page| page.as_ref().ok()).for_each(whole);
    let n_pixels: usize = pages.iter().flatten().map(|page| page.width * page.height).sum();
    drop(pages);
    // Pages that cannot be counted make no source, though the first may be read.
    if n_pixels <= SEARCHED_PIXELS
        && let Ok((source, _)) = Source::of_picture(&path, None)
    {
        source.sub_images().expect("sub-images");
    }
    true
}

fn whole(picture: &Gray) {
    assert!(picture.width > 0 && picture.height > 0);
    assert!(picture.pixels.iter().all(|v| v.is_finite()), "a pixel that is no number");
}

pub fn dataset_toml(bytes: &[u8]) -> bool {
    let path = file("dataset.toml", bytes);
    match Manifest::read(&path) {
        Ok(manifest) => {
            for series in ["litter_01", "odd", ""] {
                if let Some(grid) = manifest.grid_of(series) {
                    let _ = unet_engine::image::grid::Grid::regular(PICTURE, grid.rows, grid.columns, grid.border);
                }
                let _ = manifest.coordinates_of(series);
            }
            true
        }
        Err(error) => {
            named(&error, &path);
            false
        }
    }
}

/// A `--config` file, and the same text as a run's `config.toml`.
pub fn options_toml(bytes: &[u8]) -> bool {
    let path = file("config.toml", bytes);
    if let Err(error) = Config::read(&path) {
        named(&error, &path);
    }
    match Options::default().over_file(&path) {
        Ok(options) => Config::resolve(&options, Facts { median_side: 100, n_train: 40 }).is_ok_and(|config| {
            config.network().check().expect("a configuration that was accepted describes a network");
            config.to_toml().is_ok()
        }),
        Err(error) => {
            named(&error, &path);
            false
        }
    }
}

/// The network of all checkpoints here.
pub fn network() -> NetworkSpec {
    NetworkSpec { arch: Arch::Standard, base: 2, levels: 1, channels_in: 1, channels_out: 1 }
}

/// A checkpoint with the right checksum beside it: damage on disk is noticed by that; this is about files made to deceive.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let path = file("checkpoint/best.safetensors", bytes);
    file("checkpoint/best.safetensors.sha256", checkpoint::checksum(bytes).as_bytes());
    match checkpoint::read(&path) {
        Ok(Checkpoint { description, tensors, .. }) => {
            let weights = checkpoint::weights_of(&description.network, tensors, &path);
            weights.inspect_err(|error| named(error, &path)).is_ok()
        }
        Err(error) => {
            named(&error, &path);
            false
        }
    }
}

/// Foreign weights, as for `train --init`.
pub fn weights(bytes: &[u8]) -> bool {
    let path = file("weights.safetensors", bytes);
    match pytorch::import(&path, &network()) {
        Ok(weights) => {
            assert!(weights.values().flatten().all(|v| v.is_finite()));
            true
        }
        Err(error) => {
            named(&error, &path);
            false
        }
    }
}

/// The three texts that a run directory's model is read from, one after the other with a 0 between them: `calibration.json`,
/// `splits.json`, and the description of the network in the checkpoint.
pub fn run_directory(bytes: &[u8]) -> bool {
    let mut parts = bytes.split(|&b| b == 0);
    let mut part = || parts.next().unwrap_or_default();
    file("run/calibration.json", part());
    file("run/splits.json", part());
    let best = with_description(part());
    file("run/checkpoints/best.safetensors.sha256", checkpoint::checksum(&best).as_bytes());
    file("run/checkpoints/best.safetensors", &best);
    match Model::open(&scratch("run")) {
        Ok(model) => {
            use_model(&model);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// A file that `calibrate` wrote, for models that are used together.
pub fn joint_calibration(bytes: &[u8]) -> bool {
    let path = file("joint.json", bytes);
    match JointCalibration::read(&path) {
        Ok(joint) => {
            let point = joint.calibration.point;
            for threshold in joint.calibration.review.iter().map(|review| review.threshold).chain([point.threshold]) {
                assert!((0.0..=1.0).contains(&threshold), "{threshold}");
            }
            assert!(!joint.calibration.describe("here").is_empty() && joint.calibration.warnings().len() < 4);
            true
        }
        Err(error) => {
            named(&error, &path);
            false
        }
    }
}

/// What prediction does with a model, short of running it.
fn use_model(model: &Model) {
    model.spec.check_step(4, model.size).expect("a network that can be recorded");
    let [width, height] = PICTURE;
    let probability: Vec<f32> = (0..width * height).map(|i| (i % 101) as f32 / 100.0).collect();
    let found = unet_engine::segment::instances(&probability, width, height, &model.calibration.point);
    assert!(found.len() <= width * height);
    let image = Gray::new(width, height, probability);
    assert!(model.normalization.standardise(&image).pixels.iter().all(|v| v.is_finite()), "{:?}", model.normalization);
}

/// A safetensors file of the network above whose metadata is this text, whatever it is.
pub fn with_description(text: &[u8]) -> Vec<u8> {
    with_metadata(text, &example().tensors)
}

/// A safetensors file with these tensors and this text as metadata.
pub fn with_metadata(text: &[u8], tensors: &std::collections::BTreeMap<String, Tensor>) -> Vec<u8> {
    let mut entries = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    let metadata = serde_json::json!({ "unet-engine": String::from_utf8_lossy(text) });
    entries.insert("__metadata__".into(), metadata);
    for (name, tensor) in tensors {
        let from = data.len();
        data.extend(tensor.data.iter().flat_map(|v| v.to_le_bytes()));
        let entry = serde_json::json!({"dtype": "F32", "shape": tensor.shape.0, "data_offsets": [from, data.len()]});
        entries.insert(name.clone(), entry);
    }
    let header = serde_json::Value::Object(entries).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

/// A good checkpoint of the network above.
pub fn example() -> Checkpoint {
    let parameters = network().parameters().into_iter();
    let values = |n: usize| (0..n).map(|i| 0.1 * (i % 13) as f32 - 0.5).collect();
    let tensors = parameters.map(|p| (p.name, Tensor { shape: p.shape, data: values(p.shape.len()) })).collect();
    let description: Description = serde_json::from_value(serde_json::json!({
        "network": network(), "size": [16, 16], "organ": "heart", "normalization": {"mean": 0.4, "deviation": 0.25},
    }))
    .expect("a description");
    Checkpoint { description, state: serde_json::json!({"epoch": 3, "step": 40, "val_loss": 0.5}), tensors }
}
