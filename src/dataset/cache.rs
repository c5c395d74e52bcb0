//! Decoded samples in the user's cache folder, addressed by the content of the files that they come from.
//!
//! An entry is named by the SHA-256 of the series' input files and of how they are read; it holds the samples and ends with its own
//! SHA-256. An entry that is missing or damaged is made anew, and a cache that cannot be written only costs time. The data
//! folder, which may be read-only, is never written to.

use super::load::{self, Loaded};
use super::{Annotation, Sample, Series};
use crate::atomic_file;
use crate::error::Result;
use crate::geometry::Mask;
use crate::image::Gray;
use crate::terminal::say;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Changes whenever the format or the meaning of what is stored does.
const MAGIC: &[u8; 16] = b"unet-engine-data";

/// The cache folder: `UNET_ENGINE_CACHE`, else `XDG_CACHE_HOME/unet-engine`, else `HOME/.cache/unet-engine`. `None` without any.
pub fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let in_home = || set("HOME").map(|home| home.join(".cache").join("unet-engine"));
    set("UNET_ENGINE_CACHE").or_else(|| set("XDG_CACHE_HOME").map(|c| c.join("unet-engine"))).or_else(in_home)
}

/// Loads a series' samples through the cache in `folder`.
///
/// # Errors
/// As for [`load::load`].
pub fn load(folder: Option<&Path>, series: &Series, annotation: &Annotation) -> Result<Loaded> {
    let entry = folder.and_then(|folder| Some(folder.join(format!("{}.samples", key(series, annotation)?))));
    if let Some(samples) = entry.as_deref().and_then(|path| read(path, &series.name)) {
        return Ok(Loaded { samples, ..Loaded::default() });
    }
    let loaded = load::load(series, annotation)?;
    // What went wrong must be said again the next time, so only faultless series are kept.
    if let Some(entry) = entry.filter(|_| loaded.broken.is_empty() && loaded.warnings.is_empty()) {
        store(&entry, &loaded.samples);
    }
    Ok(loaded)
}

/// The entry's name; `None` if a file cannot be read, which loading then reports.
fn key(series: &Series, annotation: &Annotation) -> Option<String> {
    let mut hash = Sha256::new();
    hash.update(MAGIC);
    // Another version may read, cut or fill otherwise.
    hash.update(env!("CARGO_PKG_VERSION"));
    // How the files are cut is part of the key. Paths are not: a moved data set keeps its cache.
    match &series.source {
        super::Source::Composite { grid, .. } => hash.update(format!("{grid:?}")),
        other => hash.update(format!("{:?}", other.numbers())),
    }
    let mut add = |path: &Path| -> Option<()> {
        hash.update(Sha256::digest(std::fs::read(path).ok()?));
        Some(())
    };
    series.source.files().iter().try_for_each(|file| add(file))?;
    match annotation {
        Annotation::Rois(rois) => {
            hash.update(format!("{:?} ", rois.unreadable));
            for placed in &rois.placed {
                hash.update(format!("{} {:?} ", placed.sub_image, placed.shift));
                hash.update(crate::roi::encode(&placed.roi));
            }
        }
        Annotation::Masks { spec, root } => {
            load::mask_paths(root, spec, &series.name, &series.source).iter().try_for_each(|path| add(path))?;
            hash.update(format!("{:?} {:?}", spec.value, spec.instances));
        }
    }
    Some(hex(&hash.finalize()))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes an entry; failure only means that the work is done again next time.
fn store(path: &Path, samples: &[Sample]) {
    let Some(folder) = path.parent() else { return };
    let written = std::fs::create_dir_all(folder).is_ok() && atomic_file::write(path, &encode(samples)).is_ok();
    if !written {
        say(&format!("note: the cache in {} cannot be written; pictures are decoded anew each time", folder.display()));
    }
}

fn read(path: &Path, series: &str) -> Option<Vec<Sample>> {
    decode(&std::fs::read(path).ok()?, series)
}

fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put(&mut out, samples.len());
    for sample in samples {
        let image = &sample.image;
        [sample.sub_image, image.width, image.height, sample.instances.len()].into_iter().for_each(|n| put(&mut out, n));
        out.extend_from_slice(&sample.digest);
        put_pixels(&mut out, &image.pixels);
        for mask in &sample.instances {
            let byte = |bits: &[u8]| bits.iter().enumerate().fold(0u8, |byte, (i, &bit)| byte | bit << i);
            out.extend(mask.pixels().chunks(8).map(byte));
        }
    }
    let checksum = Sha256::digest(&out);
    out.extend_from_slice(&checksum);
    out
}

fn put(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&(number as u64).to_le_bytes());
}

/// Pixels in the smallest of 1, 2 or 4 bytes that holds them all exactly; the first byte says which.
fn put_pixels(out: &mut Vec<u8>, pixels: &[f32]) {
    let fits =
        |max: f32| pixels.iter().all(|&v| v.fract() == 0.0 && (0.0..=max).contains(&v) && !(v == 0.0 && v.is_sign_negative()));
    if fits(255.0) {
        out.push(1);
        out.extend(pixels.iter().map(|&v| v as u8));
    } else if fits(65535.0) {
        out.push(2);
        out.extend(pixels.iter().flat_map(|&v| (v as u16).to_le_bytes()));
    } else {
        out.push(4);
        out.extend(pixels.iter().flat_map(|v| v.to_le_bytes()));
    }
}

fn decode(bytes: &[u8], series: &str) -> Option<Vec<Sample>> {
    let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Sha256::digest(body).as_slice() != checksum {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC.as_slice())?;
    let n_samples = take_number(&mut rest)?;
    let mut samples = Vec::new();
    for _ in 0..n_samples {
        let [sub_image, width, height, n_instances] = [(); 4].map(|()| take_number(&mut rest).unwrap_or(usize::MAX));
        let digest: [u8; 32] = take(&mut rest, 32)?.try_into().ok()?;
        let n_pixels = width.checked_mul(height)?;
        let pixels = take_pixels(&mut rest, n_pixels)?;
        let mut instances = Vec::new();
        for _ in 0..n_instances {
            let packed = take(&mut rest, n_pixels.div_ceil(8))?;
            let bits = (0..n_pixels).map(|i| packed[i / 8] >> (i % 8) & 1).collect();
            instances.push(Mask::from_pixels(width, height, bits));
        }
        let image = Gray::new(width, height, pixels);
        samples.push(Sample { series: series.to_owned(), sub_image, image, instances, digest });
    }
    rest.is_empty().then_some(samples)
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    take(rest, 8).map(|b| b.iter().rev().fold(0usize, |n, &byte| n << 8 | usize::from(byte)))
}

fn take_pixels(rest: &mut &[u8], n: usize) -> Option<Vec<f32>> {
    let kind = take(rest, 1)?[0];
    let bytes = take(rest, n.checked_mul(usize::from(kind))?)?;
    Some(match kind {
        1 => bytes.iter().map(|&b| f32::from(b)).collect(),
        2 => bytes.as_chunks::<2>().0.iter().map(|&b| f32::from(u16::from_le_bytes(b))).collect(),
        4 => bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sub_image: usize, pixels: Vec<f32>) -> Sample {
        let image = Gray::new(3, 3, pixels);
        let mask = Mask::from_pixels(3, 3, vec![1, 0, 0, 0, 1, 0, 0, 0, 1]);
        Sample { series: "s".to_owned(), sub_image, digest: load::digest(&image), image, instances: vec![mask; sub_image - 1] }
    }

    fn samples() -> Vec<Sample> {
        let ramp = |scale: f32| (0..9).map(|i| i as f32 * scale).collect();
        vec![sample(1, ramp(20.0)), sample(2, ramp(5000.0)), sample(3, ramp(-0.3))]
    }

    #[test]
    fn what_is_stored_comes_back() {
        assert_eq!(decode(&encode(&samples()), "s").unwrap(), samples());
    }

    #[test]
    fn damaged_entries_are_ignored() {
        let good = encode(&samples());
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(decode(&bad, "s"), None, "byte {at} changed");
            assert_eq!(decode(&good[..at], "s"), None, "cut at {at}");
        }
    }
}
