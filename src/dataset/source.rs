//! Where a series' sub-images are stored, and reading them.

use super::manifest::GridSpec;
use super::names;
use crate::error::{Error, Result};
use crate::image::grid::{self, Grid};
use crate::image::{Gray, read};
use std::path::{Path, PathBuf};

/// How a series' sub-images are stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// One picture, cut by a grid.
    Composite { file: PathBuf, grid: Grid },
    /// A multi-page TIFF.
    Stack { file: PathBuf, pages: usize },
    /// A folder of pictures, in natural order of their names.
    Folder { files: Vec<PathBuf> },
    /// One picture that is one sub-image.
    Single { file: PathBuf },
}

/// A grid that was found with less confidence than this is no grid: single pictures have chance edges, too. None of the real frames in
/// the tests reaches this, while their composites are found with 0.8 and more, synthetic ones with 0.6 and more.
const CERTAIN_GRID: f32 = 0.4;
/// A picture that is called a composite is believed to be one when the pixels speak for a grid at all: small, noisy sub-images show little.
const CERTAIN_GRID_OF_NAMED: f32 = 0.02;
/// A picture of more pixels than this is larger than what most ultrasound machines show at once (1280 x 1024).
const LARGE_PICTURE: usize = 1_500_000;

impl Source {
    /// What a picture file is (a stack, a composite, or a single sub-image), and how that was found out.
    ///
    /// # Errors
    /// If it cannot be read, or if `given` does not fit into it.
    pub fn of_picture(file: &Path, given: Option<GridSpec>) -> Result<(Source, String)> {
        let file = file.to_path_buf();
        let pages = read::page_count(&file)?;
        if pages > 1 {
            let unused = if given.is_some() { "; a stack is not cut: the given grid is not used" } else { "" };
            return Ok((Source::Stack { file, pages }, format!("{pages} pages{unused}")));
        }
        if let Some(GridSpec { rows: 1, columns: 1, .. }) = given {
            return Ok((Source::Single { file }, "as given".to_owned()));
        }
        let picture = read::read(&file)?;
        let Some(GridSpec { rows, columns, border }) = given else {
            let found = grid::detect(&picture);
            let is_single = found.grid.origins.len() == 1;
            let certain = if names::says_composite(&file) { CERTAIN_GRID_OF_NAMED } else { CERTAIN_GRID };
            if !is_single && found.confidence >= certain {
                return Ok((Source::Composite { file, grid: found.grid }, found.reason));
            }
            let guess = &found.grid;
            let doubt =
                format!("no grid stands out (the best guess: {} x {} cells, {})", guess.rows, guess.columns, found.reason);
            let reason = if is_single { found.reason } else { doubt };
            let reason = reason + &suspicion(&file, &picture);
            return Ok((Source::Single { file }, reason));
        };
        let Some(mut grid) = Grid::regular([picture.width, picture.height], rows, columns, border) else {
            let message = format!(
                "{rows} x {columns} cells with {border} px between them do not fit into {} x {} pixels",
                picture.width, picture.height
            );
            return Err(Error::data(&file, message).remedy("correct grid in dataset.toml, or --grid"));
        };
        grid.find_blanks(&picture);
        let (first, last) = (grid.origins[0], grid.origins[grid.origins.len() - 1]);
        // Behind the last cell there is as much as before the first: nothing, or a border around the picture.
        let has_rest = |axis: usize| [picture.width, picture.height][axis] - last[axis] - grid.cell[axis] != first[axis];
        let rest = if has_rest(0) || has_rest(1) { ", which leaves a rest: check rows, columns and border" } else { "" };
        Ok((Source::Composite { file, grid }, format!("as given{rest}")))
    }

    /// What it is, in words: `composite, 5 rows x 7 columns of 224 x 224 px, border 2 px`.
    pub fn describe(&self) -> String {
        match self {
            Source::Composite { grid, .. } => {
                let Grid { rows, columns, cell: [width, height], border, .. } = grid;
                let blank: Vec<String> = grid.blank.iter().map(|cell| (cell + 1).to_string()).collect();
                let blank = if blank.is_empty() { String::new() } else { format!(", blank: {}", blank.join(", ")) };
                format!("composite, {rows} rows x {columns} columns of {width} x {height} px, border {border} px{blank}")
            }
            Source::Stack { pages, .. } => format!("stack of {pages} pages"),
            Source::Folder { files } => format!("folder of {} pictures", files.len()),
            Source::Single { .. } => "single picture".to_owned(),
        }
    }

    /// The files that hold the pictures.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Source::Composite { file, .. } | Source::Stack { file, .. } | Source::Single { file } => std::slice::from_ref(file),
            Source::Folder { files } => files,
        }
    }

    /// The numbers of the sub-images, in order.
    pub fn numbers(&self) -> Vec<usize> {
        match self {
            Source::Composite { grid, .. } => grid.cells().map(|cell| cell + 1).collect(),
            Source::Stack { pages, .. } => (1..=*pages).collect(),
            Source::Folder { files } => folder_numbers(files),
            Source::Single { .. } => vec![1],
        }
    }

    /// Whether the names of a folder's pictures count from 0, so that their numbers are one more.
    pub fn is_from_zero(&self) -> bool {
        matches!(self, Source::Folder { files } if counting_numbers(files).is_some_and(|n| n.contains(&0)))
    }

    /// Reads the sub-images, with their numbers.
    ///
    /// # Errors
    /// If the only file cannot be read at all.
    pub fn sub_images(&self) -> Result<Vec<(usize, Result<Gray>)>> {
        let numbers = self.numbers().into_iter();
        Ok(match self {
            Source::Composite { file, grid } => {
                let picture = read_composite(file, grid)?;
                numbers.map(|number| (number, Ok(grid.cut(&picture, number - 1)))).collect()
            }
            Source::Stack { file, .. } => numbers.zip(read::read_pages(file)?).collect(),
            Source::Folder { files } => numbers.zip(files.iter().map(|file| read::read(file))).collect(),
            Source::Single { file } => vec![(1, Ok(read::read(file)?))],
        })
    }
}

/// What speaks against taking a picture without a grid as one sub-image, and what to do; empty if nothing does.
fn suspicion(file: &Path, picture: &Gray) -> String {
    let [width, height] = [picture.width, picture.height];
    let suspect = if names::says_composite(file) {
        "its name says that it is a composite".to_owned()
    } else if width * height > LARGE_PICTURE {
        format!("{width} x {height} px is large for that")
    } else {
        return String::new();
    };
    format!("; the whole picture counts as one sub-image, but {suspect}: if it is a composite, give its grid in dataset.toml")
}

/// Reads a composite and makes sure that its grid still fits.
fn read_composite(file: &Path, grid: &Grid) -> Result<Gray> {
    let picture = read::read(file)?;
    let fits = grid.origins.iter().all(|o| o[0] + grid.cell[0] <= picture.width && o[1] + grid.cell[1] <= picture.height);
    if !fits {
        return Err(Error::data(file, "the picture is smaller than its grid").remedy("it changed while it was read; run again"));
    }
    Ok(picture)
}

/// The numbers of a folder's pictures: those that count them in their names (one more if they count from 0), else their order from 1.
fn folder_numbers(files: &[PathBuf]) -> Vec<usize> {
    let Some(found) = counting_numbers(files) else { return (1..=files.len()).collect() };
    let first = usize::from(found.contains(&0));
    found.iter().map(|&n| n as usize + first).collect()
}

/// The numbers in the names of a folder's pictures, if all have one and they increase.
fn counting_numbers(files: &[PathBuf]) -> Option<Vec<u32>> {
    let stems: Vec<String> = files.iter().map(|f| names::stem(f)).collect();
    let found = names::varying_numbers(&stems, "").into_iter().collect::<Option<Vec<u32>>>()?;
    found.windows(2).all(|pair| pair[0] < pair[1]).then_some(found)
}
