//! Which ROI belongs to which sub-image, and in whose coordinates it is drawn (the rule of `docs/data-layouts.md`).

use super::layout::{self, RoiFile};
use super::manifest::Coordinates;
use super::numbering::{self, Claim, Evidence};
use super::source::Source;
use super::{Broken, names};
use crate::error::{Error, Result};
use crate::image::grid::Grid;
use crate::roi::{Roi, archive};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A ROI in its sub-image.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedRoi {
    /// The sub-image's number.
    pub sub_image: usize,
    pub roi: Roi,
    /// What to add to the ROI's coordinates to get the sub-image's.
    pub shift: [i32; 2],
    /// Its file and name, for messages.
    pub label: String,
}

/// An organ's ROIs in a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrganRois {
    pub placed: Vec<PlacedRoi>,
    /// ROIs in the files, of any kind.
    pub n_read: usize,
    /// Those that enclose no area (lines, points, texts).
    pub n_without_area: usize,
    /// Entries of archives that are no ROIs.
    pub n_skipped: usize,
    /// Sub-images of which a ROI cannot be read, `None` where it is not known which: their annotation is not to be trusted.
    pub unreadable: BTreeSet<Option<usize>>,
}

/// All ROIs of a series.
#[derive(Clone, Debug, Default)]
pub struct Paired {
    pub organs: BTreeMap<String, OrganRois>,
    /// `None` where there is one coordinate system only.
    pub coordinates: Option<Coordinates>,
    pub reason: String,
    pub warnings: Vec<String>,
    /// Files that cannot be read and ROIs that cannot be placed.
    pub broken: Vec<Broken>,
}

/// A ROI as read, with what its names say.
struct Raw {
    organ: String,
    roi: Roi,
    label: String,
    /// The sub-image's number by the file's name, the ROI's position or the ROI's name; not yet checked.
    number: Option<usize>,
}

/// Reads a series' ROI files and assigns each ROI to its sub-image.
///
/// # Errors
/// If the coordinates are ambiguous (the error asks for `dataset.toml`).
pub fn pair(name: &str, source: &Source, organs: &BTreeMap<String, Vec<RoiFile>>, given: Option<Coordinates>) -> Result<Paired> {
    let mut paired = Paired::default();
    let raws = read_all(name, source, organs, &mut paired);
    match source {
        Source::Composite { grid, file } => {
            let (coordinates, reason) = match given {
                Some(coordinates) => (coordinates, "given in dataset.toml".to_owned()),
                None => coordinates_of(grid, &raws).ok_or_else(|| {
                    Error::data(file, "cannot tell whether the ROIs are in coordinates of the composite or of the sub-images: none leaves the first cell, and no number in their names says to which sub-image they belong")
                        .remedy("write coordinates = \"composite\" or \"sub-image\" into dataset.toml")
                })?,
            };
            (paired.coordinates, paired.reason) = (Some(coordinates), reason);
            match coordinates {
                Coordinates::Composite => raws.into_iter().for_each(|raw| place_in_composite(grid, raw, &mut paired)),
                Coordinates::SubImage => place_by_number(source, raws, &mut paired),
            }
        }
        Source::Single { file } => {
            refuse_numbers(file, &raws)?;
            paired.reason = "the only sub-image".to_owned();
            place_by_number(source, raws, &mut paired);
        }
        _ => {
            paired.reason = "every sub-image is a picture of its own".to_owned();
            place_by_number(source, raws, &mut paired);
        }
    }
    Ok(paired)
}

/// Different numbers beyond what could count objects say that a picture which was taken for a single sub-image is a composite.
fn refuse_numbers(file: &Path, raws: &[Raw]) -> Result<()> {
    // Larger numbers are dates and the like.
    const SUB_IMAGES_MAX: usize = 100;
    let numbers: BTreeSet<usize> = raws.iter().filter_map(|raw| raw.number).filter(|n| *n <= SUB_IMAGES_MAX).collect();
    // A name as predictions have it says what its number means.
    let is_explicit = raws.iter().any(|raw| names::own_number(&raw.roi.name).is_some());
    let Some(&number) = numbers.last().filter(|n| numbers.len() > 1 && (**n > raws.len() || is_explicit)) else { return Ok(()) };
    let Some(raw) = raws.iter().find(|raw| raw.number == Some(number)) else { return Ok(()) };
    let message = format!(
        "no grid of sub-images was found in the picture, but a ROI belongs to sub-image {number} by its name or position: {}",
        raw.label
    );
    Err(Error::data(file, message).remedy(
        "write grid = { rows = 5, columns = 7 } (or what it is) into dataset.toml; rows = 1, columns = 1 if it is a single picture",
    ))
}

/// What was read from an organ's files, in order, with what says where it belongs.
#[derive(Default)]
struct Items {
    evidence: Vec<Evidence>,
    /// `None`: cannot be read.
    rois: Vec<Option<(Roi, String)>>,
}

impl Items {
    fn push(&mut self, evidence: Evidence, roi: Option<(Roi, String)>) {
        self.evidence.push(evidence);
        self.rois.push(roi);
    }
}

/// Reads the files of all organs and finds out to which sub-image each ROI says that it belongs.
fn read_all(name: &str, source: &Source, organs: &BTreeMap<String, Vec<RoiFile>>, paired: &mut Paired) -> Vec<Raw> {
    let mut read = Vec::new();
    for (organ, files) in organs {
        paired.organs.insert(organ.clone(), OrganRois::default());
        let items = read_organ(organ, files, paired);
        let (claims, warning) = numbering::claims(&items.evidence, name, source);
        paired.warnings.extend(warning.map(|warning| format!("{name}, {organ}: {warning}")));
        read.push((organ, items, claims));
    }
    let any_zero = read.iter().any(|(_, _, claims)| claims.contains(&Some(Claim::Name(0))));
    if any_zero && !source.is_from_zero() {
        paired.warnings.push(format!("{name}: the numbers in the ROIs' names count from 0"));
    }
    let valid = source.numbers();
    let mut raws = Vec::new();
    for (organ, items, claims) in read {
        let is_from_zero = numbering::is_from_zero(&claims, any_zero, source);
        for (roi, claim) in items.rois.into_iter().zip(claims) {
            let number = claim.map(|claim| numbering::resolve(claim, is_from_zero, source));
            match roi {
                Some((roi, label)) => raws.push(Raw { organ: organ.clone(), roi, label, number }),
                None => {
                    let number = number.filter(|n| valid.contains(n));
                    paired.organs.entry(organ.clone()).or_default().unreadable.insert(number);
                }
            }
        }
    }
    raws
}

/// Reads an organ's files; counts what is no area.
fn read_organ(organ: &str, files: &[RoiFile], paired: &mut Paired) -> Items {
    // In the lab's layout a loose ROI file is an entry of its set, and a set's own number is the series'.
    let is_lab = files.iter().any(|f| f.word.is_some());
    let mut items = Items::default();
    for file in files {
        if is_lab && files.len() > 1 && !holds(&names::file_name(&file.path), file) {
            continue;
        }
        let stem = if is_lab && files.len() == 1 { String::new() } else { file.name.clone() };
        match archive::read(&file.path) {
            Ok(contents) => add_contents(organ, file, &stem, contents, &mut items, paired),
            Err(error) => {
                items.push(Evidence { stem, ..Evidence::default() }, None);
                paired.broken.push(Broken { organ: Some(organ.to_owned()), text: error.to_string() });
            }
        }
    }
    items
}

fn holds(name: &str, file: &RoiFile) -> bool {
    file.word.as_ref().is_none_or(|word| layout::last_part(name).contains(word))
}

fn add_contents(organ: &str, file: &RoiFile, stem: &str, contents: archive::Archive, items: &mut Items, paired: &mut Paired) {
    let counts = paired.organs.entry(organ.to_owned()).or_default();
    counts.n_skipped += contents.skipped.len();
    for (name, roi) in contents.rois {
        if file.word.is_some() && !holds(&name, file) {
            continue;
        }
        let entry = name.trim_end_matches(".roi").to_owned();
        let evidence = Evidence { stem: stem.to_owned(), entry, position: roi.as_ref().ok().and_then(position) };
        match roi {
            Ok(roi) => {
                counts.n_read += 1;
                match roi.is_annotation() {
                    true => items.push(evidence, Some((roi, format!("{}, {name}", file.path.display())))),
                    false => counts.n_without_area += 1,
                }
            }
            Err(error) => {
                items.push(evidence, None);
                let named = error.path().is_some();
                let text = if named { error.to_string() } else { format!("{}, {name}: {error}", file.path.display()) };
                paired.broken.push(Broken { organ: Some(organ.to_owned()), text });
            }
        }
    }
}

/// The page that a ROI was drawn on: its plain position, or the one dimension of a hyperstack that it has.
fn position(roi: &Roi) -> Option<usize> {
    let candidates = [roi.position, roi.z, roi.t, roi.channel];
    // In a hyperstack the other dimensions are 1.
    let found = candidates.iter().find(|&&p| p > 1).or_else(|| candidates.iter().find(|&&p| p > 0));
    found.map(|&p| p as usize)
}

/// The rule: composite if any ROI leaves the first cell (unless most names contradict it); else the numbers in the names decide.
/// `None` if those cannot.
fn coordinates_of(grid: &Grid, raws: &[Raw]) -> Option<(Coordinates, String)> {
    let [width, height] = [0, 1].map(|axis| grid.cell[axis] + grid.origins[0][axis]);
    let n_numbered = raws.iter().filter(|raw| raw.number.is_some()).count();
    let Some(leaving) = raws.iter().find(|raw| raw.roi.leaves(width, height)) else {
        if raws.is_empty() {
            return Some((Coordinates::SubImage, "no ROI to tell it by".to_owned()));
        }
        let reason =
            format!("no ROI leaves the first cell, and the names give the sub-images of {n_numbered} of {} ROIs", raws.len());
        return (n_numbered > 0).then_some((Coordinates::SubImage, reason));
    };
    let others: Vec<&Raw> = raws.iter().filter(|raw| raw.number.is_some_and(|n| n > 1)).collect();
    let in_first = others.iter().filter(|raw| centre_cell(grid, &raw.roi) == Some(0)).count();
    let in_own = others.iter().filter(|raw| centre_cell(grid, &raw.roi).map(|cell| cell + 1) == raw.number).count();
    if in_first > in_own && 2 * in_first > others.len() {
        let reason =
            format!("{in_first} of {} ROIs of later sub-images lie in the first cell, though some leave it", others.len());
        return Some((Coordinates::SubImage, reason));
    }
    Some((Coordinates::Composite, format!("a ROI leaves the first cell ({})", leaving.label)))
}

fn centre_cell(grid: &Grid, roi: &Roi) -> Option<usize> {
    let centre = |from: i32, length: u32| f64::from(from) + f64::from(length) / 2.0;
    grid.cell_at(centre(roi.bounds.left, roi.bounds.width), centre(roi.bounds.top, roi.bounds.height))
}

/// Assigns a ROI in composite coordinates to the cell that holds most of it.
fn place_in_composite(grid: &Grid, raw: Raw, paired: &mut Paired) {
    let shift_of = |cell: usize| grid.origins[cell].map(|o| -(o as i32));
    let share = |cell: usize| {
        let [dx, dy] = shift_of(cell);
        raw.roi.fill(grid.cell[0], grid.cell[1], dx, dy).area()
    };
    let touched = (0..grid.origins.len()).filter(|&cell| overlaps(grid, cell, &raw.roi));
    let best = touched.map(|cell| (share(cell), cell)).max_by_key(|&(area, cell)| (area, usize::MAX - cell));
    let Some((_, cell)) = best.filter(|(area, _)| *area > 0) else {
        paired.warnings.push(format!("{}: the ROI lies outside every sub-image; left out", raw.label));
        return;
    };
    if grid.blank.contains(&cell) {
        paired.warnings.push(format!("{}: the ROI lies in cell {}, which holds no picture; left out", raw.label, cell + 1));
        return;
    }
    put(paired, raw, cell + 1, shift_of(cell));
}

fn overlaps(grid: &Grid, cell: usize, roi: &Roi) -> bool {
    // A pixel more on every side: boxes of sub-pixel outlines are rounded.
    let meets = |a: i32, a_len: u32, b: usize, b_len: usize| {
        i64::from(a) - 1 < (b + b_len) as i64 && i64::from(a) + i64::from(a_len) + 1 > b as i64
    };
    let b = roi.bounds;
    let [left, top] = grid.origins[cell];
    meets(b.left, b.width, left, grid.cell[0]) && meets(b.top, b.height, top, grid.cell[1])
}

/// Assigns ROIs in sub-image coordinates by their numbers.
fn place_by_number(source: &Source, raws: Vec<Raw>, paired: &mut Paired) {
    let valid = source.numbers();
    for raw in raws {
        match if valid.len() == 1 { Some(valid[0]) } else { raw.number } {
            Some(number) if valid.contains(&number) => put(paired, raw, number, [0, 0]),
            Some(number) => {
                let range = format!("{} sub-images up to number {}", valid.len(), valid.last().unwrap_or(&0));
                paired.warnings.push(format!("{}: the ROI belongs to sub-image {number}, but there are {range}; left out", raw.label));
            }
            None => paired.broken.push(Broken {
                organ: Some(raw.organ),
                text: format!(
                    "{}: expected the sub-image's number in the file's name or a stack position in the ROI, found neither\n  what to do: name the files by sub-image (sub_07.roi), or set coordinates in dataset.toml",
                    raw.label
                ),
            }),
        }
    }
}

fn put(paired: &mut Paired, raw: Raw, sub_image: usize, shift: [i32; 2]) {
    let placed = PlacedRoi { sub_image, roi: raw.roi, shift, label: raw.label };
    paired.organs.entry(raw.organ).or_default().placed.push(placed);
}
