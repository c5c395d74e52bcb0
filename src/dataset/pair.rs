//! Which ROI belongs to which sub-image, and in whose coordinates it is drawn (the rule of `docs/data-layouts.md`).

use super::layout::{self, RoiFile};
use super::manifest::Coordinates;
use super::names;
use super::source::Source;
use crate::error::{Error, Result};
use crate::image::grid::Grid;
use crate::roi::{Roi, archive};
use std::collections::{BTreeMap, BTreeSet};

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
    pub broken: Vec<String>,
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
    let mut raws = Vec::new();
    for (organ, files) in organs {
        paired.organs.insert(organ.clone(), OrganRois::default());
        raws.extend(read_organ(name, source, organ, files, &mut paired));
    }
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
        _ => {
            paired.reason = "every sub-image is a picture of its own".to_owned();
            place_by_number(source, raws, &mut paired);
        }
    }
    Ok(paired)
}

/// Reads an organ's files; counts what is no area.
fn read_organ(series: &str, source: &Source, organ: &str, files: &[RoiFile], paired: &mut Paired) -> Vec<Raw> {
    let stems: Vec<String> = files.iter().map(|f| names::stem(&f.path)).collect();
    // In the lab's layout a loose ROI file is an entry of its set, and a set's own number is the series'.
    let is_lab = files.iter().any(|f| f.word.is_some());
    let file_numbers = match is_lab && files.len() == 1 {
        true => vec![None],
        false => names::varying_numbers(&words_only(files, &stems), series),
    };
    let mut raws = Vec::new();
    for (file, file_number) in files.iter().zip(file_numbers) {
        if is_lab && files.len() > 1 && !holds(&names::file_name(&file.path), file) {
            continue;
        }
        match archive::read(&file.path) {
            Ok(contents) => raws.extend(raws_of(source, organ, file, file_number, contents, files.len() == 1, paired)),
            Err(error) => {
                note_unreadable(source, organ, file_number, paired);
                paired.broken.push(error.to_string());
            }
        }
    }
    raws
}

/// Remembers that something of an organ's annotation cannot be read, in the sub-image that the file's number names.
fn note_unreadable(source: &Source, organ: &str, file_number: Option<u32>, paired: &mut Paired) {
    let number = file_number.map(|n| n as usize).filter(|n| source.numbers().contains(n));
    paired.organs.entry(organ.to_owned()).or_default().unreadable.insert(number);
}

/// The stems of those files that belong to the organ; others are blanked, so that their numbers do not count as varying.
fn words_only(files: &[RoiFile], stems: &[String]) -> Vec<String> {
    files
        .iter()
        .zip(stems)
        .map(|(f, stem)| if holds(&names::file_name(&f.path), f) { stem.clone() } else { String::new() })
        .collect()
}

fn holds(name: &str, file: &RoiFile) -> bool {
    file.word.as_ref().is_none_or(|word| layout::last_part(name).contains(word))
}

fn raws_of(
    source: &Source,
    organ: &str,
    file: &RoiFile,
    file_number: Option<u32>,
    contents: archive::Archive,
    alone: bool,
    paired: &mut Paired,
) -> Vec<Raw> {
    let counts = paired.organs.entry(organ.to_owned()).or_default();
    counts.n_skipped += contents.skipped.len();
    let mut kept: Vec<(String, Roi)> = Vec::new();
    let mut n_unreadable = 0;
    for (entry, roi) in contents.rois {
        if file.word.is_some() && !holds(&entry, file) {
            continue;
        }
        match roi {
            Ok(roi) => {
                counts.n_read += 1;
                if roi.is_annotation() { kept.push((entry, roi)) } else { counts.n_without_area += 1 }
            }
            Err(error) => {
                n_unreadable += 1;
                let has_path = error.path().is_some();
                paired.broken.push(if has_path {
                    error.to_string()
                } else {
                    format!("{}, {entry}: {error}", file.path.display())
                });
            }
        }
    }
    if n_unreadable > 0 {
        note_unreadable(source, organ, file_number, paired);
    }
    let stems: Vec<String> = kept.iter().map(|(entry, _)| entry.trim_end_matches(".roi").to_owned()).collect();
    let entry_numbers = entry_numbers(&stems);
    let positions: Vec<Option<usize>> = kept.iter().map(|(_, roi)| position(roi)).collect();
    let varied = positions.iter().flatten().collect::<BTreeSet<_>>().len() > 1;
    // A picture without pages has no positions: ImageJ may still write 1 for all ROIs drawn on it.
    let use_positions = varied || matches!(source, Source::Stack { .. });
    let valid = source.numbers();
    let name_number = file_number.map(|n| n as usize).filter(|n| *n == 0 || valid.contains(n));
    let mut raws = Vec::new();
    for (i, (entry, roi)) in kept.into_iter().enumerate() {
        let by_position = positions[i].filter(|_| use_positions);
        let by_entry = entry_numbers[i].map(|n| n as usize);
        // One file for everything: its positions say more than a number in its name.
        let number = match alone && varied {
            true => by_position.or(name_number).or(by_entry),
            false => name_number.or(by_position).or(by_entry),
        };
        let label = format!("{}, {entry}", file.path.display());
        raws.push(Raw { organ: organ.to_owned(), roi, label, number });
    }
    raws
}

/// Sub-image numbers by the names of an archive's entries.
fn entry_numbers(stems: &[String]) -> Vec<Option<u32>> {
    let parts: Vec<String> = stems.iter().map(|s| layout::last_part(s)).collect();
    if parts.iter().all(|p| names::manager_slice(p).is_some()) {
        return parts.iter().map(|p| names::manager_slice(p).flatten()).collect();
    }
    names::varying_numbers(&parts, "")
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
    // Files counted from 0: the first sub-image is then number 0.
    let first = usize::from(raws.iter().any(|raw| raw.number == Some(0)));
    if first == 1 {
        paired.warnings.push("the numbers in the ROIs' names count from 0".to_owned());
    }
    for raw in raws {
        let number = match (valid.len(), raw.number) {
            (1, _) => Some(valid[0]),
            (_, number) => number.map(|n| n + first),
        };
        match number {
            Some(number) if valid.contains(&number) => put(paired, raw, number, [0, 0]),
            Some(number) => {
                let range = format!("{} sub-images up to number {}", valid.len(), valid.last().unwrap_or(&0));
                paired.warnings.push(format!("{}: the ROI belongs to sub-image {number}, but there are {range}; left out", raw.label));
            }
            None => paired.broken.push(format!(
                "{}: expected the sub-image's number in the file's name or a stack position in the ROI, found neither\n  what to do: name the files by sub-image (sub_07.roi), or set coordinates in dataset.toml",
                raw.label
            )),
        }
    }
}

fn put(paired: &mut Paired, raw: Raw, sub_image: usize, shift: [i32; 2]) {
    let placed = PlacedRoi { sub_image, roi: raw.roi, shift, label: raw.label };
    paired.organs.entry(raw.organ).or_default().placed.push(placed);
}
