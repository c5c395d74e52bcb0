//! `inspect`: say what a data folder holds and what looks wrong.

use crate::atomic_file;
use crate::dataset::findings::{Findings, SeriesFindings};
use crate::dataset::layout::Layout;
use crate::dataset::manifest::Coordinates;
use crate::dataset::{Dataset, draft};
use crate::error::{Error, ErrorKind, Result};
use crate::terminal::say;
use std::path::{Path, PathBuf};

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
    /// Also write what was found as a dataset.toml to start from; the file must not be there yet
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let dataset = Dataset::open(&args.data)?;
    if let Some(file) = &args.write {
        write_draft(&dataset, file)?;
    }
    let findings = Findings::of(&dataset);
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

fn write_draft(dataset: &Dataset, file: &Path) -> Result<()> {
    if file.exists() {
        return Err(Error::usage("expected a new file, found one").at(file).remedy("remove it, or name another file"));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    atomic_file::write(file, draft::draft(dataset, folder)?.as_bytes())?;
    say(&format!("wrote {}", file.display()));
    Ok(())
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
