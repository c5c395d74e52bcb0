//! The arrangements of cells along one axis, and the evidence for each.

use super::profile::{EVIDENCE_MAX, Profile, SPECK};

/// The widest border that is looked for, in pixels.
const BORDER_MAX: usize = 6;
/// The most rows or columns.
const CELLS_MAX: usize = 40;
/// The smallest side of a cell, in pixels.
const CELL_MIN: usize = 16;
/// What is left over at one end only, or spread, costs this much, and that much where only a repeating pattern speaks for it.
const REST_COST: (f32, f32) = (0.5, 4.0);
/// A start that is neither 0 nor the border's width costs this much.
const START_COST: f32 = 4.0;
/// How much a repeating pattern counts for each cell after the first, and the share of the pattern that may differ between
/// cells for it to count at all, and at which it counts most.
const REPETITION: (f32, f32, f32) = (1.0, 0.5, 1e-4);
/// The lines beside a seam have at most this share of the mean line's content where pictures with dark margins meet.
const VALLEY_SHARE: f32 = 0.6;

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

    /// Where cell `i` ends: the first line behind it.
    pub fn end(&self, i: usize) -> usize {
        self.origin(i) + self.cell
    }
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

impl Profile {
    /// The best arrangement for each number of cells and each border, with its score; one cell without a border around scores 0.
    pub fn best_arrangements(&self) -> Vec<(f32, Axis)> {
        let mut best = vec![(0.0, Axis { n: 1, cell: self.length, border: 0, start: 0, spread: 0 })];
        for border in (1..=BORDER_MAX).filter(|border| self.length >= CELL_MIN + 2 * border) {
            let axis = Axis { n: 1, cell: self.length - 2 * border, border, start: border, spread: 0 };
            let score = self.flat[0].map_or(-EVIDENCE_MAX, |level| self.outside(&axis, border, level));
            best.push((score - 0.1 * border as f32, axis));
        }
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
        let rest = self.length - axis.end(axis.n - 1);
        let repetition = self.repetition(axis);
        let mut score = repetition - 0.1 * axis.border as f32;
        if rest != axis.start || axis.spread > 0 {
            score -= if repetition > 0.0 { REST_COST.1 } else { REST_COST.0 };
        }
        if axis.start != 0 && axis.start != axis.border {
            score -= START_COST;
        }
        let level = if axis.border > 0 { self.flat[axis.end(0)] } else { None };
        for i in 1..axis.n {
            let (end, start) = (axis.end(i - 1), axis.origin(i));
            score += match level {
                _ if axis.border == 0 => self.seam(start),
                Some(level) => self.strip(end, start, level),
                None => 2.0 * self.edge[end].min(self.edge[start]).min(0.0) - EVIDENCE_MAX,
            };
        }
        let n_empty = (0..axis.n).filter(|&i| (axis.origin(i)..axis.end(i)).all(|line| self.content[line] <= SPECK)).count();
        score - n_empty as f32 + level.map_or(0.0, |level| self.outside(axis, rest, level))
    }

    /// The evidence that cells meet before line `start`, without a border.
    fn seam(&self, start: usize) -> f32 {
        // Where black margins meet no step is expected, and its absence says nothing.
        if self.is_flat_seam(start) { self.rarity[start] + self.edge[start].max(0.0) } else { self.edge[start] }
    }

    /// The evidence that the lines `from .. to` are a border of intensity `level` between two cells.
    fn strip(&self, from: usize, to: usize, level: f32) -> f32 {
        let Some(impurity) = self.impurity_of(from, to, level) else { return -EVIDENCE_MAX };
        let outside = [from - 1, to];
        if outside.iter().any(|&line| !self.is_purer(level, impurity, line)) {
            return -EVIDENCE_MAX;
        }
        self.rarity[from] + self.side(from - 1, from, level) + self.side(to, to, level)
    }

    /// The evidence for a border's side: the step at `edge`, unless the cell's `line` there is of the border's intensity, too, so that
    /// no step is expected.
    fn side(&self, line: usize, edge: usize, level: f32) -> f32 {
        if self.is_level(line, level) { 0.0 } else { self.edge[edge] }
    }

    /// The largest impurity of the lines `from .. to`, if all are flat with intensity `level`.
    fn impurity_of(&self, from: usize, to: usize, level: f32) -> Option<f32> {
        let is_strip = (from..to).all(|line| self.is_level(line, level));
        is_strip.then(|| self.impurity[from..to].iter().fold(0.0f32, |a, b| a.max(*b)))
    }

    /// Whether a strip of this intensity and impurity is a border beside the cell's `line`: where sectors touch the edges of their
    /// cells, the lines there are nearly flat, but not much flatter than their neighbours.
    fn is_purer(&self, level: f32, impurity: f32, line: usize) -> bool {
        let is_other_level = self.flat[line].is_some() && !self.is_level(line, level);
        is_other_level || impurity <= SPECK.max(0.25 * self.impurity[line])
    }

    /// The evidence of the strips before the first and behind the last cell, which must look like the border if they are of its kind.
    /// Between black margins and black borders they say nothing.
    fn outside(&self, axis: &Axis, rest: usize, level: f32) -> f32 {
        let mut score = 0.0;
        let last = self.length - 1;
        if axis.start > 0 {
            score += self.outer_strip(0, axis.start, level, axis.start, axis.start);
        } else if self.is_level(0, level) && !self.is_level(1, level) {
            score -= self.rarity[0];
        }
        if rest > 0 && rest <= axis.border {
            score += self.outer_strip(self.length - rest, self.length, level, last - rest, self.length - rest);
        }
        score
    }

    fn outer_strip(&self, from: usize, to: usize, level: f32, line: usize, edge: usize) -> f32 {
        match self.impurity_of(from, to, level) {
            Some(impurity) if self.is_purer(level, impurity, line) => {
                if self.is_level(line, level) {
                    0.0
                } else {
                    self.rarity[from] + self.edge[edge]
                }
            }
            _ => -EVIDENCE_MAX,
        }
    }

    /// The evidence of a pattern that repeats from cell to cell, where the lines beside the seams are mostly background: with v_kj the
    /// content of line j of cell k, the squared errors of predicting each cell by the mean of the others,
    /// `e = (n / (n - 1))^2 sum_kj (v_kj - mean_k v_kj)^2`, in relation to the profile's sum of squares about its mean.
    pub fn repetition(&self, axis: &Axis) -> f32 {
        let mean = self.content.iter().sum::<f32>() / self.length as f32;
        let is_valley = |line: usize| self.content[line] <= VALLEY_SHARE * mean;
        if axis.n < 2 || mean <= SPECK || !(1..axis.n).all(|i| is_valley(axis.end(i - 1) - 1) && is_valley(axis.origin(i))) {
            return 0.0;
        }
        let total: f32 = self.content.iter().map(|v| (v - mean) * (v - mean)).sum();
        let n = axis.n as f32;
        let mut error = 0.0;
        for j in 0..axis.cell {
            let values = (0..axis.n).map(|i| self.content[axis.origin(i) + j]);
            let (sum, squares) = values.fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
            error += (squares - sum * sum / n).max(0.0);
        }
        let share = error * (n / (n - 1.0)).powi(2) / total.max(1e-12);
        let (weight, most, least) = REPETITION;
        weight * (n - 1.0) * (most / share.max(least)).ln().max(0.0)
    }

    /// Whether two arrangements of equally many cells differ only in lines that are background but for `share` of their pixels, so that
    /// no picture tells one from the other.
    pub fn is_same(&self, a: &Axis, b: &Axis, share: f32) -> bool {
        let is_dark = |p: usize, q: usize| (p.min(q)..p.max(q)).all(|line| self.is_background(line, share));
        a.n == b.n && (0..a.n).all(|i| is_dark(a.origin(i), b.origin(i)) && is_dark(a.end(i), b.end(i)))
    }
}
