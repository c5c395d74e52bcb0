//! Synthetic series on disk: composites and ROI files.

use super::render::{ORGANS, Picture, picture};
use super::scene::{Litter, N_ANGLES};
use super::{CompositeKind, LayoutKind, SynthOptions};
use crate::atomic_file;
use crate::error::{Error, ErrorKind, Result};
use crate::roi::{self, Roi};
use rayon::prelude::*;
use std::io::Cursor;
use std::path::Path;
use tiff::encoder::{TiffEncoder, colortype::Gray8};

/// Columns of a grid composite; five rows of them are a series.
const COLUMNS: usize = 7;
/// The lab numbers its images; the synthetic ones start here.
const FIRST_ID: usize = 101;

/// Draws a data set.
///
/// # Errors
/// If `out` exists and is not empty, or cannot be written; if the sub-images are too small or too large to draw.
pub fn write(options: &SynthOptions) -> Result<()> {
    if !(48..=1024).contains(&options.size) {
        return Err(Error::usage(format!("--size {}: expected 48 to 1024 pixels", options.size)));
    }
    prepare_folder(&options.out)?;
    for series in 0..options.n_series {
        let litter = Litter::draw(options.seed, series as u32);
        let draw = |angle| picture(&litter, options.seed, series as u32, angle, options.size);
        let pictures: Vec<Picture> = (0..N_ANGLES).into_par_iter().map(draw).collect();
        match options.layout {
            LayoutKind::Series => write_series(options, series, &pictures)?,
            LayoutKind::Lab => write_lab(options, series, &pictures)?,
        }
    }
    Ok(())
}

fn prepare_folder(out: &Path) -> Result<()> {
    create_folder(out)?;
    let mut entries = std::fs::read_dir(out).map_err(|e| Error::io(ErrorKind::Run, out, "read the folder", e))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Error::usage("expected an empty folder or none, found files in it")
            .at(out)
            .remedy("choose another folder with --out, or remove this one")),
    }
}

fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|e| Error::io(ErrorKind::Run, path, "create the folder", e))
}

/// `series_01/composite.tif` with a folder for each organ. In grids every second series is outlined in sub-image coordinates, the
/// others in composite coordinates, as different people of a lab do.
fn write_series(options: &SynthOptions, series: usize, pictures: &[Picture]) -> Result<()> {
    let folder = options.out.join(format!("series_{:02}", series + 1));
    create_folder(&folder)?;
    write_composite(options, &folder.join("composite.tif"), pictures)?;
    let is_shifted = series.is_multiple_of(2);
    for (organ, name) in ORGANS.iter().enumerate() {
        let organ_folder = folder.join(format!("{name}s"));
        create_folder(&organ_folder)?;
        if options.composite == CompositeKind::Stack {
            let all: Result<Vec<Vec<Roi>>> = (0..N_ANGLES).map(|i| rois(options, pictures, organ, i, false)).collect();
            roi::archive::write(&organ_folder.join("RoiSet.zip"), &all?.concat())?;
            continue;
        }
        for i in 0..N_ANGLES {
            let rois = rois(options, pictures, organ, i, is_shifted)?;
            let stem = format!("sub_{:02}_{name}", i + 1);
            match rois.as_slice() {
                [] => {}
                [one] => atomic_file::write(&organ_folder.join(format!("{stem}.roi")), &roi::encode(one))?,
                several => roi::archive::write(&organ_folder.join(format!("{stem}_RoiSet.zip")), several)?,
            }
        }
    }
    Ok(())
}

/// `101.tif` with `RoiSet101`, a folder and a zip in turns, whose files name the organs.
fn write_lab(options: &SynthOptions, series: usize, pictures: &[Picture]) -> Result<()> {
    let id = FIRST_ID + series;
    write_composite(options, &options.out.join(format!("{id}.tif")), pictures)?;
    let mut all = Vec::new();
    for i in 0..N_ANGLES {
        for organ in 0..ORGANS.len() {
            all.extend(rois(options, pictures, organ, i, true)?);
        }
    }
    let set = format!("RoiSet{id}");
    if !series.is_multiple_of(2) {
        return roi::archive::write(&options.out.join(format!("{set}.zip")), &all);
    }
    let folder = options.out.join(set);
    create_folder(&folder)?;
    all.iter().try_for_each(|one| atomic_file::write(&folder.join(format!("{}.roi", one.name)), &roi::encode(one)))
}

/// The outlines of an organ in sub-image `i`: in composite coordinates where `is_shifted` and the composite is a grid, with a stack
/// position where it is a stack.
fn rois(options: &SynthOptions, pictures: &[Picture], organ: usize, i: usize, is_shifted: bool) -> Result<Vec<Roi>> {
    let is_grid = options.composite == CompositeKind::Grid;
    let size = options.size as i32;
    let [dx, dy] = if is_grid && is_shifted { [i % COLUMNS, i / COLUMNS].map(|k| k as i32 * size) } else { [0, 0] };
    let traced = pictures[i].organs[organ].iter().filter_map(roi::from_mask).enumerate();
    let named = |(k, outline): (usize, Roi)| {
        let mut roi = outline.translated(dx, dy)?;
        roi.name = format!("{}-s{:02}-{}", ORGANS[organ], i + 1, k + 1);
        roi.position = if is_grid { 0 } else { i as u32 + 1 };
        roi.group = organ as u8 + 1;
        Ok(roi)
    };
    traced.map(named).collect()
}

/// The composite as a TIFF that ImageJ opens: a grid, or a stack of pages. Without a description of ImageJ's own, which would promise
/// that the pixels of all pages follow one another without gaps.
fn write_composite(options: &SynthOptions, path: &Path, pictures: &[Picture]) -> Result<()> {
    let pages: Vec<Vec<u8>> = pictures.iter().map(|p| p.image.pixels.iter().map(|&v| v as u8).collect()).collect();
    let size = options.size;
    let bytes = match options.composite {
        CompositeKind::Stack => encode_tiff(&pages, size, size),
        CompositeKind::Grid => {
            let (width, height) = (COLUMNS * size, N_ANGLES / COLUMNS * size);
            let mut grid = Vec::with_capacity(width * height);
            for y in 0..height {
                for x in 0..COLUMNS {
                    let page = &pages[y / size * COLUMNS + x];
                    grid.extend_from_slice(&page[y % size * size..][..size]);
                }
            }
            encode_tiff(&[grid], width, height)
        }
    };
    let bytes = bytes.map_err(|e| Error::run("cannot encode the composite").at(path).caused_by(e))?;
    atomic_file::write(path, &bytes)
}

fn encode_tiff(pages: &[Vec<u8>], width: usize, height: usize) -> tiff::TiffResult<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes)?;
    for page in pages {
        encoder.write_image::<Gray8>(width as u32, height as u32, page)?;
    }
    Ok(bytes.into_inner())
}
