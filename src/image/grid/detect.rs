//! Finding the grid from the pixels.
//!
//! Columns and rows are found apart from each other. For an axis, every arrangement (number of cells, border of 0 to
//! 6 pixels, where the first cell starts) is a hypothesis, and the evidence of its lines is added up:
//!
//! - an *edge* where a cell ends or starts: the mean step between the two neighbouring pixel lines, as the logarithm of its ratio to
//!   the median step around. Different pictures meet there, so the step is larger than inside a picture; a line that shows no
//!   step counts against the hypothesis, so that twice too many cells lose.
//! - a *flat strip* where the border is: lines of one intensity along the whole axis, the same for all strips. It counts by how rare
//!   such lines are in the picture, `-ln(share)`: in a picture with black margins it says little.
//! - a *repetition* where pictures with dark margins meet (fans on black): how much of each line is not background repeats with the
//!   cells' period. It decides the period; where black margins hide the borders, what divides without a rest wins, and of several
//!   the narrowest border.
//!
//! Composites of 35 (and mildly those near it) are usual, which decides between arrangements that the pixels leave open.

use super::axis::Axis;
use super::profile::{Profile, SPECK, SPILL};
use super::{Gray, Grid};

/// How much the usual 35 sub-images count.
const USUAL_BONUS: f32 = 2.0;
/// How much it costs that a border runs around the picture along one axis only.
const AROUND_COST: f32 = 1.0;
/// All evidence together that is chance (among hundreds of arrangements one fits a single picture a little), and that is none. Of all
/// seams together: where speckle meets speckle no single seam says much, but ten that lie evenly do.
const EVIDENCE: (f32, f32) = (0.25, 1.0);
/// The most rows and columns at once; a single or double row or column may have more.
const BOTH_MAX: usize = 12;

/// A grid and how sure it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Detected {
    pub grid: Grid,
    /// From 0 (a guess) to 1 (no doubt).
    pub confidence: f32,
    /// How it was found, in words.
    pub reason: String,
}

/// Finds the grid of a composite; a single picture gives 1 x 1.
pub fn detect(picture: &Gray) -> Detected {
    let x = Profile::of(picture.width, &transposed(picture));
    let y = Profile::of(picture.height, &picture.pixels);
    let (xs, ys) = (x.best_arrangements(), y.best_arrangements());
    let mut pairs: Vec<(f32, &Axis, &Axis)> = Vec::new();
    for (score_x, axis_x) in &xs {
        for (score_y, axis_y) in &ys {
            if fit(axis_x, axis_y) {
                pairs.push((score_x + score_y + prior(axis_x, axis_y), axis_x, axis_y));
            }
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (best, axis_x, axis_y) = pairs[0];
    // Arrangements that cut the same pictures are no rivals.
    let is_same = |pair: &(f32, &Axis, &Axis), share| x.is_same(axis_x, pair.1, share) && y.is_same(axis_y, pair.2, share);
    let margin = pairs[1..].iter().find(|pair| !is_same(pair, SPILL)).map_or(f32::INFINITY, |rival| best - rival.0);
    let is_hidden = pairs.get(1).is_some_and(|second| is_same(second, SPECK));
    let mut grid = Grid::from_axes(axis_x, axis_y);
    grid.find_blanks(picture);
    let (chance, sure) = EVIDENCE;
    let evidence = best - prior(axis_x, axis_y);
    let is_seen = if grid.origins.len() == 1 { 1.0 } else { ((evidence - chance) / (sure - chance)).clamp(0.0, 1.0) };
    let confidence = (1.0 - (-margin / 2.0).exp()).clamp(0.0, 1.0) * is_seen;
    let repeats = x.repetition(axis_x) + y.repetition(axis_y) > 0.0;
    let reason = describe(&grid, [axis_x, axis_y], repeats, is_hidden, confidence);
    Detected { grid, confidence, reason }
}

/// The intensities column by column.
fn transposed(picture: &Gray) -> Vec<f32> {
    let mut columns = vec![0.0; picture.pixels.len()];
    for (y, row) in picture.pixels.chunks_exact(picture.width).enumerate() {
        for (x, value) in row.iter().enumerate() {
            columns[x * picture.height + y] = *value;
        }
    }
    columns
}

/// Whether two axes may belong to one grid: nobody draws a border along one axis only, but a single row or column has none between its
/// cells, and one beside them only if it runs around the picture.
fn fit(x: &Axis, y: &Axis) -> bool {
    if x.n.max(y.n) > BOTH_MAX && x.n.min(y.n) > 2 {
        return false;
    }
    match (x.n, y.n) {
        (1, 1) => x.border == 0 && y.border == 0,
        (1, _) => x.border == 0 || x.border == y.border && y.start > 0,
        (_, 1) => y.border == 0 || x.border == y.border && x.start > 0,
        _ => x.border == y.border,
    }
}

/// What is likely before looking: 35 sub-images, cells that are not slivers, a border around all of the picture or nowhere.
fn prior(x: &Axis, y: &Axis) -> f32 {
    if x.n * y.n == 1 {
        // A single picture may have any shape.
        return 0.0;
    }
    let mut score = match (x.n.min(y.n), x.n.max(y.n)) {
        (5, 7) | (1, 35) => USUAL_BONUS,
        (6, 6) => USUAL_BONUS / 2.0,
        _ => 0.0,
    };
    if (x.start > 0) != (y.start > 0) {
        score -= AROUND_COST;
    }
    let aspect = x.cell as f32 / y.cell as f32;
    score - 2.0 * (aspect.ln().abs() - 0.8).max(0.0)
}

fn describe(grid: &Grid, [x, y]: [&Axis; 2], repeats: bool, hidden: bool, confidence: f32) -> String {
    if grid.origins.len() == 1 {
        return "no seams between sub-images in the pixels: a single picture".to_owned();
    }
    let found = match grid.border {
        0 if repeats => "a pattern that repeats from cell to cell".to_owned(),
        0 => "steps between neighbouring cells".to_owned(),
        border => format!("borders of {border} px"),
    };
    let rest = if x.spread + y.spread > 0 { ", cell sizes differing by 1 px" } else { "" };
    let doubt = if hidden { ", a guess where dark margins hide borders" } else { "" };
    format!("from the pixels: {found}{rest}{doubt} (confidence {confidence:.2})")
}
