//! `dataset.toml`: what the user says about a data set, over what would be inferred. The keys are documented in
//! `docs/data-layouts.md`.

use crate::error::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The name of the file in a data folder.
pub const FILE_NAME: &str = "dataset.toml";

/// Where the coordinates of ROIs start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coordinates {
    /// At the composite's top-left corner.
    Composite,
    /// At each sub-image's own top-left corner.
    SubImage,
}

/// Rows and columns as given by the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct GridSpec {
    pub rows: usize,
    pub columns: usize,
    #[serde(default)]
    pub border: usize,
}

/// How pictures listed by `images` become series.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Group {
    /// `"each"`: every picture is a series; `"all"`: all pictures are one.
    Named(String),
    /// This many consecutive pictures are one series.
    Count(usize),
}

/// How a mask picture holds several instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskInstances {
    /// Connected components (8 neighbours) of the pixels that count.
    #[default]
    Components,
    /// Every value but 0 is an instance.
    Values,
}

/// `[organ.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct OrganSpec {
    /// The organ folder's name in each series.
    pub folder: Option<String>,
    /// Lab layout: a ROI file belongs to the organ when its name contains this; the organ's name if not given.
    pub word: Option<String>,
    /// Mask pictures in place of ROIs: a path below the root with `{series}`, `{stem}` and `{number}`.
    pub mask: Option<String>,
    /// The value of the organ's pixels in a mask; every value but 0 if not given.
    pub value: Option<u32>,
    #[serde(default)]
    pub instances: MaskInstances,
}

/// `[series.NAME]`: overrides for one series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SeriesSpec {
    pub grid: Option<GridSpec>,
    pub coordinates: Option<Coordinates>,
}

/// Which layout a data folder has, as given by the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayoutSpec {
    /// A folder per series.
    Series,
    /// Images with RoiSets.
    Lab,
}

/// A whole `dataset.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// The data folder, if the file lies elsewhere; relative to the file.
    pub root: Option<PathBuf>,
    /// A folder of pictures below the root: the list of pictures is given, no layout is inferred.
    pub images: Option<PathBuf>,
    pub group: Option<Group>,
    pub layout: Option<LayoutSpec>,
    pub grid: Option<GridSpec>,
    pub coordinates: Option<Coordinates>,
    #[serde(default)]
    pub organ: BTreeMap<String, OrganSpec>,
    #[serde(default)]
    pub series: BTreeMap<String, SeriesSpec>,
}

const TOP_KEYS: [&str; 8] = ["root", "images", "group", "layout", "grid", "coordinates", "organ", "series"];
const GRID_KEYS: [&str; 3] = ["rows", "columns", "border"];
const ORGAN_KEYS: [&str; 5] = ["folder", "word", "mask", "value", "instances"];
const SERIES_KEYS: [&str; 2] = ["grid", "coordinates"];

impl Manifest {
    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or has unknown keys or wrong values.
    pub fn read(path: &Path) -> Result<Manifest> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(ErrorKind::Data, path, "read dataset.toml", e))?;
        Manifest::parse(&text).map_err(|e| e.at(path))
    }

    fn parse(text: &str) -> Result<Manifest> {
        let wrong = |e: toml::de::Error| {
            Error::new(
                ErrorKind::Data,
                format!("expected a dataset.toml as in docs/data-layouts.md: {}", e.to_string().trim_end()),
            )
        };
        let table: Table = text.parse().map_err(wrong)?;
        check_all_keys(&table)?;
        let manifest: Manifest = Value::Table(table).try_into().map_err(wrong)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(ErrorKind::Data, what));
        match &self.group {
            Some(Group::Named(name)) if name != "each" && name != "all" => {
                return wrong(format!("expected group = \"each\", \"all\" or a number of pictures, found \"{name}\""));
            }
            Some(Group::Count(0)) => return wrong("expected group of at least 1 picture, found 0".to_owned()),
            Some(_) if self.images.is_none() => {
                return wrong("group says how the pictures of images become series, but images is not given".to_owned());
            }
            _ => {}
        }
        let grids = self.grid.iter().chain(self.series.values().filter_map(|s| s.grid.as_ref()));
        for grid in grids {
            if grid.rows == 0 || grid.columns == 0 || grid.rows > 1000 || grid.columns > 1000 {
                return wrong(format!("expected a grid of 1 to 1000 rows and columns, found {} x {}", grid.rows, grid.columns));
            }
            if grid.border > 1000 {
                return wrong(format!("expected a border of at most 1000 pixels, found {}", grid.border));
            }
        }
        for (name, organ) in &self.organ {
            if organ.mask.is_some() && (organ.folder.is_some() || organ.word.is_some()) {
                return wrong(format!("[organ.{name}] has both a mask and ROI files (folder, word); give one of them"));
            }
            if organ.mask.is_none() && organ.value.is_some() {
                return wrong(format!("[organ.{name}] has a value but no mask"));
            }
        }
        Ok(())
    }

    /// The grid given for a series.
    pub fn grid_of(&self, series: &str) -> Option<GridSpec> {
        self.series.get(series).and_then(|s| s.grid).or(self.grid)
    }

    /// The coordinates given for a series.
    pub fn coordinates_of(&self, series: &str) -> Option<Coordinates> {
        self.series.get(series).and_then(|s| s.coordinates).or(self.coordinates)
    }
}

fn check_all_keys(table: &Table) -> Result<()> {
    check_keys(table, "", &TOP_KEYS)?;
    check_child(table, "grid", &GRID_KEYS)?;
    for (section, known) in [("organ", &ORGAN_KEYS[..]), ("series", &SERIES_KEYS[..])] {
        let Some(Value::Table(entries)) = table.get(section) else { continue };
        for (name, entry) in entries {
            let Value::Table(entry) = entry else { continue };
            check_keys(entry, &format!("{section}.{name}."), known)?;
            check_child(entry, "grid", &GRID_KEYS)?;
        }
    }
    Ok(())
}

fn check_child(table: &Table, key: &str, known: &[&str]) -> Result<()> {
    match table.get(key) {
        Some(Value::Table(child)) => check_keys(child, &format!("{key}."), known),
        _ => Ok(()),
    }
}

fn check_keys(table: &Table, prefix: &str, known: &[&str]) -> Result<()> {
    let Some(key) = table.keys().find(|k| !known.contains(&k.as_str())) else { return Ok(()) };
    let error = Error::new(ErrorKind::Data, format!("unknown key {prefix}{key}; known here: {}", known.join(", ")));
    Err(match closest(key, known.iter().copied()) {
        Some(similar) => error.remedy(format!("did you mean {prefix}{similar}?")),
        None => error,
    })
}

/// The name most like `name`, if one is like it.
pub fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|k| (strsim::jaro_winkler(&name.to_lowercase(), &k.to_lowercase()), k));
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_read() {
        let text = r#"
            root = "/data/usgra"
            images = "images"
            group = 35
            coordinates = "sub-image"
            grid = { rows = 5, columns = 7, border = 2 }
            [organ.nerve]
            mask = "masks/{stem}.png"
            value = 1
            instances = "components"
            [series.odd]
            grid = { rows = 7, columns = 5 }
            coordinates = "composite"
        "#;
        let manifest = Manifest::parse(text).unwrap();
        assert_eq!(manifest.group, Some(Group::Count(35)));
        assert_eq!(manifest.grid_of("odd").unwrap().rows, 7);
        assert_eq!(manifest.grid_of("other").unwrap().border, 2);
        assert_eq!(manifest.coordinates_of("odd"), Some(Coordinates::Composite));
        assert_eq!(manifest.organ["nerve"].value, Some(1));
    }

    #[test]
    fn mistakes_are_named_with_a_suggestion() {
        let cases = [
            ("colums = 3", "unknown key colums"),
            ("[grid]\nrow = 3\ncolumns = 4", "did you mean grid.rows?"),
            ("[organ.heart]\nmaks = \"x\"", "did you mean organ.heart.mask?"),
            ("[series.a]\ncoordinate = \"composite\"", "did you mean series.a.coordinates?"),
            ("coordinates = \"both\"", "unknown variant"),
            ("[grid]\nrows = 0\ncolumns = 4", "found 0 x 4"),
            ("group = \"every\"\nimages = \"i\"", "found \"every\""),
            ("group = \"all\"", "images is not given"),
            ("[organ.a]\nvalue = 1", "no mask"),
            ("this is no toml", "docs/data-layouts.md"),
        ];
        for (text, expected) in cases {
            let error = Manifest::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave: {error}");
        }
    }
}
