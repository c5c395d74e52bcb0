//! What the names of files and folders say: natural order, numbers that vary within a folder, organs.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

/// The file's name without folder and extension.
pub fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether a picture's name says that it is a composite.
pub fn says_composite(path: &Path) -> bool {
    let stem = stem(path).to_lowercase();
    ["composite", "montage"].iter().any(|word| stem.contains(word))
}

/// Whether the file is a ROI or an archive of ROIs, by its name. Hidden files (`._x.roi`) are not.
pub fn is_roi_file(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    matches!(extension.as_deref(), Some("roi" | "zip")) && !file_name(path).starts_with('.')
}

/// The groups of digits in a text; a group of more than 9 digits (a time stamp) is cut to its last 9.
pub fn numbers(text: &str) -> Vec<u32> {
    let groups = text.split(|c: char| !c.is_ascii_digit()).filter(|g| !g.is_empty());
    groups.map(|g| g[g.len().saturating_sub(9)..].parse().unwrap_or(0)).collect()
}

/// Order in which `img2` comes before `img10`; ties by the plain text.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    chunks(a).cmp(&chunks(b)).then_with(|| a.cmp(b))
}

/// A piece of a name; numbers sort before text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Chunk {
    /// Number of significant digits and the digits: the order of numbers of any length.
    Number(usize, String),
    Text(String),
}

fn chunks(text: &str) -> Vec<Chunk> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(end);
        let digits = head.trim_start_matches('0');
        let text_chunk = || Chunk::Text(head.to_lowercase());
        out.push(if is_digit { Chunk::Number(digits.len(), digits.to_owned()) } else { text_chunk() });
        rest = tail;
    }
    out
}

/// Sorts paths by their file names in natural order.
pub fn sort_naturally(paths: &mut [PathBuf]) {
    paths.sort_by(|a, b| natural_order(&file_name(a), &file_name(b)));
}

/// The number of each name that varies among the names; `None` for a name without it. When several vary, the one with the most
/// values counts the sub-images (the others count objects); among equals the first. Of a single name, or of names that are all
/// alike, the numbers that also stand in `context` (the series' name) are left out, and the last one that remains is taken; all stand
/// in it only where the name is the series' own or a whole RoiSet's (`sub_12` of `litter_12` is its sub-image 12).
pub fn varying_numbers(names: &[String], context: &str) -> Vec<Option<u32>> {
    let groups: Vec<Vec<u32>> = names.iter().map(|n| numbers(n)).collect();
    let n_groups = groups.iter().map(Vec::len).max().unwrap_or(0);
    let n_values = |place: usize| {
        let mut values: Vec<u32> = groups.iter().filter_map(|g| g.get(place).copied()).collect();
        values.sort_unstable();
        values.dedup();
        values.len()
    };
    let best = (0..n_groups).rev().max_by_key(|&place| n_values(place));
    match best {
        Some(place) if n_values(place) > 1 => groups.iter().map(|g| g.get(place).copied()).collect(),
        _ => names.iter().map(|name| remaining_number(name, context)).collect(),
    }
}

fn remaining_number(name: &str, context: &str) -> Option<u32> {
    let mut left = numbers(name);
    for number in numbers(context) {
        if let Some(at) = left.iter().position(|n| *n == number) {
            left.remove(at);
        }
    }
    let (name, context) = (name.to_lowercase(), context.to_lowercase());
    let is_of_series = name.contains(&context) || name.contains("roiset");
    left.last().copied().or_else(|| numbers(&name).last().copied().filter(|_| !is_of_series))
}

/// The sub-image of a name as our predictions give them: `heart-s07-1`, or `heart-s07-r1` where it is for review.
pub fn own_number(name: &str) -> Option<u32> {
    let (rest, object) = name.rsplit_once('-')?;
    let (_, sub_image) = rest.rsplit_once("-s")?;
    let object = object.strip_prefix('r').unwrap_or(object);
    let is_number = |text: &str| !text.is_empty() && text.len() <= 6 && text.chars().all(|c| c.is_ascii_digit());
    (is_number(object) && is_number(sub_image)).then(|| sub_image.parse().ok()).flatten()
}

/// The number of a ROI's name that counts the sub-image, if the name is of the ROI Manager's kind: `0007-0123-0456` is slice 7;
/// `0123-0456` holds no slice (`Some(None)`). `None` for any other name.
pub fn manager_slice(name: &str) -> Option<Option<u32>> {
    let parts: Vec<&str> = name.split('-').collect();
    let is_four = |p: &&str| p.len() >= 4 && p.chars().all(|c| c.is_ascii_digit());
    let n_four = parts.iter().take_while(|p| is_four(p)).count();
    match n_four {
        2 => Some(None),
        3 => Some(parts[0].parse().ok()),
        _ => None,
    }
}

/// The organ that a folder's name stands for: lower case, singular for the three organs of the lab, else as it is.
pub fn organ_of_folder(folder: &str) -> String {
    let name = folder.trim().to_lowercase();
    match name.as_str() {
        "heart" | "hearts" => "heart".to_owned(),
        "liver" | "livers" => "liver".to_owned(),
        "placenta" | "placentas" | "placentae" => "placenta".to_owned(),
        _ => name,
    }
}

/// The organs that the lab's names stand for.
pub const LAB_ORGANS: [&str; 3] = ["heart", "liver", "placenta"];

#[cfg(test)]
mod tests {
    use super::*;

    fn varying(names: &[&str], context: &str) -> Vec<Option<u32>> {
        varying_numbers(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(), context)
    }

    #[test]
    fn the_number_that_varies_counts() {
        let names = ["series_01_sub_02_nerve", "series_01_sub_05_nerve_RoiSet"];
        assert_eq!(varying(&names, "series_01"), [Some(2), Some(5)]);
        assert_eq!(varying(&["s3_1", "s3_2", "s4_1"], "x"), [Some(3), Some(3), Some(4)]);
        assert_eq!(varying(&["07-1", "07-2", "08-1", "09-1"], ""), [Some(7), Some(7), Some(8), Some(9)]);
        assert_eq!(varying(&["heart", "heart2", "heart3"], ""), [None, Some(2), Some(3)]);
    }

    #[test]
    fn a_single_name_drops_the_number_of_its_series() {
        assert_eq!(varying(&["series_03_sub_12_vessel_RoiSet"], "series_03"), [Some(12)]);
        assert_eq!(varying(&["series_02_RoiSet"], "series_02"), [None]);
        assert_eq!(varying(&["RoiSet"], "series_02"), [None]);
        assert_eq!(varying(&["sub_12"], "litter_12"), [Some(12)]);
        assert_eq!(varying(&["RoiSet12"], "litter 12"), [None]);
        assert_eq!(varying(&["series_03_sub_03"], "series_03"), [Some(3)]);
    }

    #[test]
    fn names_of_predictions() {
        assert_eq!(own_number("heart-s07-1"), Some(7));
        assert_eq!(own_number("my-organ-s12-3"), Some(12));
        assert_eq!(own_number("heart-s02-r1"), Some(2));
        assert_eq!(["heart-s02-r", "heart-s02-rr1", "heart-07-1", "heart-s-1", "heart-s07", "s07-1"].map(own_number), [None; 6]);
    }

    #[test]
    fn natural_order_counts() {
        let mut names = vec!["img10", "img2", "IMG1", "img02b", "a"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["a", "IMG1", "img2", "img02b", "img10"]);
    }

    #[test]
    fn names_of_the_roi_manager() {
        assert_eq!(manager_slice("0007-0123-0456"), Some(Some(7)));
        assert_eq!(manager_slice("0007-0123-0456-1"), Some(Some(7)));
        assert_eq!(manager_slice("0123-0456"), Some(None));
        assert_eq!(manager_slice("0001-vessel"), None);
    }

    #[test]
    fn organs_of_folders() {
        let of = ["Hearts", "LIVER", "placentae", "nerve", "Vessels"].map(organ_of_folder);
        assert_eq!(of, ["heart", "liver", "placenta", "nerve", "vessels"]);
    }
}
