//! Sub-images with their instances as masks: ROIs filled, mask pictures taken apart.

use super::manifest::{MaskInstances, OrganSpec};
use super::names;
use super::pair::OrganRois;
use super::source::Source;
use super::{Annotation, Sample, Series};
use crate::error::{Error, Result};
use crate::geometry::Mask;
use crate::image::{Gray, read};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The samples of one series and organ, with what went wrong beside them.
#[derive(Debug, Default)]
pub struct Loaded {
    pub samples: Vec<Sample>,
    /// Sub-images that are left out.
    pub broken: Vec<Error>,
    pub warnings: Vec<String>,
}

/// Reads a series' sub-images and the instances of one organ.
///
/// # Errors
/// If the series' only file cannot be read.
pub fn load(series: &Series, annotation: &Annotation) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut masks = match annotation {
        Annotation::Rois(_) => BTreeMap::new(),
        Annotation::Masks { spec, root } => read_masks(series, spec, root, &mut loaded),
    };
    for (number, image) in series.sub_images()? {
        if let Annotation::Rois(rois) = annotation
            && (rois.unreadable.contains(&Some(number)) || rois.unreadable.contains(&None))
        {
            // Taken as it is, it would say that the organ is not visible here.
            loaded.warnings.push(format!("{}, sub-image {number}: left out, for its ROIs cannot all be read", series.name));
            continue;
        }
        let image = match image {
            Ok(image) => image,
            Err(error) => {
                loaded.broken.push(error);
                continue;
            }
        };
        let instances = match annotation {
            Annotation::Rois(rois) => fill(rois, number, &image, &mut loaded.warnings),
            Annotation::Masks { spec, .. } => match masks.remove(&number) {
                None => Vec::new(),
                Some(labels) if (labels.width, labels.height) == (image.width, image.height) => instances(&labels, spec),
                Some(labels) => {
                    let sizes = format!(
                        "expected {} x {} pixels as the picture has, found {} x {}",
                        image.width, image.height, labels.width, labels.height
                    );
                    let message = format!("the mask of {}, sub-image {number}: {sizes}", series.name);
                    loaded.broken.push(
                        Error::data(&series.source.files()[0], message).remedy("write the mask again at the picture's size"),
                    );
                    continue;
                }
            },
        };
        let digest = digest(&image);
        loaded.samples.push(Sample { series: series.name.clone(), sub_image: number, image, instances, digest });
    }
    Ok(loaded)
}

/// SHA-256 of a picture's size and intensities.
pub fn digest(image: &Gray) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((image.width as u64).to_le_bytes());
    hash.update((image.height as u64).to_le_bytes());
    for value in &image.pixels {
        hash.update(value.to_le_bytes());
    }
    hash.finalize().into()
}

/// The masks of a sub-image's ROIs, each once: the same outline may lie beside the archive that holds it too.
fn fill(rois: &OrganRois, number: usize, image: &Gray, warnings: &mut Vec<String>) -> Vec<Mask> {
    let mut masks: Vec<Mask> = Vec::new();
    for placed in rois.placed.iter().filter(|p| p.sub_image == number) {
        let [dx, dy] = placed.shift;
        let mask = placed.roi.fill(image.width, image.height, dx, dy);
        let (inside, all) = (mask.area() as u64, placed.roi.mask_area_px());
        if inside == 0 {
            let what = if all == 0 { "encloses no pixel" } else { "lies outside its sub-image" };
            warnings.push(format!("{}: the ROI {what} ({number}); left out", placed.label));
            continue;
        }
        if inside < all {
            warnings.push(format!(
                "{}: {} of {all} pixels of the ROI lie outside sub-image {number}; cut off",
                placed.label,
                all - inside
            ));
        }
        match masks.contains(&mask) {
            true => {
                warnings.push(format!("{}: the same pixels as another ROI of sub-image {number}; counted once", placed.label))
            }
            false => masks.push(mask),
        }
    }
    masks
}

/// The mask pictures of a series by sub-image. A missing file means: visible nowhere in that picture.
fn read_masks(series: &Series, spec: &OrganSpec, root: &Path, loaded: &mut Loaded) -> BTreeMap<usize, Gray> {
    let mut found = BTreeMap::new();
    let numbers = series.source.numbers();
    let paths = mask_paths(root, spec, &series.name, &series.source);
    for (i, (file, path)) in series.source.files().iter().zip(paths).enumerate() {
        if !path.exists() {
            loaded.warnings.push(format!("{}: no mask at {}: taken as not visible", file.display(), path.display()));
            continue;
        }
        let pages = match read::read_labels(&path) {
            Ok(pages) => pages,
            Err(error) => {
                loaded.broken.push(error);
                continue;
            }
        };
        for (page, labels) in pages.into_iter().enumerate() {
            match (labels, &series.source) {
                (Err(error), _) => loaded.broken.push(error),
                (Ok(labels), Source::Composite { grid, .. }) => {
                    let holds =
                        grid.origins.iter().all(|o| o[0] + grid.cell[0] <= labels.width && o[1] + grid.cell[1] <= labels.height);
                    if !holds {
                        loaded.broken.push(Error::data(&path, "the mask is smaller than its composite"));
                        continue;
                    }
                    found.extend(numbers.iter().map(|&n| (n, grid.cut(&labels, n - 1))));
                }
                (Ok(labels), Source::Stack { .. }) => drop(found.insert(page + 1, labels)),
                (Ok(labels), _) => drop(found.insert(numbers[i], labels)),
            }
        }
    }
    found
}

/// The paths of a series' masks by their template, one for each of its files.
pub fn mask_paths(root: &Path, spec: &OrganSpec, series: &str, source: &Source) -> Vec<PathBuf> {
    let template = spec.mask.as_deref().unwrap_or_default().replace("{series}", series);
    let numbers = source.numbers();
    let path = |(i, picture): (usize, &PathBuf)| {
        let number = numbers.get(i).copied().unwrap_or(1).to_string();
        root.join(template.replace("{stem}", &names::stem(picture)).replace("{number}", &number))
    };
    source.files().iter().enumerate().map(path).collect()
}

/// The instances in a mask picture.
fn instances(labels: &Gray, spec: &OrganSpec) -> Vec<Mask> {
    let counts = |v: f32| v != 0.0 && spec.value.is_none_or(|wanted| v == wanted as f32);
    match spec.instances {
        MaskInstances::Components => {
            let inside = labels.pixels.iter().map(|&v| u8::from(counts(v))).collect();
            components(&Mask::from_pixels(labels.width, labels.height, inside))
        }
        MaskInstances::Values => {
            let mut values: Vec<f32> = labels.pixels.iter().copied().filter(|&v| counts(v)).collect();
            values.sort_by(f32::total_cmp);
            values.dedup();
            let of_value = |v: f32| labels.pixels.iter().map(|&p| u8::from(p == v)).collect();
            values.into_iter().map(|v| Mask::from_pixels(labels.width, labels.height, of_value(v))).collect()
        }
    }
}

/// The connected components (8 neighbours) of a mask, in order of their topmost, then leftmost pixel.
fn components(mask: &Mask) -> Vec<Mask> {
    let (width, height) = (mask.width(), mask.height());
    let mut left = mask.pixels().to_vec();
    let mut found = Vec::new();
    for start in 0..left.len() {
        if left[start] == 0 {
            continue;
        }
        let mut component = vec![0; left.len()];
        let mut open = vec![start];
        left[start] = 0;
        while let Some(at) = open.pop() {
            component[at] = 1;
            let (x, y) = (at % width, at / width);
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    let neighbour = ny * width + nx;
                    if left[neighbour] != 0 {
                        left[neighbour] = 0;
                        open.push(neighbour);
                    }
                }
            }
        }
        found.push(Mask::from_pixels(width, height, component));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Gray {
        // A diagonal pair of ones (one component), a two, a three.
        Gray::new(5, 3, vec![1., 0., 0., 2., 0., 0., 1., 0., 2., 0., 0., 0., 0., 0., 3.])
    }

    #[test]
    fn components_join_diagonally() {
        let spec = OrganSpec { value: Some(1), ..OrganSpec::default() };
        let found = instances(&labels(), &spec);
        assert_eq!(found.iter().map(Mask::area).collect::<Vec<_>>(), [2]);
        assert_eq!(instances(&labels(), &OrganSpec::default()).len(), 2, "2 and 3 touch at a corner");
    }

    #[test]
    fn every_value_is_an_instance() {
        let spec = OrganSpec { instances: MaskInstances::Values, ..OrganSpec::default() };
        assert_eq!(instances(&labels(), &spec).iter().map(Mask::area).collect::<Vec<_>>(), [2, 2, 1]);
    }
}
