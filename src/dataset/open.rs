//! Opening a data set, or the pictures given to `predict`.

use super::layout::{self, Candidate, Layout};
use super::manifest::{self, GridSpec, Manifest};
use super::{Annotation, Broken, Dataset, Series, Source, load, names, pair};
use crate::error::{Error, ErrorKind, Result};
use crate::image::read::is_picture;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Dataset {
    /// Finds the layout, the series and their annotations; reads `dataset.toml` if there is one. `path` is the data folder, or a TOML
    /// file with a `root`, for folders that cannot be written to. Reads the pixels of composites only, to find their grids.
    ///
    /// A series whose coordinates are ambiguous has no annotations, and is named in [`Dataset::broken`].
    ///
    /// # Errors
    /// If nothing that looks like a data set is there, or if `dataset.toml` is wrong.
    pub fn open(path: &Path) -> Result<Dataset> {
        let (root, manifest) = root_and_manifest(path)?;
        let found = layout::find(&root, &manifest)?;
        check_series_names(&root, &found.candidates, &manifest)?;
        let mut dataset =
            Dataset { root, layout: found.layout, series: Vec::new(), warnings: found.warnings, broken: Vec::new() };
        for candidate in found.candidates {
            dataset.add(candidate, &manifest);
        }
        check_organs(&mut dataset);
        Ok(dataset)
    }

    fn add(&mut self, candidate: Candidate, manifest: &Manifest) {
        let given = match self.layout {
            // Listed pictures are sub-images unless a grid is given.
            Layout::Listed => Some(manifest.grid_of(&candidate.name).unwrap_or(GridSpec { rows: 1, columns: 1, border: 0 })),
            _ => manifest.grid_of(&candidate.name),
        };
        let (source, source_reason) = match source_of(&candidate.pictures, given) {
            Ok(found) => found,
            Err(error) => {
                self.broken.push(Broken { organ: None, text: error.to_string() });
                return;
            }
        };
        let given = manifest.coordinates_of(&candidate.name);
        let paired = pair::pair(&candidate.name, &source, &candidate.organs, given);
        let is_ambiguous = paired.is_err();
        let paired = paired.unwrap_or_else(|error| pair::Paired {
            reason: "ambiguous: the annotations are not used until dataset.toml says how they are meant".to_owned(),
            broken: vec![Broken { organ: None, text: error.to_string() }],
            ..pair::Paired::default()
        });
        let mut annotations: BTreeMap<String, Annotation> =
            paired.organs.into_iter().map(|(organ, rois)| (organ, Annotation::Rois(rois))).collect();
        for (organ, spec) in manifest.organ.iter().filter(|(_, spec)| spec.mask.is_some()) {
            // No mask at all means: not annotated; some missing means: not visible there.
            if load::mask_paths(&self.root, spec, &candidate.name, &source).iter().any(|path| path.exists()) {
                annotations.insert(organ.clone(), Annotation::Masks { spec: spec.clone(), root: self.root.clone() });
            }
        }
        let mut warnings = candidate.warnings;
        warnings.extend(paired.warnings);
        self.broken.extend(paired.broken);
        self.series.push(Series {
            name: candidate.name,
            source,
            source_reason,
            annotations,
            coordinates: paired.coordinates,
            coordinates_reason: paired.reason,
            is_ambiguous,
            warnings,
        });
    }
}

/// The data folder and what its `dataset.toml` says.
fn root_and_manifest(path: &Path) -> Result<(PathBuf, Manifest)> {
    if path.is_file() {
        if path.extension().is_none_or(|e| e != "toml") {
            return Err(Error::data(path, "expected a data folder or a dataset.toml, found another file")
                .remedy("give the folder that holds the series"));
        }
        let manifest = Manifest::read(path)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        return Ok((manifest.root.as_ref().map_or(folder.clone(), |root| folder.join(root)), manifest));
    }
    if !path.is_dir() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::io(ErrorKind::Data, path, "open the data folder", missing).remedy("check the path given as data"));
    }
    let file = path.join(manifest::FILE_NAME);
    let manifest = if file.is_file() { Manifest::read(&file)? } else { Manifest::default() };
    Ok((manifest.root.as_ref().map_or(path.to_path_buf(), |root| path.join(root)), manifest))
}

/// What a series' pictures are: one is looked into, several are its sub-images.
fn source_of(pictures: &[PathBuf], given: Option<GridSpec>) -> Result<(Source, String)> {
    match pictures {
        [picture] => Source::of_picture(picture, given),
        _ => Ok((Source::Folder { files: pictures.to_vec() }, format!("{} pictures in a folder", pictures.len()))),
    }
}

/// A series named in `dataset.toml` must be there.
fn check_series_names(root: &Path, candidates: &[Candidate], manifest: &Manifest) -> Result<()> {
    for name in manifest.series.keys() {
        let known = || candidates.iter().map(|c| c.name.as_str());
        if !known().any(|k| k == name) {
            let error = Error::data(root, format!("dataset.toml describes the series {name}, which is not there"));
            return Err(match manifest::closest(name, known()) {
                Some(similar) => error.remedy(format!("did you mean [series.{similar}]?")),
                None => error.remedy("correct or remove that section"),
            });
        }
    }
    Ok(())
}

/// Says which series lack an organ that others have.
fn check_organs(dataset: &mut Dataset) {
    let organs = dataset.organs();
    for series in dataset.series.iter().filter(|s| !s.is_ambiguous) {
        let missing: Vec<&str> = organs.iter().filter(|o| !series.annotations.contains_key(*o)).map(String::as_str).collect();
        if !missing.is_empty() {
            dataset.warnings.push(format!("{}: not annotated for {}: left out for it", series.name, missing.join(", ")));
        }
    }
}

/// Finds the series in an input of `predict`: a composite, a stack, a folder of pictures, a folder of series, or a single picture. The
/// grid of composites is `grid`, else what a `dataset.toml` in the folder or above it says, else found in the pixels.
///
/// # Errors
/// If there is no picture, or if it cannot be read.
pub fn open_input(path: &Path, grid: Option<GridSpec>) -> Result<Vec<Series>> {
    if !path.exists() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::io(ErrorKind::Data, path, "open the input", missing));
    }
    let is_toml = path.is_file() && path.extension().is_some_and(|e| e == "toml");
    let manifest = if is_toml { Manifest::read(path)? } else { nearest_manifest(path)? };
    let is_own = is_toml || path.join(manifest::FILE_NAME).is_file();
    if is_toml || is_own && (manifest.images.is_some() || manifest.root.is_some()) {
        return Ok(Dataset::open(path)?.series);
    }
    let opener = Opener { manifest, grid };
    if path.is_file() {
        return Ok(vec![opener.picture(path)?]);
    }
    let listing = layout::list(path)?;
    if layout::is_annotated_series(path, &opener.manifest)? {
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let name = names::file_name(&full);
        return Ok(vec![opener.series(&name, &layout::pictures_of_series(path, &opener.manifest)?, &name)?]);
    }
    if listing.files.iter().any(|f| is_picture(f)) {
        return opener.pictures(path, &layout::pictures_of_series(path, &opener.manifest)?);
    }
    let mut series = Vec::new();
    for folder in listing.folders.iter().filter(|folder| !layout::is_for_masks(path, folder, &opener.manifest)) {
        let pictures = layout::pictures_of_series(folder, &opener.manifest)?;
        if !pictures.is_empty() {
            // The folder's name says which series it is, the error which of its pictures cannot be read.
            let name = names::file_name(folder);
            series.push(opener.series(&name, &pictures, &name).unwrap_or_else(|_| unread(name, &pictures[0])));
        }
    }
    if series.is_empty() {
        return Err(
            Error::data(path, "expected PNG, TIFF or JPEG pictures, or folders of them, found none").remedy("check the path")
        );
    }
    Ok(series)
}

/// The `dataset.toml` that describes `path`: in the folder itself, its parent, or (of a file) the parent's parent.
fn nearest_manifest(path: &Path) -> Result<Manifest> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let files = full.ancestors().skip(usize::from(path.is_file())).take(2).map(|folder| folder.join(manifest::FILE_NAME));
    files.into_iter().find(|file| file.is_file()).map_or(Ok(Manifest::default()), |file| Manifest::read(&file))
}

/// Opens pictures without annotations.
struct Opener {
    manifest: Manifest,
    grid: Option<GridSpec>,
}

impl Opener {
    /// A series of `pictures`; `folder` is the name by which `dataset.toml` may know it, too.
    fn series(&self, name: &str, pictures: &[PathBuf], folder: &str) -> Result<Series> {
        let named = |name: &str| self.manifest.series.get(name).and_then(|series| series.grid);
        let given = self.grid.or_else(|| named(name)).or_else(|| named(folder)).or(self.manifest.grid);
        let (source, source_reason) = source_of(pictures, given)?;
        Ok(series(name.to_owned(), source, source_reason))
    }

    fn picture(&self, file: &Path) -> Result<Series> {
        let full = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
        let folder = full.parent().map(names::file_name).unwrap_or_default();
        self.series(&picture_name(file), std::slice::from_ref(&file.to_path_buf()), &folder)
    }

    /// Pictures in one folder: a stack or a composite is a series by itself, single pictures are one series together.
    fn pictures(&self, folder: &Path, pictures: &[PathBuf]) -> Result<Vec<Series>> {
        if let [picture] = pictures {
            return Ok(vec![self.picture(picture)?]);
        }
        let mut several = Vec::new();
        let mut singles = Vec::new();
        for picture in pictures {
            match self.picture(picture) {
                Ok(series) if !matches!(series.source, Source::Single { .. }) => several.push(series),
                // What cannot be read is named when the series is read.
                Ok(_) | Err(_) => singles.push(picture.clone()),
            }
        }
        if !singles.is_empty() {
            let full = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
            let name = names::file_name(&full);
            several.push(match &singles[..] {
                [only] => self.picture(only).unwrap_or_else(|_| unread(picture_name(only), only)),
                _ => self.series(&name, &singles, &name)?,
            });
        }
        Ok(several)
    }
}

/// A series whose picture cannot be read, among others that can: reading its sub-images says so, and the rest goes on.
fn unread(name: String, picture: &Path) -> Series {
    series(name, Source::Single { file: picture.to_path_buf() }, "cannot be read".to_owned())
}

/// The name of a series that is one picture: the file's, or its folder's if the file's says nothing (`composite.tif`).
fn picture_name(file: &Path) -> String {
    let stem = names::stem(file);
    if !["composite", "montage", "stack", "image"].contains(&stem.to_lowercase().as_str()) {
        return stem;
    }
    let full = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    full.parent().map(names::file_name).filter(|name| !name.is_empty()).unwrap_or(stem)
}

fn series(name: String, source: Source, source_reason: String) -> Series {
    Series {
        name,
        source,
        source_reason,
        annotations: BTreeMap::new(),
        coordinates: None,
        coordinates_reason: String::new(),
        is_ambiguous: false,
        warnings: Vec::new(),
    }
}
