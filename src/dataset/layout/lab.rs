//! The lab's layout: images, and for each a folder or archive `RoiSet<ID>` with the ROIs of all organs.

use super::{Candidate, Found, Layout, Listing, RoiFile, last_part, list, organ_of};
use crate::dataset::manifest::Manifest;
use crate::dataset::names;
use crate::error::Result;
use crate::image::read::is_picture;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The lab's layout; `None` if no image has a RoiSet with an organ's word in its ROIs' names.
pub(super) fn find(root: &Path, manifest: &Manifest) -> Result<Option<Found>> {
    let top = list(root)?;
    let mut words: BTreeMap<String, String> = names::LAB_ORGANS.iter().map(|o| ((*o).to_owned(), (*o).to_owned())).collect();
    for (organ, spec) in manifest.organ.iter().filter(|(_, spec)| spec.mask.is_none()) {
        words.insert(organ.clone(), spec.word.clone().unwrap_or_else(|| organ.clone()).to_lowercase());
    }
    let mut found = Found { layout: Layout::Lab, candidates: Vec::new(), warnings: Vec::new() };
    for folder in std::iter::once(root.to_path_buf()).chain(top.folders.iter().cloned()) {
        add_folder(root, &folder, manifest, &words, &mut found)?;
    }
    let any_annotated = found.candidates.iter().any(|c| !c.organs.is_empty());
    Ok(any_annotated.then_some(found))
}

/// Images directly in `folder`, with the RoiSets beside them, below them, or (of a sub-folder) beside their folder.
fn add_folder(
    root: &Path,
    folder: &Path,
    manifest: &Manifest,
    words: &BTreeMap<String, String>,
    found: &mut Found,
) -> Result<()> {
    let listing = list(folder)?;
    let images: Vec<PathBuf> = listing.files.iter().filter(|f| is_picture(f)).cloned().collect();
    if images.is_empty() {
        return Ok(());
    }
    // The nearest first: beside the images, below them, beside their folder, in its neighbours without images of their own.
    let mut sets = roi_sets(&listing);
    // A folder of an organ belongs to the other layout, whatever the files in it are called.
    for below in listing.folders.iter().filter(|below| !words.contains_key(&organ_of(below, manifest))) {
        sets.extend(roi_sets(&list(below)?));
    }
    if folder != root {
        let beside = list(root)?;
        sets.extend(roi_sets(&beside));
        for other in beside.folders.iter().filter(|f| *f != folder) {
            let other = list(other)?;
            if !other.files.iter().any(|f| is_picture(f)) {
                sets.extend(roi_sets(&other));
            }
        }
    }
    sets.retain(|set| holds_word(&set.path, words));
    if sets.is_empty() {
        return Ok(());
    }
    for image in images {
        found.candidates.push(candidate_of(&image, &sets, words)?);
    }
    Ok(())
}

fn candidate_of(image: &Path, sets: &[RoiSet], words: &BTreeMap<String, String>) -> Result<Candidate> {
    let id = names::numbers(&names::stem(image)).last().copied();
    let mut candidate = Candidate { name: names::stem(image), pictures: vec![image.to_path_buf()], ..Candidate::default() };
    let mut own: Vec<&RoiSet> = sets.iter().filter(|set| id.is_some() && set.id == id).collect();
    own.dedup_by(|a, b| a.path == b.path);
    if own.len() > 1 {
        let message = format!("{}: several RoiSets of that number; {} is used", image.display(), own[0].path.display());
        candidate.warnings.push(message);
    }
    let Some(set) = own.first() else {
        candidate.warnings.push(format!("{}: no RoiSet of its number: not annotated", image.display()));
        return Ok(candidate);
    };
    let files = match set.path.is_dir() {
        true => list(&set.path)?.files.into_iter().filter(|f| names::is_roi_file(f)).collect(),
        false => vec![set.path.clone()],
    };
    for (organ, word) in words {
        candidate.organs.insert(organ.clone(), files.iter().map(|path| RoiFile::new(path, Some(word))).collect());
    }
    Ok(candidate)
}

/// A folder or archive `RoiSet<ID>`.
struct RoiSet {
    path: PathBuf,
    id: Option<u32>,
}

fn roi_sets(listing: &Listing) -> Vec<RoiSet> {
    let archives = listing.files.iter().filter(|f| names::is_roi_file(f));
    let named = listing.folders.iter().chain(archives).filter(|p| names::file_name(p).to_lowercase().starts_with("roiset"));
    let with_id = named.map(|p| RoiSet { path: p.clone(), id: names::numbers(&names::file_name(p)).last().copied() });
    with_id.filter(|set| set.id.is_some()).collect()
}

/// Whether any ROI's name in the set holds a word of an organ. What cannot be read says nothing here; it is reported when paired.
fn holds_word(set: &Path, words: &BTreeMap<String, String>) -> bool {
    let entries: Vec<String> = if set.is_dir() {
        list(set).map_or_else(|_| Vec::new(), |l| l.files.iter().map(|f| names::file_name(f)).collect())
    } else {
        crate::roi::archive::read(set).map_or_else(|_| Vec::new(), |a| a.rois.into_iter().map(|(name, _)| name).collect())
    };
    entries.iter().any(|entry| words.values().any(|word| last_part(entry).contains(word)))
}
