//! `inspect`: say what a data folder holds and what looks wrong.

use crate::dataset::Dataset;
use crate::dataset::findings::{Findings, SeriesFindings};
use crate::dataset::layout::Layout;
use crate::dataset::manifest::Coordinates;
use crate::error::{Error, ErrorKind, Result};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  unet-engine inspect litters
  unet-engine inspect usgra/dataset.toml --json";

/// Say what a data folder holds and what looks wrong.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The data folder, or a dataset.toml that names it
    data: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let findings = Findings::of(&Dataset::open(&args.data)?);
    if args.json {
        super::print_json(&findings)?
    } else {
        super::print_line(&describe(&findings))?
    }
    match findings.errors.len() {
        0 => Ok(()),
        n => Err(Error::new(ErrorKind::Data, format!("{n} of the files or ROIs cannot be used; they are named under errors"))),
    }
}

fn describe(findings: &Findings) -> String {
    let layout = match findings.layout {
        Layout::SeriesFolders => "a folder per series",
        Layout::Lab => "images with RoiSet folders or archives (the lab's layout)",
        Layout::Listed => "pictures listed by dataset.toml",
    };
    let mut lines = vec![
        format!("data     {}", findings.root),
        format!("layout   {layout}"),
        format!("series   {}, organs: {}", findings.series.len(), list_or(&findings.organs, "none annotated")),
    ];
    for series in &findings.series {
        lines.push(String::new());
        describe_series(series, &mut lines);
    }
    for (title, texts) in [("warnings", &findings.warnings), ("errors", &findings.errors)] {
        if !texts.is_empty() {
            lines.push(format!("\n{title}"));
            lines.extend(texts.iter().map(|text| format!("  {text}")));
        }
    }
    lines.join("\n")
}

fn describe_series(series: &SeriesFindings, lines: &mut Vec<String>) {
    lines.push(series.name.clone());
    lines.push(format!("  {}; {}", series.description, series.source_reason));
    let sizes: Vec<String> = series.sizes.iter().map(|s| format!("{} x {} px ({})", s.width, s.height, s.count)).collect();
    lines.push(format!("  {} sub-images: {}", series.sub_images, list_or(&sizes, "none readable")));
    if let Some(coordinates) = series.coordinates {
        let whose = match coordinates {
            Coordinates::Composite => "the composite",
            Coordinates::SubImage => "the sub-image",
        };
        lines.push(format!("  coordinates of {whose}: {}", series.coordinates_reason));
    }
    for (organ, found) in &series.organs {
        let visible = format!("visible in {} of {}", found.visible_in, series.sub_images);
        lines.push(format!("  {organ}: {} ROIs, {} instances, {visible}, {} px", found.rois, found.instances, found.area_px));
    }
}

fn list_or(items: &[impl ToString], none: &str) -> String {
    if items.is_empty() { none.to_owned() } else { items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") }
}
