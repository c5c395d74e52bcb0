//! `roi`: read ImageJ ROI files.

use super::{print_json, print_line};
use crate::atomic_file;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Mask;
use crate::roi::{Roi, archive};
use crate::terminal::say;
use image::ImageEncoder;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  unet-engine roi info heart_RoiSet.zip
  unet-engine roi mask heart_RoiSet.zip --size 512x384 --out heart.png";

const AFTER_HELP_INFO: &str = "\
Examples:
  unet-engine roi info hearts/sub_01.roi hearts/sub_02.roi
  unet-engine roi info heart_RoiSet.zip --json";

const AFTER_HELP_MASK: &str = "\
Example:
  unet-engine roi mask hearts/sub_01.roi --size 512x384 --out sub_01.png";

/// Read ImageJ ROI files.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List what is in .roi files and RoiSet.zip archives
    #[command(after_help = AFTER_HELP_INFO)]
    Info {
        /// .roi or .zip files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print a JSON list
        #[arg(long)]
        json: bool,
    },
    /// Write the mask that ImageJ would fill, 0 and 255, all ROIs of the file together
    #[command(after_help = AFTER_HELP_MASK)]
    Mask {
        /// A .roi or .zip file
        file: PathBuf,
        /// Width and height of the image in pixels
        #[arg(long, value_name = "WxH", value_parser = parse_size)]
        size: (usize, usize),
        /// The PNG file to write
        #[arg(long, value_name = "PNG")]
        out: PathBuf,
    },
}

pub(super) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Info { files, json } => info(files, *json),
        Command::Mask { file, size, out } => mask(file, *size, out),
    }
}

/// One ROI as `--json` prints it.
#[derive(serde::Serialize)]
struct Row {
    file: String,
    name: String,
    r#type: &'static str,
    left: i32,
    top: i32,
    width: u32,
    height: u32,
    n_points: usize,
    area_px: u64,
    position: u32,
    channel: u32,
    z: u32,
    t: u32,
    group: u8,
    properties: BTreeMap<String, String>,
}

impl Row {
    fn new(file: &Path, roi: &Roi) -> Row {
        Row {
            file: file.display().to_string(),
            name: roi.name.clone(),
            r#type: roi.kind.name(),
            left: roi.bounds.left,
            top: roi.bounds.top,
            width: roi.bounds.width,
            height: roi.bounds.height,
            n_points: roi.n_points(),
            area_px: roi.mask_area_px(),
            position: roi.position,
            channel: roi.channel,
            z: roi.z,
            t: roi.t,
            group: roi.group,
            properties: roi.properties().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        }
    }
}

fn info(files: &[PathBuf], json: bool) -> Result<()> {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for file in files {
        match archive::read(file) {
            Err(error) => errors.push(error),
            Ok(archive) => {
                for (_, roi) in archive.rois {
                    match roi {
                        Ok(roi) => rows.push(Row::new(file, &roi)),
                        Err(error) => errors.push(error),
                    }
                }
                if !archive.skipped.is_empty() {
                    say(&format!("{}: {} entries that are no ROI files were skipped", file.display(), archive.skipped.len()));
                }
            }
        }
    }
    if json {
        print_json(&rows)?
    } else {
        print_table(&rows)?
    }
    finish(errors)
}

fn print_table(rows: &[Row]) -> Result<()> {
    print_line(&format!(
        "{:<28} {:<14} {:>7} {:>7} {:>7} {:>7} {:>8} {:>10} {:>8} {:>5}",
        "name", "type", "left", "top", "width", "height", "n_points", "area_px", "position", "group"
    ))?;
    for r in rows {
        print_line(&format!(
            "{:<28} {:<14} {:>7} {:>7} {:>7} {:>7} {:>8} {:>10} {:>8} {:>5}",
            r.name, r.r#type, r.left, r.top, r.width, r.height, r.n_points, r.area_px, r.position, r.group
        ))?;
    }
    Ok(())
}

/// Names every error but the last on stderr, and returns that one.
fn finish(mut errors: Vec<Error>) -> Result<()> {
    let last = errors.pop();
    errors.iter().for_each(|error| say(&format!("error: {error}")));
    last.map_or(Ok(()), Err)
}

fn mask(file: &Path, (width, height): (usize, usize), out: &Path) -> Result<()> {
    let mut mask = Mask::new(width, height);
    let (mut n_areas, mut n_cut) = (0, 0);
    for (_, roi) in archive::read(file)?.rois {
        let roi = roi?;
        let filled = roi.fill(width, height, 0, 0);
        n_areas += usize::from(roi.is_area());
        n_cut += usize::from(roi.is_area() && (filled.area() as u64) < roi.mask_area_px());
        mask.union_with(&filled);
    }
    if n_cut > 0 {
        say(&format!("warning: {n_cut} of {n_areas} ROIs lie outside {width} x {height} pixels, wholly or in part"));
    }
    if n_areas == 0 {
        say("warning: no ROI in it encloses an area (lines and points do not): the mask is empty");
    }
    let pixels: Vec<u8> = mask.pixels().iter().map(|&p| p * 255).collect();
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    encoder
        .write_image(&pixels, width as u32, height as u32, image::ExtendedColorType::L8)
        .map_err(|e| Error::new(ErrorKind::Run, "cannot encode the mask").at(out).caused_by(e))?;
    atomic_file::write(out, &png)
}

fn parse_size(text: &str) -> Result<(usize, usize), String> {
    /// ImageJ's own limit on the pixels of an image.
    const MAX_PIXELS: usize = i32::MAX as usize;
    let expected = || format!("expected WIDTHxHEIGHT such as 512x384, found {text:?}");
    let (width, height) = text.split_once(['x', 'X']).ok_or_else(expected)?;
    let (width, height): (usize, usize) = (width.parse().map_err(|_| expected())?, height.parse().map_err(|_| expected())?);
    match width.checked_mul(height) {
        Some(1..=MAX_PIXELS) => Ok((width, height)),
        _ => Err(format!("{text} is no size of an image: 1 to {MAX_PIXELS} pixels are possible")),
    }
}
