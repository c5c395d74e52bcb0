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
    for (i, &part) in parts.labels.iter().enumerate() {
        let (x, y) = (i % width, i / width);
        is_open[part as usize] |= x == 0 || y == 0 || x + 1 == width || y + 1 == height;
    }
    let filled = parts.labels.iter().map(|&part| u8::from(part == 0 || !is_open[part as usize])).collect();
    Mask::from_pixels(width, height, filled)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Neighbours {
    Four,
    Eight,
}

/// Labels the connected parts of equal value, by union-find in two scans; the default value is background.
fn label_where<T: Copy + Default + PartialEq>(width: usize, height: usize, neighbours: Neighbours, values: &[T]) -> Components {
    let mut parents: Vec<u32> = vec![0];
    let mut labels = vec![0u32; width * height];
    for y in 0..height {
        for x in 0..width {
            let i = y * width + x;
            if values[i] == T::default() {
                continue;
            }
            let mut own = 0;
            let diagonal = neighbours == Neighbours::Eight && y > 0;
            let earlier = [
                (x > 0).then(|| i - 1),
                (diagonal && x > 0).then(|| i - width - 1),
                (y > 0).then(|| i - width),
                (diagonal && x + 1 < width).then(|| i - width + 1),
            ];
            for neighbour in earlier.into_iter().flatten().filter(|&n| values[n] == values[i]) {
                own = if own == 0 { labels[neighbour] } else { unite(&mut parents, own, labels[neighbour]) };
            }
            if own == 0 {
                own = parents.len() as u32;
                parents.push(own);
            }
            labels[i] = own;
        }
    }
    number(width, height, labels, &mut parents)
}

/// Second scan: every label becomes its root's number, in scan order.
fn number(width: usize, height: usize, mut labels: Vec<u32>, parents: &mut [u32]) -> Components {
    let mut names = vec![0u32; parents.len()];
    let mut areas: Vec<usize> = Vec::new();
    for label in labels.iter_mut().filter(|label| **label != 0) {
        let root = find(parents, *label) as usize;
        if names[root] == 0 {
            areas.push(0);
            names[root] = areas.len() as u32;
        }
        *label = names[root];
        areas[names[root] as usize - 1] += 1;
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
