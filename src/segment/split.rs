//! Splits an object into the several that touch, where the network's channels see several.

use super::components::{self, Components};
use std::collections::VecDeque;

/// A part counts as an object of its own when it has at least this share of the whole object's pixels...
const MIN_SHARE: f64 = 0.1;
/// ... and at least this many: less is the fringe where two channels disagree.
const MIN_PIXELS: usize = 16;

/// The channel with the highest value at each pixel (ties: the lowest).
pub(crate) fn strongest(channels: &[Vec<f32>]) -> Vec<u8> {
    let mut strongest = vec![0; channels.first().map_or(0, Vec::len)];
    for (i, strongest) in strongest.iter_mut().enumerate() {
        for k in 1..channels.len() {
            if channels[k][i] > channels[usize::from(*strongest)][i] {
                *strongest = k as u8;
            }
        }
    }
    strongest
}

/// Components cut where their strongest channel changes: what a split chooses from, whatever the smallest object.
pub(crate) struct Parts<'a> {
    components: &'a Components,
    /// The connected parts of one component and one strongest channel.
    parts: Components,
    /// The component of each part, from 0.
    whole: Vec<usize>,
    /// The largest part of each component, the first among equals: it always stays.
    largest: Vec<usize>,
}

impl<'a> Parts<'a> {
    /// `strongest` names a channel for each pixel.
    pub fn new(components: &'a Components, strongest: &[u8]) -> Self {
        let value = |(&label, &channel): (&u32, &u8)| if label == 0 { 0 } else { label << 8 | u32::from(channel) };
        let values: Vec<u32> = components.labels.iter().zip(strongest).map(value).collect();
        let parts = components::label_values(components.width, components.height, &values);
        let mut whole = vec![0; parts.areas.len()];
        for (&part, &label) in parts.labels.iter().zip(&components.labels).filter(|(part, _)| **part != 0) {
            whole[part as usize - 1] = label as usize - 1;
        }
        let mut largest: Vec<Option<usize>> = vec![None; components.areas.len()];
        for (part, &whole) in whole.iter().enumerate() {
            if largest[whole].is_none_or(|largest| parts.areas[part] > parts.areas[largest]) {
                largest[whole] = Some(part);
            }
        }
        let largest = largest.into_iter().flatten().collect();
        Parts { components, parts, whole, largest }
    }

    /// Which parts become objects of their own where these have at least `min_area` pixels. The higher that is, the fewer.
    pub fn kept(&self, min_area: usize) -> Vec<bool> {
        let stays = |part: usize| {
            let (area, whole) = (self.parts.areas[part], self.whole[part]);
            let enough = (self.components.areas[whole] as f64 * MIN_SHARE).ceil() as usize;
            part == self.largest[whole] || area >= enough.max(min_area).max(MIN_PIXELS)
        };
        (0..self.parts.areas.len()).map(stays).collect()
    }

    /// The components, split into the parts that are kept; the others join the one that is nearest along the component's pixels. The set
    /// of pixels stays the same.
    pub fn split(&self, kept: &[bool]) -> Components {
        // One part of each component: it takes all of it. That is most of the time, and spares growing and labelling.
        if kept.iter().filter(|kept| **kept).count() == self.components.areas.len() {
            return self.components.clone();
        }
        let keep = |&part: &u32| if part != 0 && kept[part as usize - 1] { part } else { 0 };
        let mut labels: Vec<u32> = self.parts.labels.iter().map(keep).collect();
        grow(&mut labels, self.components);
        components::label_values(self.components.width, self.components.height, &labels)
    }
}

/// Gives the component's pixels without a part to the nearest part, breadth first.
fn grow(parts: &mut [u32], components: &Components) {
    let (width, height) = (components.width as i64, components.height as i64);
    let mut queue: VecDeque<usize> = (0..parts.len()).filter(|&i| parts[i] != 0).collect();
    while let Some(i) = queue.pop_front() {
        let (x, y) = (i as i64 % width, i as i64 / width);
        for (dx, dy) in [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)] {
            let (x, y) = (x + dx, y + dy);
            if x < 0 || y < 0 || x >= width || y >= height {
                continue;
            }
            let neighbour = (y * width + x) as usize;
            if parts[neighbour] == 0 && components.labels[neighbour] == components.labels[i] {
                parts[neighbour] = parts[i];
                queue.push_back(neighbour);
            }
        }
    }
}
