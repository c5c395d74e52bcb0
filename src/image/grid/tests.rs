use super::*;
use crate::random::{Philox, Purpose};
use proptest::prelude::*;

/// A smooth random texture with its own mean and contrast, as a sub-image is: sums of a few waves and a little noise.
fn texture(width: usize, height: usize, rng: &mut Philox, gain: f32) -> Gray {
    let waves: Vec<[f32; 4]> =
        (0..5).map(|_| [rng.range(-0.25, 0.25), rng.range(-0.25, 0.25), rng.range(0.0, 6.3), rng.range(5.0, 25.0)]).collect();
    let mean = rng.range(60.0, 190.0);
    let mut pixels = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let sum: f32 = waves.iter().map(|w| w[3] * (w[0] * x as f32 + w[1] * y as f32 + w[2]).sin()).sum();
            pixels.push((gain * (mean + sum + rng.range(-4.0, 4.0))).clamp(0.0, 255.0).round());
        }
    }
    Gray::new(width, height, pixels)
}

#[derive(Clone, Debug)]
struct Case {
    rows: usize,
    columns: usize,
    cell: [usize; 2],
    border: usize,
    around: bool,
    rest: [usize; 2],
    level: f32,
    blanks: usize,
    dark: Vec<usize>,
    seed: u64,
}

fn compose(case: &Case) -> (Gray, Vec<[usize; 2]>) {
    let start = if case.around { case.border } else { 0 };
    let length = |n: usize, cell: usize, rest: usize| n * cell + (n - 1) * case.border + 2 * start + rest;
    let width = length(case.columns, case.cell[0], case.rest[0]);
    let height = length(case.rows, case.cell[1], case.rest[1]);
    let mut picture = Gray::new(width, height, vec![case.level; width * height]);
    let mut rng = Philox::new(case.seed, 0, 0, Purpose::Synth);
    let n_cells = case.rows * case.columns;
    let mut origins = Vec::new();
    for i in 0..n_cells {
        let left = start + (i % case.columns) * (case.cell[0] + case.border);
        let top = start + (i / case.columns) * (case.cell[1] + case.border);
        origins.push([left, top]);
        if i + case.blanks >= n_cells {
            continue;
        }
        let gain = if case.dark.contains(&i) { 0.1 } else { 1.0 };
        let cell = texture(case.cell[0], case.cell[1], &mut rng, gain);
        for y in 0..cell.height {
            let to = (top + y) * width + left;
            picture.pixels[to..to + cell.width].copy_from_slice(&cell.pixels[y * cell.width..(y + 1) * cell.width]);
        }
    }
    (picture, origins)
}

fn check(case: &Case) {
    let (picture, origins) = compose(case);
    let found = detect(&picture);
    let grid = &found.grid;
    assert_eq!((grid.rows, grid.columns), (case.rows, case.columns), "{case:?}: {}", found.reason);
    assert_eq!((grid.cell, grid.border), (case.cell, case.border), "{case:?}: {}", found.reason);
    assert_eq!(grid.origins, origins, "{case:?}");
    let n_cells = case.rows * case.columns;
    assert_eq!(grid.blank, (n_cells - case.blanks..n_cells).collect::<Vec<_>>(), "{case:?}");
}

fn cases() -> impl Strategy<Value = Case> {
    let shape = prop_oneof![Just((5, 7)), Just((7, 5)), Just((6, 6)), (2usize..7, 2usize..7)];
    let level = prop_oneof![Just(0.0f32), Just(255.0f32), Just(128.0f32)];
    (shape, [30usize..60, 30usize..60], 0usize..6, any::<bool>(), [0usize..2, 0usize..2], level, any::<u64>()).prop_map(
        |((rows, columns), cell, border, around, rest, level, seed)| {
            let mut rng = Philox::new(seed, 1, 0, Purpose::Synth);
            let dark = (0..rng.below(5)).map(|_| rng.below(rows * columns)).collect();
            let blanks = if (rows, columns) == (6, 6) { 1 } else { 0 };
            Case { rows, columns, cell, border, around: around && border > 0, rest, level, blanks, dark, seed }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn composites_of_random_textures_are_found(case in cases()) {
        check(&case);
    }

    #[test]
    fn points_map_there_and_back(rows in 1usize..7, columns in 1usize..8, border in 0usize..6, x in 0.0f64..29.0, y in 0.0f64..19.0) {
        let size = [columns * 30 + (columns - 1) * border, rows * 20 + (rows - 1) * border];
        let grid = Grid::regular(size, rows, columns, border).unwrap();
        for i in 0..rows * columns {
            let [cx, cy] = grid.to_composite(i, [x, y]);
            prop_assert_eq!(grid.cell_at(cx, cy), Some(i));
            let [bx, by] = grid.to_cell(i, [cx, cy]);
            prop_assert!((bx - x).abs() < 1e-9 && (by - y).abs() < 1e-9);
        }
    }
}

#[test]
fn a_single_texture_is_no_composite() {
    for seed in 0..20 {
        let mut rng = Philox::new(seed, 0, 0, Purpose::Synth);
        let found = detect(&texture(300, 200, &mut rng, 1.0));
        assert_eq!(found.grid.origins.len(), 1, "seed {seed}: {}", found.reason);
    }
}

/// A composite of which the given cells (from 0) have one intensity.
fn with_constant(rows: usize, columns: usize, constant: &[usize]) -> Grid {
    let case = Case {
        rows,
        columns,
        cell: [32, 32],
        border: 0,
        around: false,
        rest: [0; 2],
        level: 0.0,
        blanks: 0,
        dark: vec![],
        seed: 1,
    };
    let (mut picture, origins) = compose(&case);
    for [left, top] in constant.iter().map(|i| origins[*i]) {
        for y in top..top + 32 {
            picture.pixels[y * picture.width + left..][..32].fill(3.0);
        }
    }
    let mut grid = Grid::regular([picture.width, picture.height], rows, columns, 0).unwrap();
    grid.find_blanks(&picture);
    grid
}

#[test]
fn blank_cells_leave_35_pictures() {
    assert!(with_constant(5, 7, &[34]).blank.is_empty());
    assert!(with_constant(7, 5, &[0, 33, 34]).blank.is_empty());
    assert_eq!(with_constant(6, 6, &[35]).blank, [35]);
    assert_eq!(with_constant(6, 6, &[0]).blank, [0]);
    assert_eq!(with_constant(6, 6, &[34, 35]).blank, [35], "a dark cell before the blank one");
    assert_eq!(with_constant(6, 6, &[3, 35]).blank, [35], "a dark cell among pictures");
    assert_eq!(with_constant(4, 4, &[2, 14, 15]).blank, [14, 15]);
}

#[test]
fn tiny_and_constant_pictures_are_single() {
    for [width, height] in [[1, 1], [1, 50], [50, 1], [2, 3], [17, 40], [300, 200]] {
        for level in [0.0, 7.0, f32::NAN] {
            let found = detect(&Gray::new(width, height, vec![level; width * height]));
            assert_eq!((found.grid.origins.len(), &found.grid.blank[..]), (1, &[][..]), "{width} x {height} of {level}");
        }
    }
}

#[test]
fn impossible_grids_are_none() {
    assert_eq!(Grid::regular([10, 10], 5, 7, 5), None);
    assert_eq!(Grid::regular([10, 10], 0, 7, 0), None);
    assert_eq!(Grid::regular([10, 10], 11, 1, 0), None);
}
