//! To which sub-image a ROI belongs, by what its file's name, its own name and its stack position say (the rule of
//! `docs/data-layouts.md`).

use super::layout;
use super::names;
use super::source::Source;
use std::collections::BTreeSet;

/// What may say to which sub-image a ROI belongs.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// The file's name without extension; empty where it says nothing of sub-images.
    pub stem: String,
    /// The ROI's name in its archive, without extension.
    pub entry: String,
    /// The page that the ROI was drawn on.
    pub position: Option<usize>,
}

/// What was made of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// A number in a name, which counts from 0 or from 1.
    Name(usize),
    /// A stack position, which counts from 1.
    Position(usize),
}

/// The claims of an organ's ROIs, and a warning where names and positions contradict each other.
pub(super) fn claims(items: &[Evidence], series: &str, source: &Source) -> (Vec<Option<Claim>>, Option<String>) {
    let distinct: BTreeSet<usize> = items.iter().filter_map(|item| item.position).collect();
    // ImageJ may write 1 for all ROIs drawn on a picture without pages.
    let are_positions_used = distinct.iter().any(|&p| p > 1) || matches!(source, Source::Stack { .. });
    let positions: Vec<Option<usize>> = items.iter().map(|item| item.position.filter(|_| are_positions_used)).collect();
    let stems: Vec<String> = items.iter().map(|item| item.stem.clone()).collect();
    let entries: Vec<String> = items.iter().map(|item| layout::last_part(&item.entry)).collect();
    let valid = source.numbers();
    let is_number = |n: &usize| valid.contains(n) || valid.contains(&(n + 1));
    let by_file: Vec<Option<usize>> = by_names(&stems, series, &positions).into_iter().map(|n| n.filter(is_number)).collect();
    let by_entry = by_names(&entries, "", &positions);
    let do_files_vary = by_file.iter().flatten().collect::<BTreeSet<_>>().len() > 1;
    // One position for all ROIs of differently numbered files is where the user happened to be.
    let is_position_first = distinct.len() > 1 || !do_files_vary;
    let claim = |i: usize| {
        let (position, file) = (positions[i].map(Claim::Position), by_file[i].map(Claim::Name));
        let first = if is_position_first { position.or(file) } else { file.or(position) };
        first.or(by_entry[i].map(Claim::Name))
    };
    let warning = (is_position_first && do_files_vary).then(|| contradiction(items, &by_file, &positions)).flatten();
    ((0..items.len()).map(claim).collect(), warning)
}

/// The numbers that count sub-images in names: those that agree with the positions, those of our own names (`heart-s07-1`) and of the
/// ROI Manager's, else those that vary.
fn by_names(stems: &[String], context: &str, positions: &[Option<usize>]) -> Vec<Option<usize>> {
    let wide = |numbers: Vec<Option<u32>>| numbers.into_iter().map(|n| n.map(|n| n as usize)).collect();
    if let Some(numbers) = agreeing(stems, positions) {
        return numbers;
    }
    if !stems.is_empty() && stems.iter().all(|s| names::own_number(s).is_some()) {
        return wide(stems.iter().map(|s| names::own_number(s)).collect());
    }
    if stems.iter().all(|s| names::manager_slice(s).is_some()) {
        return wide(stems.iter().map(|s| names::manager_slice(s).flatten()).collect());
    }
    wide(names::varying_numbers(stems, context))
}

/// The numbers at the place in the names where they are the positions, counted from 1 or from 0.
fn agreeing(stems: &[String], positions: &[Option<usize>]) -> Option<Vec<Option<usize>>> {
    let numbers: Vec<Vec<u32>> = stems.iter().map(|s| names::numbers(s)).collect();
    let at = |i: usize, place: usize| numbers[i].get(place).map(|&n| n as usize);
    let n_places = numbers.iter().map(Vec::len).max().unwrap_or(0);
    let positioned: Vec<(usize, usize)> = positions.iter().enumerate().filter_map(|(i, p)| Some((i, (*p)?))).collect();
    let agrees = |place: &usize, first: usize| positioned.iter().all(|&(i, p)| at(i, *place).is_some_and(|n| n + first == p));
    let place = (0..n_places).find(|place| agrees(place, 0) || agrees(place, 1)).filter(|_| !positioned.is_empty())?;
    Some((0..stems.len()).map(|i| at(i, place)).collect())
}

fn contradiction(items: &[Evidence], by_file: &[Option<usize>], positions: &[Option<usize>]) -> Option<String> {
    let differs = |i: &usize| matches!((by_file[*i], positions[*i]), (Some(n), Some(p)) if n != p && n + 1 != p);
    let differing: Vec<usize> = (0..items.len()).filter(differs).collect();
    let &first = differing.first()?;
    Some(format!(
        "the stack positions of {} ROIs are not the numbers in their files' names (the first: {}, position {}); the positions are used",
        differing.len(),
        items[first].stem,
        positions[first].unwrap_or_default()
    ))
}

/// Whether names that claim `numbers` count from 0, given whether any name of the series claims 0.
pub(super) fn is_from_zero(claims: &[Option<Claim>], any_zero: bool, source: &Source) -> bool {
    let named = || claims.iter().flatten().filter_map(|claim| if let Claim::Name(n) = claim { Some(*n) } else { None });
    let would_leave = named().max().is_some_and(|n| !source.numbers().contains(&(n + 1)));
    source.is_from_zero() || any_zero && (named().any(|n| n == 0) || !would_leave)
}

/// The number of the sub-image that is claimed; it need not be there.
pub(super) fn resolve(claim: Claim, is_from_zero: bool, source: &Source) -> usize {
    match claim {
        Claim::Name(n) => n + usize::from(is_from_zero),
        // A folder that is opened as a stack has its pictures as pages, whatever their names.
        Claim::Position(p) => match source {
            Source::Folder { .. } => source.numbers().get(p.wrapping_sub(1)).copied().unwrap_or(p),
            _ => p,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(of: &[(&str, &str, usize)]) -> Vec<Evidence> {
        let item = |&(stem, entry, position): &(&str, &str, usize)| Evidence {
            stem: stem.to_owned(),
            entry: entry.to_owned(),
            position: Some(position).filter(|p| *p > 0),
        };
        of.iter().map(item).collect()
    }

    fn numbers(of: &[(&str, &str, usize)], pages: usize) -> Vec<usize> {
        let source = Source::Stack { file: "x.tif".into(), pages };
        let (claims, _) = claims(&items(of), "litter_02", &source);
        claims.into_iter().map(|claim| claim.map_or(0, |claim| resolve(claim, false, &source))).collect()
    }

    #[test]
    fn positions_that_vary_go_before_counters_in_names() {
        assert_eq!(numbers(&[("heart_1", "heart_1", 5), ("heart_2", "heart_2", 9)], 12), [5, 9]);
        assert_eq!(numbers(&[("RoiSet", "a", 3), ("RoiSet", "b", 4)], 12), [3, 4]);
    }

    #[test]
    fn one_position_for_all_is_used_where_names_do_not_contradict_it() {
        assert_eq!(numbers(&[("RoiSet", "heart-s07-1", 7), ("RoiSet", "heart-s07-2", 7)], 12), [7, 7]);
        assert_eq!(numbers(&[("RoiSet", "left", 9)], 12), [9]);
        // Every file was saved while page 3 of some other stack was shown.
        assert_eq!(numbers(&[("sub_01", "sub_01", 3), ("sub_05", "sub_05", 3)], 12), [1, 5]);
    }

    #[test]
    fn a_number_that_is_the_position_is_no_counter() {
        let loose = [("heart-s07-1", "", 7), ("heart-s07-2", "", 7), ("heart-s07-3", "", 7), ("heart-s08-1", "", 8)];
        assert_eq!(numbers(&loose, 12), [7, 7, 7, 8]);
    }

    #[test]
    fn our_own_names_say_the_sub_image_without_any_position() {
        assert_eq!(numbers(&[("RoiSet", "heart-s07-1", 0), ("RoiSet", "heart-s07-2", 0)], 12), [7, 7]);
        assert_eq!(numbers(&[("RoiSet", "heart-s11-1", 0)], 12), [11]);
    }

    #[test]
    fn positions_of_a_folder_are_its_files_in_order() {
        let files = ["img_01.png", "img_02.png", "img_04.png"].map(Into::into).to_vec();
        let source = Source::Folder { files };
        assert_eq!(resolve(Claim::Position(3), false, &source), 4);
        assert_eq!(resolve(Claim::Name(2), false, &source), 2);
        let source = Source::Folder { files: ["img_0.png", "img_1.png"].map(Into::into).to_vec() };
        assert!(is_from_zero(&[Some(Claim::Name(1))], false, &source));
    }

    #[test]
    fn names_count_from_zero_for_all_organs_or_for_none_that_would_leave() {
        let source = Source::Stack { file: "x.tif".into(), pages: 35 };
        let of = |n: usize| [Some(Claim::Name(n))];
        assert!(is_from_zero(&of(0), true, &source) && is_from_zero(&of(34), true, &source));
        assert!(!is_from_zero(&of(35), true, &source) && !is_from_zero(&of(3), false, &source));
    }

    #[test]
    fn contradictions_are_named() {
        let source = Source::Stack { file: "x.tif".into(), pages: 12 };
        let (_, warning) = claims(&items(&[("sub_01", "", 5), ("sub_02", "", 9)]), "x", &source);
        assert!(warning.is_some_and(|w| w.contains("2 ROIs") && w.contains("sub_01")));
    }
}
