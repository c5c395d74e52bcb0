//! From a mask to the ROI that encloses exactly its pixels.
//!
//! The edges between pixels inside and outside are followed along pixel corners with the inside on the right hand. Where two
//! pixels touch only diagonally, the outline turns right, so that each loop keeps one pixel's side and crosses no other loop.

use super::Roi;
use super::shape::{Points, RoiKind, Segment, Shape};
use crate::geometry::Mask;

/// The ROI that ImageJ fills to exactly `mask`: a polygon for one part without holes, a composite otherwise. `None` for an empty
/// mask.
pub fn from_mask(mask: &Mask) -> Option<Roi> {
    let mut loops = trace(mask);
    match loops.len() {
        0 => None,
        1 => {
            let points = Points::Whole(loops.swap_remove(0));
            Some(Roi::known(RoiKind::Polygon, Shape::Outline { points, spline: false }))
        }
        _ => Some(Roi::known(RoiKind::Composite, Shape::Path(loops.iter().flat_map(|corners| path(corners)).collect()))),
    }
}

fn path(corners: &[[i32; 2]]) -> impl Iterator<Item = Segment> {
    let segment = |(i, p): (usize, &[i32; 2])| {
        let p = p.map(|v| v as f32);
        if i == 0 { Segment::Move(p) } else { Segment::Line(p) }
    };
    corners.iter().enumerate().map(segment).chain([Segment::Close])
}

/// Steps along edges: right, down, left, up; turning right adds 1.
const STEPS: [[i64; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];

/// The corners of every loop, outer ones clockwise and holes anticlockwise.
fn trace(mask: &Mask) -> Vec<Vec<[i32; 2]>> {
    let (width, height) = (mask.width(), mask.height());
    // Every loop has a step to the right along the top of a pixel; each of those is visited once.
    let mut visited = vec![false; width * height];
    let mut loops = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let is_top = mask.get(x as i64, y as i64) && !mask.get(x as i64, y as i64 - 1);
            if is_top && !visited[y * width + x] {
                loops.push(follow(mask, &mut visited, [x as i64, y as i64]));
            }
        }
    }
    loops
}

fn follow(mask: &Mask, visited: &mut [bool], start: [i64; 2]) -> Vec<[i32; 2]> {
    let mut corners = Vec::new();
    let (mut at, mut direction) = (start, 0);
    loop {
        if direction == 0 {
            visited[at[1] as usize * mask.width() + at[0] as usize] = true;
        }
        at = [at[0] + STEPS[direction][0], at[1] + STEPS[direction][1]];
        let next = turn(mask, at, direction);
        if next != direction {
            corners.push([at[0] as i32, at[1] as i32]);
        }
        direction = next;
        if at == start && direction == 0 {
            return corners;
        }
    }
}

/// The direction in which the outline leaves the corner `at`: right where it can, else straight on, else left.
fn turn(mask: &Mask, at: [i64; 2], direction: usize) -> usize {
    /// Relative to a corner: the pixel on the right hand ahead, by direction.
    const RIGHT_AHEAD: [[i64; 2]; 4] = [[0, 0], [-1, 0], [-1, -1], [0, -1]];
    /// Relative to a corner: the pixel on the left hand ahead, by direction.
    const LEFT_AHEAD: [[i64; 2]; 4] = [[0, -1], [0, 0], [-1, 0], [-1, -1]];
    let inside = |offset: [i64; 2]| mask.get(at[0] + offset[0], at[1] + offset[1]);
    if !inside(RIGHT_AHEAD[direction]) {
        (direction + 1) % 4
    } else if inside(LEFT_AHEAD[direction]) {
        (direction + 3) % 4
    } else {
        direction
    }
}
