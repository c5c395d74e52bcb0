//! Which layout a data folder has: where its series, their pictures and their ROI files lie.
//!
//! Finds files by their names only; [`super::pair`] reads them.

mod lab;

use super::manifest::{LayoutSpec, Manifest};
use super::names;
use crate::error::{Error, ErrorKind, Result};
use crate::image::read::is_picture;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How a data folder is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// A folder per series with its composite and a folder per organ.
    SeriesFolders,
    /// Images with `RoiSet<ID>` folders or archives.
    Lab,
    /// Pictures listed by `dataset.toml`.
    Listed,
}

/// A ROI file of an organ. In the lab's layout one file holds several organs, told apart by a word in the ROIs' names.
#[derive(Clone, Debug, PartialEq)]
pub struct RoiFile {
    pub path: PathBuf,
    /// What its name says, without extension; with the folder's name before it if it lies in a folder of the organ's folder.
    pub name: String,
    pub word: Option<String>,
}

impl RoiFile {
    fn new(path: &Path, word: Option<&str>) -> RoiFile {
        RoiFile { path: path.to_path_buf(), name: names::stem(path), word: word.map(str::to_owned) }
    }
}

/// A series as found by names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    pub name: String,
    pub pictures: Vec<PathBuf>,
    /// ROI files per organ; an organ without files is annotated, and visible nowhere.
    pub organs: BTreeMap<String, Vec<RoiFile>>,
    pub warnings: Vec<String>,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    pub layout: Layout,
    pub candidates: Vec<Candidate>,
    pub warnings: Vec<String>,
}

/// Files and folders directly in a folder, in natural order.
pub struct Listing {
    pub files: Vec<PathBuf>,
    pub folders: Vec<PathBuf>,
}

/// Lists a folder; hidden entries and `__MACOSX` are left out.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(folder: &Path) -> Result<Listing> {
    let unreadable = |e| Error::io(ErrorKind::Data, folder, "list the folder", e).remedy("check the path and its permissions");
    let mut listing = Listing { files: Vec::new(), folders: Vec::new() };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = names::file_name(&path);
        if name.starts_with('.') || name == "__MACOSX" {
            continue;
        }
        if path.is_dir() { listing.folders.push(path) } else { listing.files.push(path) }
    }
    names::sort_naturally(&mut listing.files);
    names::sort_naturally(&mut listing.folders);
    Ok(listing)
}

/// Finds the series in `root`.
///
/// # Errors
/// If there is nothing that looks like a data set, or a folder cannot be read.
pub fn find(root: &Path, manifest: &Manifest) -> Result<Found> {
    if let Some(images) = &manifest.images {
        return listed(root, images, manifest);
    }
    let lab_layout = if manifest.layout == Some(LayoutSpec::Series) { None } else { lab::find(root, manifest)? };
    let mut found = match lab_layout {
        Some(found) => found,
        None if manifest.layout == Some(LayoutSpec::Lab) => {
            return Err(Error::data(root, "expected images with RoiSet folders or archives, as dataset.toml says, found none")
                .remedy("correct layout in dataset.toml, or look at docs/data-layouts.md"));
        }
        None => series_folders(root, manifest)?,
    };
    if found.candidates.is_empty() {
        let error = Error::data(
            root,
            "expected folders of series (a composite and a folder of ROIs per organ) or images with RoiSet folders, found neither",
        );
        return Err(match folder_of_series(root)? {
            Some(deeper) => error.remedy(format!("the series lie one level deeper: give {}", deeper.display())),
            None => error.remedy("see docs/data-layouts.md, or describe the folder in a dataset.toml"),
        });
    }
    tell_apart(root, &mut found.candidates);
    found.candidates.sort_by(|a, b| names::natural_order(&a.name, &b.name));
    Ok(found)
}

/// Gives series of the same name their path below `root` as name: splits and reports know series by their names.
fn tell_apart(root: &Path, candidates: &mut [Candidate]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    candidates.iter().for_each(|c| *counts.entry(c.name.clone()).or_default() += 1);
    for candidate in candidates.iter_mut().filter(|c| counts[&c.name] > 1) {
        let Some(picture) = candidate.pictures.first() else { continue };
        let below = picture.strip_prefix(root).unwrap_or(picture);
        candidate.name = below.to_string_lossy().replace('\\', "/");
    }
}

/// Pictures listed by `dataset.toml`.
fn listed(root: &Path, images: &Path, manifest: &Manifest) -> Result<Found> {
    use super::manifest::Group;
    let folder = root.join(images);
    let pictures: Vec<PathBuf> = list(&folder)?.files.into_iter().filter(|f| is_picture(f)).collect();
    if pictures.is_empty() {
        return Err(
            Error::data(&folder, "expected PNG, TIFF or JPEG pictures, found none").remedy("correct images in dataset.toml")
        );
    }
    let candidate = |name: String, pictures: &[PathBuf]| Candidate { name, pictures: pictures.to_vec(), ..Candidate::default() };
    let candidates = match manifest.group.as_ref() {
        Some(Group::Count(n)) => {
            let chunks = pictures.chunks(*n).enumerate();
            chunks.map(|(i, chunk)| candidate(format!("group_{:03}", i + 1), chunk)).collect()
        }
        Some(Group::Named(name)) if name == "all" => vec![candidate(names::file_name(&folder), &pictures)],
        _ => pictures.iter().map(|p| candidate(names::stem(p), std::slice::from_ref(p))).collect(),
    };
    Ok(Found { layout: Layout::Listed, candidates, warnings: Vec::new() })
}

/// The report's layout: `root` holds folders of series, or is one itself.
fn series_folders(root: &Path, manifest: &Manifest) -> Result<Found> {
    let top = list(root)?;
    let mut warnings = Vec::new();
    let mut read: Vec<SeriesFolder> = Vec::new();
    if top.files.iter().any(|f| is_picture(f)) && !top.folders.is_empty() {
        let own = SeriesFolder::read(root, manifest)?;
        if own.organs.values().any(|files| !files.is_empty()) {
            read.push(own);
        }
    }
    if read.is_empty() {
        for folder in &top.folders {
            let series = SeriesFolder::read(folder, manifest)?;
            let has_rois = series.organs.values().any(|files| !files.is_empty());
            if !has_rois && is_for_masks(root, folder, manifest) {
                continue;
            }
            match series.candidate.pictures.is_empty() {
                true if has_rois => {
                    warnings.push(format!("{}: ROI files, but no picture of a series", folder.display()));
                }
                true => {}
                false => read.push(series),
            }
        }
        let stray = top.files.iter().filter(|f| is_picture(f)).count();
        if stray > 0 && !read.is_empty() {
            warnings.push(format!("{}: {stray} pictures beside the folders of series are not used", root.display()));
        }
    }
    // An empty folder is an organ's if another series has ROIs in a folder of that name.
    let mut known: BTreeSet<String> = names::LAB_ORGANS.iter().map(|o| (*o).to_owned()).collect();
    known.extend(read.iter().flat_map(|s| &s.organs).filter(|(_, files)| !files.is_empty()).map(|(organ, _)| organ.clone()));
    let candidates = read.into_iter().map(|s| s.into_candidate(&known)).collect();
    Ok(Found { layout: Layout::SeriesFolders, candidates, warnings })
}

/// The pictures of a series' folder, annotated or not.
///
/// # Errors
/// If the folder cannot be read.
pub fn pictures_of_series(folder: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>> {
    Ok(SeriesFolder::read(folder, manifest)?.candidate.pictures)
}

/// Whether `folder` is one series: pictures, in it or in a folder of their own, and a folder of ROI files.
///
/// # Errors
/// If the folder cannot be read.
pub fn is_annotated_series(folder: &Path, manifest: &Manifest) -> Result<bool> {
    let series = SeriesFolder::read(folder, manifest)?;
    Ok(!series.candidate.pictures.is_empty() && series.organs.values().any(|files| !files.is_empty()))
}

/// One series' folder, before it is known which of its empty folders are organs.
struct SeriesFolder {
    candidate: Candidate,
    organs: BTreeMap<String, Vec<RoiFile>>,
}

impl SeriesFolder {
    fn read(folder: &Path, manifest: &Manifest) -> Result<SeriesFolder> {
        let listing = list(folder)?;
        let mut candidate = Candidate { name: names::file_name(folder), ..Candidate::default() };
        let mut pictures: Vec<PathBuf> = listing.files.iter().filter(|f| is_picture(f)).cloned().collect();
        let mut organs: BTreeMap<String, Vec<RoiFile>> = BTreeMap::new();
        for sub in &listing.folders {
            let inside = list(sub)?;
            if is_series(&inside)? {
                continue;
            }
            let roi_files = roi_files(&inside)?;
            let inner: Vec<PathBuf> = inside.files.iter().filter(|f| is_picture(f)).cloned().collect();
            if !roi_files.is_empty() || inner.is_empty() {
                organs.entry(organ_of(sub, manifest)).or_default().extend(roi_files);
            } else if pictures.is_empty() && !is_mask_folder(&names::file_name(sub)) {
                pictures = inner;
            }
        }
        candidate.pictures = choose_pictures(pictures, &mut candidate.warnings, folder);
        Ok(SeriesFolder { candidate, organs })
    }

    fn into_candidate(self, known: &BTreeSet<String>) -> Candidate {
        let mut candidate = self.candidate;
        candidate.organs = self.organs.into_iter().filter(|(organ, files)| !files.is_empty() || known.contains(organ)).collect();
        for (organ, files) in &candidate.organs {
            if files.is_empty() {
                candidate.warnings.push(format!("{}: the folder of {organ} is empty: taken as visible nowhere", candidate.name));
            }
        }
        candidate
    }
}

/// The ROI files of an organ's folder, those in its folders too (a folder per sub-image).
fn roi_files(organ: &Listing) -> Result<Vec<RoiFile>> {
    let of = |listing: &Listing| listing.files.iter().filter(|f| names::is_roi_file(f)).cloned().collect::<Vec<_>>();
    let mut found: Vec<RoiFile> = of(organ).iter().map(|path| RoiFile::new(path, None)).collect();
    if organ.files.iter().any(|f| is_picture(f)) {
        return Ok(found);
    }
    for folder in &organ.folders {
        for path in of(&list(folder)?) {
            let file = RoiFile::new(&path, None);
            found.push(RoiFile { name: format!("{}/{}", names::file_name(folder), file.name), ..file });
        }
    }
    Ok(found)
}

/// Whether a folder beside those of the series holds masks: it is called so, or `dataset.toml` says so.
pub(super) fn is_for_masks(root: &Path, folder: &Path, manifest: &Manifest) -> bool {
    let templates = manifest.organ.values().filter_map(|spec| spec.mask.as_deref());
    let mut first_parts = templates.filter_map(|template| Path::new(template).components().next());
    is_mask_folder(&names::file_name(folder)) || first_parts.any(|part| root.join(part) == folder)
}

/// Whether a folder holds what a series does: pictures, and a folder of ROI files.
fn is_series(listing: &Listing) -> Result<bool> {
    if !listing.files.iter().any(|f| is_picture(f)) {
        return Ok(false);
    }
    for folder in &listing.folders {
        if list(folder)?.files.iter().any(|f| names::is_roi_file(f)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first folder in `root` that holds folders of series.
fn folder_of_series(root: &Path) -> Result<Option<PathBuf>> {
    for folder in list(root)?.folders {
        for inner in list(&folder)?.folders {
            if is_series(&list(&inner)?)? {
                return Ok(Some(folder));
            }
        }
    }
    Ok(None)
}

fn is_mask_folder(name: &str) -> bool {
    ["mask", "overlay", "label", "preview", "result"].iter().any(|word| name.to_lowercase().contains(word))
}

/// The organ of a folder: what `dataset.toml` says, else by the folder's name.
pub(super) fn organ_of(folder: &Path, manifest: &Manifest) -> String {
    let name = names::file_name(folder);
    let given = manifest.organ.iter().find(|(_, spec)| spec.folder.as_deref().is_some_and(|f| f.eq_ignore_ascii_case(&name)));
    given.map_or_else(|| names::organ_of_folder(&name), |(organ, _)| organ.clone())
}

/// Of several pictures, the one that is named as a composite is the series; otherwise all of them are its sub-images.
fn choose_pictures(pictures: Vec<PathBuf>, warnings: &mut Vec<String>, folder: &Path) -> Vec<PathBuf> {
    let is_named =
        |p: &&PathBuf| names::says_composite(p) || names::stem(p).to_lowercase() == names::file_name(folder).to_lowercase();
    let named: Vec<PathBuf> = pictures.iter().filter(is_named).cloned().collect();
    if named.len() != 1 || pictures.len() == 1 {
        return pictures;
    }
    warnings.push(format!("{}: {} other pictures beside it are not used", named[0].display(), pictures.len() - 1));
    named
}

/// The file name of an archive's entry in lower case: its folders do not say which organ it is.
pub fn last_part(entry: &str) -> String {
    entry.rsplit('/').next().unwrap_or(entry).to_lowercase()
}
