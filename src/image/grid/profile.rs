//! What the lines across one axis of a picture show: steps, lines of one intensity, and how much of a line is not background.

use super::extremes;

/// A line's share of pixels that must have the line's own median intensity for it to count as flat; less than 1, since borders are
/// not always drawn around the blank cells at a composite's end.
const FLAT_SHARE: f32 = 0.8;
/// What an edge must exceed (as a logarithm) to count for a hypothesis.
pub const EDGE_THRESHOLD: f32 = 0.45;
/// The most that one edge or one strip can count.
pub const EVIDENCE_MAX: f32 = 2.0;
/// The background is at most this bright, in the picture's range, and covers at least this share of its pixels.
const BACKGROUND: (f32, f32) = (0.25, 0.05);
/// A line crosses a blank cell where it keeps its intensity for this many pixels.
const BLANK_RUN: usize = 16;
/// A share of pixels that is noise.
pub const SPECK: f32 = 0.002;
/// A share of pixels that JPEG spreads from the pictures into dark margins.
pub const SPILL: f32 = 0.05;

/// The lines across one axis.
pub struct Profile {
    pub length: usize,
    /// Evidence for an edge between lines i - 1 and i.
    pub edge: Vec<f32>,
    /// The intensity of line i if it is flat.
    pub flat: Vec<Option<f32>>,
    /// The share of line i that neither has its median intensity nor belongs to a blank cell.
    pub impurity: Vec<f32>,
    /// `-ln` of the share of lines that are flat as line i is: how much a strip of such lines says. 0 for other lines.
    pub rarity: Vec<f32>,
    /// The share of line i that is neither background nor part of a blank cell; 0 for a flat line of another intensity: a border.
    pub content: Vec<f32>,
    /// The intensity around the pictures, if there is one.
    background: Option<f32>,
    /// Intensities closer than this are one.
    tolerance: f32,
}

impl Profile {
    /// Of a picture given line by line: `pixels` holds `length` lines across the axis.
    pub fn of(length: usize, pixels: &[f32]) -> Profile {
        let n_across = pixels.len() / length;
        let lines: Vec<&[f32]> = pixels.chunks_exact(n_across).collect();
        let (low, high) = extremes(pixels.iter().copied());
        let tolerance = (high - low) * 6.0 / 255.0;
        let step = |pair: &[&[f32]]| pair[0].iter().zip(pair[1]).map(|(a, b)| (a - b).abs()).sum::<f32>() / n_across as f32;
        let steps: Vec<f32> = std::iter::once(0.0).chain(lines.windows(2).map(step)).collect();
        // Steps far below one level of 255 are noise of the coding, not texture.
        let floor = (high - low).max(1e-6) / 1000.0;
        let edge = (0..length).map(|i| edge_evidence(&steps, i, floor)).collect();
        let (flat, impurity): (Vec<_>, Vec<_>) = lines.iter().map(|line| flatness(line, tolerance)).unzip();
        let rarity = rarity(&flat, tolerance);
        let background = background(pixels, low, high);
        let content = |(line, flat): (&&[f32], &Option<f32>)| match (background, flat) {
            (None, _) => 1.0,
            (Some(dark), Some(level)) if (level - dark).abs() > tolerance => 0.0,
            (Some(dark), _) => content_share(line, dark, tolerance),
        };
        let content = lines.iter().zip(&flat).map(content).collect();
        Profile { length, edge, flat, impurity, rarity, content, background, tolerance }
    }

    /// Whether line `i` is flat with intensity `level`.
    pub fn is_level(&self, i: usize, level: f32) -> bool {
        self.flat[i].is_some_and(|l| (l - level).abs() <= self.tolerance)
    }

    /// Whether line `i` holds background but for this share of its pixels.
    pub fn is_background(&self, i: usize, share: f32) -> bool {
        self.background.is_some_and(|level| self.is_level(i, level)) && self.impurity[i] <= share
    }

    /// Whether lines i - 1 and i are flat with one intensity.
    pub fn is_flat_seam(&self, i: usize) -> bool {
        self.flat[i - 1].is_some_and(|level| self.is_level(i, level))
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

/// The intensity of a line if most of it has one, in the range of `tolerance`, and the share that has another. Where a border crosses
/// blank cells without being drawn, the rest has one intensity, too, and does not count.
fn flatness(line: &[f32], tolerance: f32) -> (Option<f32>, f32) {
    let median = median(line.to_vec());
    let others: Vec<f32> = line.iter().copied().filter(|v| (v - median).abs() > tolerance).collect();
    let share = others.len() as f32 / line.len() as f32;
    let flat = (1.0 - share >= FLAT_SHARE).then_some(median);
    if flat.is_some() && others.len() >= 8 {
        let level = self::median(others.clone());
        let n_other = others.iter().filter(|v| (**v - level).abs() > tolerance).count();
        if n_other * 10 < others.len() {
            return (flat, n_other as f32 / line.len() as f32);
        }
    }
    (flat, share)
}

fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// The share of a line that is not `dark` and does not belong to a run of one intensity, as blank cells have.
fn content_share(line: &[f32], dark: f32, tolerance: f32) -> f32 {
    let runs = line.chunk_by(|a, b| (a - b).abs() <= tolerance);
    let is_content = |run: &&[f32]| run.len() < BLANK_RUN;
    let n_content = |run: &[f32]| run.iter().filter(|v| (*v - dark).abs() > tolerance).count();
    runs.filter(is_content).map(n_content).sum::<usize>() as f32 / line.len() as f32
}

fn rarity(flat: &[Option<f32>], tolerance: f32) -> Vec<f32> {
    let of_level = |level: f32| {
        let n_same = flat.iter().flatten().filter(|l| (*l - level).abs() <= tolerance).count();
        (flat.len() as f32 / n_same as f32).ln().clamp(0.0, EVIDENCE_MAX)
    };
    flat.iter().map(|level| level.map_or(0.0, of_level)).collect()
}

/// The intensity around the pictures: the commonest one, if it is dark and common.
fn background(pixels: &[f32], low: f32, high: f32) -> Option<f32> {
    let mut counts = [0usize; 256];
    let scale = 255.0 / (high - low).max(1e-6);
    for value in pixels {
        counts[((value - low) * scale).round() as usize] += 1;
    }
    let dark = &counts[..(BACKGROUND.0 * 255.0) as usize];
    let (bin, count) = dark.iter().enumerate().max_by_key(|(bin, count)| (**count, usize::MAX - bin))?;
    (*count as f32 >= BACKGROUND.1 * pixels.len() as f32).then(|| low + bin as f32 / scale)
}
