//! Finding the grid from the pixels.
//!
//! Columns and rows are found apart from each other. For an axis, every arrangement (number of cells, border of 0 to
//! [`BORDER_MAX`], where the first cell starts) is a hypothesis, and the evidence of its lines is added up:
//!
//! - an *edge* where a cell ends or starts: the mean step between the two neighbouring pixel lines, as the logarithm of its ratio to
//!   the median step around. Different pictures meet there, so the step is larger than inside a picture; a line that shows no
//!   step counts against the hypothesis, so that twice too many cells lose.
//! - a *flat strip* where the border is: lines of one intensity along the whole axis, the same for all strips. It counts by how rare
//!   such lines are in the picture, `-ln(share)`: in a picture with black margins it says little.
//!
//! Composites of 35 (and mildly those near it) are usual, which decides between arrangements that the pixels leave open.

use super::{Gray, Grid, extremes};

/// The widest border that is looked for, in pixels.
const BORDER_MAX: usize = 6;
/// The most rows or columns.
const CELLS_MAX: usize = 12;
/// The smallest side of a cell, in pixels.
const CELL_MIN: usize = 16;
/// A line's share of pixels that must have the line's own median intensity for it to count as flat; less than 1, since borders are
/// not always drawn around the blank cells at a composite's end.
const FLAT_SHARE: f32 = 0.8;
/// What an edge must exceed (as a logarithm) to count for a hypothesis.
const EDGE_THRESHOLD: f32 = 0.3;
/// The most that one edge or one strip can count.
const EVIDENCE_MAX: f32 = 2.0;
/// How much the usual 35 sub-images count.
const USUAL_BONUS: f32 = 2.0;

/// One axis of a grid: `n` cells of `cell` pixels, `border` apart, the first at `start`.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub n: usize,
    pub cell: usize,
    pub border: usize,
    pub start: usize,
    /// If not 0, cell i starts at `floor(i spread / n)` instead.
    pub spread: usize,
}

impl Axis {
    /// Where cell `i` starts.
    pub fn origin(&self, i: usize) -> usize {
        if self.spread > 0 { i * self.spread / self.n } else { self.start + i * (self.cell + self.border) }
    }
}

/// A grid and how sure it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Detected {
    pub grid: Grid,
    /// From 0 (a guess) to 1 (no doubt).
    pub confidence: f32,
    /// How it was found, in words.
    pub reason: String,
}

/// The axis of `n` cells with `border` pixels between them in `length` pixels: with a border around the picture if that divides and
/// without one does not. `None` if a cell would have no pixel.
pub fn regular_axis(length: usize, n: usize, border: usize) -> Option<Axis> {
    let inner = length.checked_sub(border * n.checked_sub(1)?)?;
    let around = length.checked_sub(border * (n + 1));
    let start = if inner % n != 0 && around.is_some_and(|a| a % n == 0) { border } else { 0 };
    let cell = if start > 0 { around? / n } else { inner / n };
    (cell > 0).then_some(Axis { n, cell, border, start, spread: 0 })
}

/// Finds the grid of a composite; a single picture gives 1 x 1.
pub fn detect(picture: &Gray) -> Detected {
    let x = Profile::of(picture.width, picture.height, |along, across| picture.pixels[across * picture.width + along]);
    let y = Profile::of(picture.height, picture.width, |along, across| picture.pixels[along * picture.width + across]);
    let (xs, ys) = (x.best_arrangements(), y.best_arrangements());
    let mut pairs: Vec<(f32, &Axis, &Axis)> = Vec::new();
    for (score_x, axis_x) in &xs {
        for (score_y, axis_y) in &ys {
            // Nobody draws a border along one axis only.
            if axis_x.n > 1 && axis_y.n > 1 && axis_x.border != axis_y.border {
                continue;
            }
            pairs.push((score_x + score_y + prior(axis_x, axis_y), axis_x, axis_y));
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (best, axis_x, axis_y) = pairs[0];
    let margin = pairs.get(1).map_or(f32::INFINITY, |second| best - second.0);
    let mut grid = Grid::from_axes(axis_x, axis_y);
    grid.find_blanks(picture);
    let confidence = (1.0 - (-margin / 2.0).exp()).clamp(0.0, 1.0);
    let reason = describe(&grid, axis_x, axis_y, confidence);
    Detected { grid, confidence, reason }
}

/// What is likely before looking: 35 sub-images, cells that are not slivers.
fn prior(x: &Axis, y: &Axis) -> f32 {
    let mut score = 0.0;
    score += match (x.n.min(y.n), x.n.max(y.n)) {
        (5, 7) => USUAL_BONUS,
        (6, 6) => USUAL_BONUS / 2.0,
        _ => 0.0,
    };
    let aspect = x.cell as f32 / y.cell as f32;
    score - 2.0 * (aspect.ln().abs() - 0.8).max(0.0)
}

fn describe(grid: &Grid, x: &Axis, y: &Axis, confidence: f32) -> String {
    if grid.origins.len() == 1 {
        return "no seams between sub-images in the pixels: a single picture".to_owned();
    }
    let found =
        if grid.border > 0 { format!("borders of {} px", grid.border) } else { "steps between neighbouring cells".to_owned() };
    let rest = if x.spread + y.spread > 0 { ", cell sizes differing by 1 px" } else { "" };
    format!("from the pixels: {found}{rest} (confidence {confidence:.2})")
}

/// What the lines across one axis show.
struct Profile {
    length: usize,
    /// Evidence for an edge between lines i - 1 and i.
    edge: Vec<f32>,
    /// The intensity of line i if it is flat.
    flat: Vec<Option<f32>>,
    /// Evidence of one flat strip.
    flat_evidence: f32,
    /// Intensities closer than this are one.
    tolerance: f32,
}

impl Profile {
    /// Of a picture given as a function of the position along the axis and across it.
    fn of(length: usize, n_across: usize, at: impl Fn(usize, usize) -> f32) -> Profile {
        let (low, high) = extremes((0..length).flat_map(|i| (0..n_across).map(move |j| (i, j))).map(|(i, j)| at(i, j)));
        let tolerance = (high - low) * 6.0 / 255.0;
        let step = |i: usize| (0..n_across).map(|j| (at(i, j) - at(i - 1, j)).abs()).sum::<f32>() / n_across as f32;
        let steps: Vec<f32> = (0..length).map(|i| if i == 0 { 0.0 } else { step(i) }).collect();
        // Steps far below one level of 255 are noise of the coding, not texture.
        let floor = (high - low).max(1e-6) / 1000.0;
        let edge = (0..length).map(|i| edge_evidence(&steps, i, floor)).collect();
        let flat: Vec<_> = (0..length).map(|i| flat_level(n_across, tolerance, |j| at(i, j))).collect();
        let share = flat.iter().flatten().count().max(1) as f32 / length as f32;
        Profile { length, edge, flat, flat_evidence: (-share.ln()).clamp(0.0, EVIDENCE_MAX), tolerance }
    }

    /// The best arrangement for each number of cells and each border, with its score; one cell scores 0.
    fn best_arrangements(&self) -> Vec<(f32, Axis)> {
        let mut best = vec![(0.0, Axis { n: 1, cell: self.length, border: 0, start: 0, spread: 0 })];
        for n in 2..=CELLS_MAX {
            for border in 0..=BORDER_MAX {
                let scored = self.arrangements(n, border).into_iter().map(|axis| (self.score(&axis), axis));
                best.extend(scored.max_by(|a, b| a.0.total_cmp(&b.0)));
            }
        }
        best
    }

    /// All arrangements of `n` cells: what is left over at the end is less than a pixel per cell beyond a border.
    fn arrangements(&self, n: usize, border: usize) -> Vec<Axis> {
        let mut found = Vec::new();
        for start in 0..=border {
            for rest in 0..border + n {
                let Some(room) = self.length.checked_sub(start + rest + (n - 1) * border) else { continue };
                if room % n == 0 && room / n >= CELL_MIN {
                    found.push(Axis { n, cell: room / n, border, start, spread: 0 });
                }
            }
        }
        let cell = self.length / n;
        if border == 0 && !self.length.is_multiple_of(n) && cell >= CELL_MIN {
            found.push(Axis { n, cell, border: 0, start: 0, spread: self.length });
        }
        found
    }

    /// The evidence for an arrangement.
    fn score(&self, axis: &Axis) -> f32 {
        let rest = self.length - (axis.origin(axis.n - 1) + axis.cell);
        let mut score = -0.1 * axis.border as f32;
        if rest != axis.start && rest != 0 || axis.start != 0 && axis.start != axis.border {
            score -= 0.5;
        }
        let first_line = axis.origin(1) - axis.border;
        let level = if axis.border > 0 { self.flat[first_line] } else { None };
        for i in 1..axis.n {
            let (end, start) = (axis.origin(i - 1) + axis.cell, axis.origin(i));
            score += self.edge[start];
            if axis.border > 0 {
                let edge = self.edge[end];
                score += edge + self.strip(start - axis.border, start, level);
            } else if self.is_flat_seam(start) {
                // Black margins meet: no step is expected, and its absence says nothing.
                score += self.flat_evidence - self.edge[start].min(0.0);
            }
        }
        score + self.outside(axis, rest, level)
    }

    /// The evidence of the strips before the first and behind the last cell, which must look like the border if they are of its kind.
    fn outside(&self, axis: &Axis, rest: usize, level: Option<f32>) -> f32 {
        let mut score = 0.0;
        if axis.border == 0 {
            return score;
        }
        if axis.start > 0 {
            score += self.strip(0, axis.start, level) + self.edge[axis.start];
        } else {
            score -= self.strip(0, 1, level).max(0.0);
        }
        if rest > 0 && rest <= axis.border {
            score += self.strip(self.length - rest, self.length, level) + self.edge[self.length - rest];
        }
        score
    }

    /// Evidence that the lines `from .. to` are a border of intensity `level`.
    fn strip(&self, from: usize, to: usize, level: Option<f32>) -> f32 {
        let Some(level) = level else { return -EVIDENCE_MAX };
        let same = |line: &Option<f32>| line.is_some_and(|l| (l - level).abs() <= self.tolerance);
        if self.flat[from..to].iter().all(same) { self.flat_evidence } else { -EVIDENCE_MAX }
    }

    fn is_flat_seam(&self, i: usize) -> bool {
        matches!((self.flat[i - 1], self.flat[i]), (Some(a), Some(b)) if (a - b).abs() <= self.tolerance)
    }
}

/// The logarithm of step `i` over the median step around it, less the threshold. Neighbouring steps within a border's width are left
/// out: they may belong to the same seam.
fn edge_evidence(steps: &[f32], i: usize, floor: f32) -> f32 {
    let window = 16;
    let (from, to) = (i.saturating_sub(window).max(1), (i + window + 1).min(steps.len()));
    let mut around: Vec<f32> = (from..to).filter(|&j| j != i).map(|j| steps[j]).filter(|&s| s > floor).collect();
    if around.is_empty() {
        return if i > 0 && steps[i] > floor { EVIDENCE_MAX } else { -EDGE_THRESHOLD };
    }
    let middle = around.len() / 2;
    let (_, median, _) = around.select_nth_unstable_by(middle, f32::total_cmp);
    ((steps[i].max(floor) / *median).ln() - EDGE_THRESHOLD).clamp(-1.0, EVIDENCE_MAX)
}

/// The intensity of a line if most of it has one, in the range of `tolerance`.
fn flat_level(n: usize, tolerance: f32, at: impl Fn(usize) -> f32) -> Option<f32> {
    let mut values: Vec<f32> = (0..n).map(at).collect();
    let (_, median, _) = values.select_nth_unstable_by(n / 2, f32::total_cmp);
    let median = *median;
    let n_same = values.iter().filter(|v| (**v - median).abs() <= tolerance).count();
    (n_same as f32 >= FLAT_SHARE * n as f32).then_some(median)
}
