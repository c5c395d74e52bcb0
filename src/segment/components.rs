//! Connected components and holes.

use crate::geometry::Mask;

/// A labelling of a picture's pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Components {
    pub width: usize,
    pub height: usize,
    /// Row by row: 0 for background, else the component's number from 1, in scan order of the components' first pixels.
    pub labels: Vec<u32>,
    /// Pixels of each component; component k at index k - 1.
    pub areas: Vec<usize>,
}

impl Components {
    /// Makes background of the components with fewer than `min_area` pixels; the others keep their order.
    pub fn drop_small(&mut self, min_area: usize) {
        let mut names = vec![0; self.areas.len() + 1];
        let mut kept = Vec::new();
        for (k, &area) in self.areas.iter().enumerate().filter(|(_, area)| **area >= min_area) {
            kept.push(area);
            names[k + 1] = kept.len() as u32;
        }
        self.labels.iter_mut().for_each(|label| *label = names[*label as usize]);
        self.areas = kept;
    }
}

/// The 8-connected components of a mask.
pub fn label(mask: &Mask) -> Components {
    label_where(mask.width(), mask.height(), Neighbours::Eight, mask.pixels())
}

/// The 8-connected parts of equal value; value 0 is background.
pub(super) fn label_values(width: usize, height: usize, values: &[u32]) -> Components {
    label_where(width, height, Neighbours::Eight, values)
}

/// Fills the holes: 4-connected parts of the background that do not reach the border of the picture.
pub fn fill_holes(mask: &Mask) -> Mask {
    let (width, height) = (mask.width(), mask.height());
    let background: Vec<u8> = mask.pixels().iter().map(|p| 1 - p).collect();
    let parts = label_where(width, height, Neighbours::Four, &background);
    let mut is_open = vec![false; parts.areas.len() + 1];
    let ends = (0..height).flat_map(|y| [y * width, y * width + width.saturating_sub(1)]).filter(|_| width > 0);
    let sides = (0..width).flat_map(|x| [x, (height.max(1) - 1) * width + x]).filter(|_| height > 0);
    ends.chain(sides).for_each(|i| is_open[parts.labels[i] as usize] = true);
    let filled = parts.labels.iter().map(|&part| u8::from(part == 0 || !is_open[part as usize])).collect();
    Mask::from_pixels(width, height, filled)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Neighbours {
    Four,
    Eight,
}

/// A stretch of equal values in a row: columns `start .. end`.
struct Run<T> {
    start: usize,
    end: usize,
    value: T,
    label: u32,
}

/// Labels the connected parts of equal value, by union-find over the runs of each row; the default value is background.
fn label_where<T: Copy + Default + PartialEq>(width: usize, height: usize, neighbours: Neighbours, values: &[T]) -> Components {
    // Runs that touch at a corner only are one part where diagonals count.
    let slack = usize::from(neighbours == Neighbours::Eight);
    let mut parents: Vec<u32> = vec![0];
    let mut runs: Vec<Run<T>> = Vec::new();
    let mut row_starts = vec![0];
    for row in values.chunks_exact(width.max(1)).take(height) {
        let (above, here) = (row_starts.last().copied().unwrap_or(0), runs.len());
        row_starts.push(here);
        push_runs(row, &mut runs);
        let (earlier, current) = runs.split_at_mut(here);
        let mut candidates = &earlier[above..];
        for run in current {
            // Runs above that end before this one touch no later one either.
            let passed = candidates.iter().take_while(|other| other.end + slack <= run.start).count();
            candidates = &candidates[passed..];
            for other in candidates.iter().take_while(|other| other.start < run.end + slack) {
                if other.value == run.value {
                    run.label = if run.label == 0 { other.label } else { unite(&mut parents, run.label, other.label) };
                }
            }
            if run.label == 0 {
                run.label = parents.len() as u32;
                parents.push(run.label);
            }
        }
    }
    row_starts.push(runs.len());
    number(width, height, &runs, &row_starts[1..], &mut parents)
}

/// Adds the runs of a row, background left out.
fn push_runs<T: Copy + Default + PartialEq>(row: &[T], runs: &mut Vec<Run<T>>) {
    let mut start = 0;
    for stretch in row.chunk_by(T::eq) {
        let end = start + stretch.len();
        if stretch[0] != T::default() {
            runs.push(Run { start, end, value: stretch[0], label: 0 });
        }
        start = end;
    }
}

/// Every run gets its root's number, in scan order. Row y has the runs `row_starts[y] .. row_starts[y + 1]`.
fn number<T>(width: usize, height: usize, runs: &[Run<T>], row_starts: &[usize], parents: &mut [u32]) -> Components {
    let mut names = vec![0u32; parents.len()];
    let mut areas: Vec<usize> = Vec::new();
    let mut labels = vec![0; width * height];
    for (y, bounds) in row_starts.windows(2).enumerate() {
        for run in &runs[bounds[0]..bounds[1]] {
            let root = find(parents, run.label) as usize;
            if names[root] == 0 {
                areas.push(0);
                names[root] = areas.len() as u32;
            }
            areas[names[root] as usize - 1] += run.end - run.start;
            labels[y * width + run.start..y * width + run.end].fill(names[root]);
        }
    }
    Components { width, height, labels, areas }
}

fn find(parents: &mut [u32], mut label: u32) -> u32 {
    while parents[label as usize] != label {
        // Halving the path keeps later searches short.
        parents[label as usize] = parents[parents[label as usize] as usize];
        label = parents[label as usize];
    }
    label
}

fn unite(parents: &mut [u32], a: u32, b: u32) -> u32 {
    let (a, b) = (find(parents, a), find(parents, b));
    let (low, high) = (a.min(b), a.max(b));
    parents[high as usize] = low;
    low
}
