//! Splits by whole series, written once, by seed.

use super::cache::hex;
use super::{Sample, manifest, names};
use crate::error::{Error, ErrorKind, Result};
use crate::random::{Philox, Purpose};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Which part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    Train,
    Val,
    Test,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Train => "training",
            Part::Val => "validation",
            Part::Test => "test",
        }
    }
}

/// How to split.
#[derive(Clone, Debug, Default)]
pub struct SplitOptions {
    pub seed: u64,
    /// Series named by the user as test set (`--test-series`).
    pub test_series: Vec<String>,
    /// Series named by the user as validation set (`--val-series`).
    pub val_series: Vec<String>,
    /// Split by single sub-images instead of whole series.
    pub by_image: bool,
}

/// A split, as written to `splits.json`. Members are series names, or `series#sub-image` when split by image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Splits {
    pub train: Vec<String>,
    pub val: Vec<String>,
    pub test: Vec<String>,
    pub by_image: bool,
    pub seed: u64,
    /// Hexadecimal digests of all sub-images used in training or validation (without those of one intensity): what `evaluate` refuses to
    /// be fooled by.
    pub seen: Vec<String>,
    /// Hexadecimal digest of what is annotated in them: a run goes on only with the same; absent in files of older versions.
    #[serde(default)]
    pub annotations: Option<String>,
}

/// SHA-256, in hexadecimal, of the instances annotated in `samples`, whatever the order of the samples, and of the instances in each.
pub fn annotations_digest<'a>(samples: impl Iterator<Item = &'a Sample>) -> String {
    let mut samples: Vec<&Sample> = samples.collect();
    samples.sort_by(|a, b| (&a.series, a.sub_image).cmp(&(&b.series, b.sub_image)));
    let mut hash = Sha256::new();
    for sample in samples {
        hash.update((sample.series.len() as u64).to_le_bytes());
        hash.update(&sample.series);
        hash.update((sample.sub_image as u64).to_le_bytes());
        hash.update((sample.instances.len() as u64).to_le_bytes());
        let mut masks: Vec<_> = sample.instances.iter().map(|mask| Sha256::digest(mask.pixels())).collect();
        masks.sort_unstable();
        masks.iter().for_each(|mask| hash.update(mask));
    }
    hex(&hash.finalize())
}

impl Splits {
    /// Splits `samples`: test = max(1, round(n / 5)) series, validation likewise of the rest. Series named by the user are taken as
    /// they are, and the other parts are drawn from what remains.
    ///
    /// # Errors
    /// With fewer than 3 series (names `--split-by image`); if the same picture lies in two parts; if a named series is unknown.
    pub fn make(samples: &[Sample], options: &SplitOptions) -> Result<Splits> {
        let members = members_of(samples, options.by_image);
        if members.len() < 3 {
            return Err(too_few(members.len(), options.by_image));
        }
        let test = named(&options.test_series, &members, options.by_image, "--test-series")?;
        let val = named(&options.val_series, &members, options.by_image, "--val-series")?;
        if let Some(both) = test.iter().find(|m| val.contains(m)) {
            return Err(Error::usage(format!("{both} is named by both --test-series and --val-series")).remedy("name it once"));
        }
        let mut rest: Vec<String> = members.into_iter().filter(|m| !test.contains(m) && !val.contains(m)).collect();
        Philox::new(options.seed, 0, 0, Purpose::Split).shuffle(&mut rest);
        let test = if test.is_empty() { draw(&mut rest) } else { test };
        let val = if val.is_empty() { draw(&mut rest) } else { val };
        if rest.is_empty() {
            return Err(Error::usage("no series is left to train on").remedy("name fewer series as test and validation sets"));
        }
        rest.sort_by(|a, b| names::natural_order(a, b));
        let mut splits = Splits {
            train: rest,
            val,
            test,
            by_image: options.by_image,
            seed: options.seed,
            seen: Vec::new(),
            annotations: None,
        };
        splits.refuse_leaks(samples)?;
        let mut seen: Vec<String> = samples
            .iter()
            .filter(|s| matches!(splits.part_of(s), Some(Part::Train | Part::Val)) && !s.is_blank())
            .map(|s| hex(&s.digest))
            .collect();
        seen.sort();
        seen.dedup();
        splits.seen = seen;
        let is_used = |s: &&Sample| matches!(splits.part_of(s), Some(Part::Train | Part::Val));
        splits.annotations = Some(annotations_digest(samples.iter().filter(is_used)));
        Ok(splits)
    }

    /// The test sets of a cross-validation: `k` parts of the members, as equal as can be, each member in one. The order is by seed.
    ///
    /// # Errors
    /// If there are too few members: besides its test set, each training needs one to train on and one to validate.
    pub fn folds(samples: &[Sample], options: &SplitOptions, k: usize) -> Result<Vec<Vec<String>>> {
        let mut members = members_of(samples, options.by_image);
        let n = members.len();
        let largest = n.div_ceil(k.max(1));
        if k < 2 || k > n || n - largest < 2 {
            let unit = if options.by_image { "pictures" } else { "annotated series" };
            return Err(Error::usage(format!("--folds {k}: {n} {unit} cannot be split like that"))
                .remedy(format!("use 2 to {n} folds, and at least 4 {unit} for 2 folds, 3 for 3")));
        }
        Philox::new(options.seed, 0, 0, Purpose::Split).shuffle(&mut members);
        let mut folds: Vec<Vec<String>> = vec![Vec::new(); k];
        members.into_iter().enumerate().for_each(|(i, member)| folds[i % k].push(member));
        folds.iter_mut().for_each(|fold| fold.sort_by(|a, b| names::natural_order(a, b)));
        Ok(folds)
    }

    /// The part that a sample belongs to; `None` if it is not in the split.
    pub fn part_of(&self, sample: &Sample) -> Option<Part> {
        let member = member_of(sample, self.by_image);
        let parts = [(Part::Train, &self.train), (Part::Val, &self.val), (Part::Test, &self.test)];
        parts.into_iter().find(|(_, members)| members.contains(&member)).map(|(part, _)| part)
    }

    /// The same picture in two parts makes the numbers of the later one worthless.
    fn refuse_leaks(&self, samples: &[Sample]) -> Result<()> {
        let mut first_of: HashMap<[u8; 32], (&Sample, Part)> = HashMap::new();
        for sample in samples.iter().filter(|s| !s.is_blank()) {
            let Some(part) = self.part_of(sample) else { continue };
            let (first, first_part) = first_of.entry(sample.digest).or_insert((sample, part));
            if *first_part != part {
                let name = |s: &Sample, p: Part| format!("{}, sub-image {} ({})", s.series, s.sub_image, p.name());
                let message = format!(
                    "the same picture lies in two parts of the split: {} and {}",
                    name(first, *first_part),
                    name(sample, part)
                );
                return Err(Error::new(ErrorKind::Data, message)
                    .remedy("take one of them out, or put both series into one part with --test-series or --val-series"));
            }
        }
        Ok(())
    }
}

/// The members that are split, in natural order, each once.
fn members_of(samples: &[Sample], by_image: bool) -> Vec<String> {
    let mut members: Vec<String> = samples.iter().map(|s| member_of(s, by_image)).collect();
    members.sort_by(|a, b| names::natural_order(a, b));
    members.dedup();
    members
}

fn member_of(sample: &Sample, by_image: bool) -> String {
    if by_image { format!("{}#{}", sample.series, sample.sub_image) } else { sample.series.clone() }
}

/// The members that the user names; a series stands for all of its sub-images.
fn named(wanted: &[String], members: &[String], by_image: bool, option: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in wanted {
        let is_meant = |m: &&String| *m == name || by_image && m.rsplit_once('#').is_some_and(|(series, _)| series == name);
        let meant: Vec<String> = members.iter().filter(is_meant).cloned().collect();
        if meant.is_empty() {
            let error =
                Error::usage(format!("{option} names {name}, which is no annotated series; there are {}", members.join(", ")));
            return Err(match manifest::closest(name, members.iter().map(String::as_str)) {
                Some(similar) => error.remedy(format!("did you mean {similar}?")),
                None => error,
            });
        }
        found.extend(meant);
    }
    found.sort_by(|a, b| names::natural_order(a, b));
    found.dedup();
    Ok(found)
}

/// Draws max(1, round(n / 5)) members from the end.
fn draw(rest: &mut Vec<String>) -> Vec<String> {
    let n = ((rest.len() + 2) / 5).max(1).min(rest.len());
    let mut drawn = rest.split_off(rest.len() - n);
    drawn.sort_by(|a, b| names::natural_order(a, b));
    drawn
}

fn too_few(n: usize, by_image: bool) -> Error {
    if by_image {
        return Error::new(ErrorKind::Data, format!("training, validation and test need at least 3 pictures, found {n}"));
    }
    Error::new(ErrorKind::Data, format!("training, validation and test need at least 3 annotated series, found {n}")).remedy(
        "annotate more series, or split by single pictures with --split-by image (pictures of one series resemble each other: expect too good numbers)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Gray;

    fn samples(n_series: usize) -> Vec<Sample> {
        let make = |series: usize, sub_image: usize| {
            let mut digest = [0; 32];
            (digest[0], digest[1]) = (series as u8, sub_image as u8);
            let image = Gray::new(2, 1, vec![0.0, 1.0]);
            Sample { series: format!("s{series}"), sub_image, image, instances: Vec::new(), digest }
        };
        (1..=n_series).flat_map(|s| (1..=4).map(move |i| make(s, i))).collect()
    }

    #[test]
    fn sizes_follow_the_rule_and_the_parts_are_disjoint() {
        for (n, n_test, n_val) in [(3, 1, 1), (4, 1, 1), (7, 1, 1), (8, 2, 1), (13, 3, 2), (25, 5, 4)] {
            let splits = Splits::make(&samples(n), &SplitOptions::default()).unwrap();
            assert_eq!((splits.test.len(), splits.val.len()), (n_test, n_val), "{n} series");
            let mut all = [splits.train.clone(), splits.val.clone(), splits.test.clone()].concat();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), n);
            assert_eq!(splits.seen.len(), 4 * (n - n_test));
        }
    }

    #[test]
    fn the_seed_decides() {
        let of = |seed| Splits::make(&samples(25), &SplitOptions { seed, ..SplitOptions::default() }).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1).test, of(2).test);
    }

    #[test]
    fn named_series_are_taken_and_unknown_ones_refused() {
        let options = |test: &str, val: &str| SplitOptions {
            test_series: vec![test.to_owned()],
            val_series: vec![val.to_owned()],
            ..SplitOptions::default()
        };
        let splits = Splits::make(&samples(5), &options("s2", "s5")).unwrap();
        assert_eq!((splits.test, splits.val), (vec!["s2".to_owned()], vec!["s5".to_owned()]));
        assert_eq!(splits.train, ["s1", "s3", "s4"]);
        let error = Splits::make(&samples(12), &options("s13", "s5")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("did you mean"), "{error}");
        assert!(Splits::make(&samples(5), &options("s2", "s2")).is_err());
    }

    #[test]
    fn two_series_need_a_split_by_image() {
        let error = Splits::make(&samples(2), &SplitOptions::default()).unwrap_err().to_string();
        assert!(error.contains("--split-by image"), "{error}");
        let splits = Splits::make(&samples(2), &SplitOptions { by_image: true, ..SplitOptions::default() }).unwrap();
        assert_eq!(splits.train.len() + splits.val.len() + splits.test.len(), 8);
        assert!(splits.train[0].contains('#'));
    }

    #[test]
    fn the_same_picture_in_two_parts_is_refused() {
        let mut leaking = samples(5);
        leaking[19].digest = leaking[0].digest;
        let options =
            SplitOptions { test_series: vec!["s5".to_owned()], val_series: vec!["s4".to_owned()], ..SplitOptions::default() };
        let error = Splits::make(&leaking, &options).unwrap_err().to_string();
        assert!(error.contains("s1, sub-image 1") && error.contains("s5, sub-image 4"), "{error}");
        let together = SplitOptions { test_series: vec!["s1".to_owned(), "s5".to_owned()], ..options };
        assert!(Splits::make(&leaking, &together).is_ok());
    }

    #[test]
    fn every_series_is_in_one_fold() {
        let all = samples(7);
        let folds = Splits::folds(&all, &SplitOptions::default(), 3).unwrap();
        assert_eq!(folds.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 2]);
        let mut members: Vec<&String> = folds.iter().flatten().collect();
        members.sort();
        assert_eq!(members, ["s1", "s2", "s3", "s4", "s5", "s6", "s7"]);
        for (n, k, works) in [(3, 3, true), (3, 2, false), (4, 2, true), (4, 5, false), (5, 1, false)] {
            assert_eq!(Splits::folds(&samples(n), &SplitOptions::default(), k).is_ok(), works, "{n} series, {k} folds");
        }
    }

    /// Frames without a picture are the same in all series, and give nothing away.
    #[test]
    fn blank_pictures_are_no_leak() {
        let mut all = samples(5);
        for sample in all.iter_mut().filter(|s| s.sub_image == 2) {
            sample.image.pixels.fill(0.0);
            sample.digest = [0; 32];
        }
        let splits = Splits::make(&all, &SplitOptions::default()).unwrap();
        assert_eq!(splits.seen.len(), 12);
    }

    #[test]
    fn annotations_are_compared_whatever_their_order() {
        let mask = |x: usize| crate::geometry::Mask::from_pixels(2, 1, vec![u8::from(x == 0), u8::from(x == 1)]);
        let mut all = samples(2);
        all[0].instances = vec![mask(0), mask(1)];
        let digest = |samples: &[Sample]| annotations_digest(samples.iter());
        let first = digest(&all);
        all[0].instances.reverse();
        all.reverse();
        assert_eq!(digest(&all), first);
        let last = all.len() - 1;
        all[last].instances.pop();
        assert_ne!(digest(&all), first);
        all[last - 1].instances = vec![mask(0)];
        assert_ne!(digest(&all), first, "the same mask in another sub-image");
    }

    #[test]
    fn what_was_seen_is_refused() {
        let all = samples(5);
        let splits = Splits::make(&all, &SplitOptions::default()).unwrap();
        let test: Vec<&Sample> = all.iter().filter(|s| splits.part_of(s) == Some(Part::Test)).collect();
        let is_seen = |s: &&Sample| splits.seen.contains(&hex(&s.digest));
        assert!(!test.is_empty() && !test.iter().any(is_seen));
        assert_eq!(all.iter().filter(is_seen).count(), 16);
        let text = serde_json::to_string(&splits).unwrap();
        assert_eq!(serde_json::from_str::<Splits>(&text).unwrap(), splits);
    }
}
