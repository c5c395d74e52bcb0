//! Splits an object into the several that touch, where the network's channels see several.

use super::components::{self, Components};
use std::collections::VecDeque;

/// A part counts as an object of its own when it has at least this share of the whole object's pixels...
const MIN_SHARE: f64 = 0.1;
/// ... and at least this many: less is the fringe where two channels disagree.
const MIN_PIXELS: usize = 16;

/// Gives each pixel of a component to the channel with the highest value there (ties: the lowest). Connected parts of one channel that
/// are large enough become components; smaller ones join the part that is nearest along the component's pixels. The set of pixels
/// stays the same.
pub(super) fn by_channel(components: &Components, channels: &[Vec<f32>], min_area: usize) -> Components {
    let n_channels = channels.len() as u32;
    let value = |(i, &label): (usize, &u32)| match label {
        0 => 0,
        _ => (label - 1) * n_channels + best_channel(channels, i) + 1,
    };
    let values: Vec<u32> = components.labels.iter().enumerate().map(value).collect();
    let mut parts = components::label_values(components.width, components.height, &values);
    let mut whole = vec![0usize; parts.areas.len()];
    let mut largest = vec![0usize; components.areas.len()];
    for (&part, &label) in parts.labels.iter().zip(&components.labels).filter(|(part, _)| **part != 0) {
        whole[part as usize - 1] = label as usize - 1;
        largest[label as usize - 1] = largest[label as usize - 1].max(parts.areas[part as usize - 1]);
    }
    let stays = |part: usize| {
        let (area, whole) = (parts.areas[part], whole[part]);
        let enough = (components.areas[whole] as f64 * MIN_SHARE).ceil() as usize;
        area == largest[whole] || area >= enough.max(min_area).max(MIN_PIXELS)
    };
    let keep: Vec<bool> = (0..parts.areas.len()).map(stays).collect();
    parts.labels.iter_mut().filter(|part| **part != 0 && !keep[**part as usize - 1]).for_each(|part| *part = 0);
    grow(&mut parts.labels, components);
    components::label_values(components.width, components.height, &parts.labels)
}

fn best_channel(channels: &[Vec<f32>], i: usize) -> u32 {
    let mut best = 0;
    for k in 1..channels.len() {
        if channels[k][i] > channels[best][i] {
            best = k;
        }
    }
    best as u32
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
