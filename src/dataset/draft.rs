//! A `dataset.toml` to start from: what was inferred from a folder, written down to be corrected.

use super::layout::Layout;
use super::manifest::Coordinates;
use super::{Dataset, Series, Source};
use crate::error::{Error, Result};
use crate::image::grid::Grid;
use crate::image::read;
use std::fmt::Write;
use std::path::Path;
use toml::Value;

/// The text for a file in `folder`: the same is found with it as without it.
///
/// # Errors
/// If the pictures are listed by a `dataset.toml` already, or a composite cannot be read.
pub fn draft(dataset: &Dataset, folder: &Path) -> Result<String> {
    let layout = match dataset.layout {
        Layout::SeriesFolders => "series",
        Layout::Lab => "lab",
        Layout::Listed => {
            return Err(Error::usage("the pictures are listed by a dataset.toml already")
                .at(&dataset.root)
                .remedy("edit that file"));
        }
    };
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let root = absolute(&dataset.root);
    let mut text =
        String::from("# What was found, to be corrected where it is wrong; docs/data-layouts.md explains every key.\n");
    if absolute(folder) != root {
        line(&mut text, &format!("root = {}", quoted(&root.display().to_string())));
    }
    line(&mut text, &format!("layout = \"{layout}\"    # or \"{}\"", if layout == "lab" { "series" } else { "lab" }));
    let organs = dataset.organs();
    line(&mut text, &format!("# organs: {}", if organs.is_empty() { "none".to_owned() } else { organs.join(", ") }));
    for series in &dataset.series {
        add_series(&mut text, series)?;
    }
    Ok(text)
}

fn add_series(text: &mut String, series: &Series) -> Result<()> {
    line(text, &format!("\n[series.{}]", quoted(&series.name)));
    line(text, &format!("# {}; {}", series.source.describe(), series.source_reason));
    if let Source::Composite { file, grid } = &series.source {
        let picture = read::read(file)?;
        let Grid { rows, columns, border, .. } = grid;
        let given = format!("grid = {{ rows = {rows}, columns = {columns}, border = {border} }}");
        let is_regular = Grid::regular([picture.width, picture.height], *rows, *columns, *border)
            .is_some_and(|regular| (regular.cell, &regular.origins) == (grid.cell, &grid.origins));
        // A grid that the three numbers do not describe would be cut otherwise.
        line(text, &if is_regular { given } else { format!("# {given}    # nearly: found as it is, it fits better") });
    }
    let coordinates = series.coordinates.map(|coordinates| match coordinates {
        Coordinates::Composite => "composite",
        Coordinates::SubImage => "sub-image",
    });
    match coordinates {
        Some(coordinates) => line(text, &format!("coordinates = \"{coordinates}\"    # {}", series.coordinates_reason)),
        None if series.is_ambiguous => line(text, "# coordinates = \"composite\"    # or \"sub-image\": it cannot be told"),
        None => {}
    }
    Ok(())
}

/// Adds a line; reasons that hold line breaks stay within it.
fn line(text: &mut String, line: &str) {
    let (start, rest) = line.split_at(line.len() - line.trim_start_matches('\n').len());
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{start}{}", rest.replace(['\n', '\r'], " "));
}

/// A TOML string, which may be a key as well.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}
