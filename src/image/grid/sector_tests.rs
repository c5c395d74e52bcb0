//! Composites of fans on black, as curved probes give them.

use super::*;
use crate::random::{Philox, Purpose};
use proptest::prelude::*;

/// A fan in a box: its outline touches all four sides of the box.
#[derive(Clone, Copy, Debug)]
struct Fan {
    half_angle: f32,
    /// Inner radius, the outer one being 1.
    inner: f32,
    gain: f32,
}

impl Fan {
    fn random(rng: &mut Philox) -> Fan {
        Fan { half_angle: rng.range(0.4, 0.8), inner: rng.range(0.05, 0.4), gain: rng.range(0.6, 1.3) }
    }

    /// Speckle inside, 0 outside; `box_` gives left, top, width and height of the fan in the cell.
    fn draw(&self, cell: [usize; 2], [left, top, width, height]: [f32; 4], rng: &mut Philox) -> Gray {
        let (bottom, high) = (1.0, self.inner * self.half_angle.cos());
        let mut picture = Gray::new(cell[0], cell[1], vec![0.0; cell[0] * cell[1]]);
        for (i, pixel) in picture.pixels.iter_mut().enumerate() {
            let (x, y) = ((i % cell[0]) as f32 + 0.5 - left, (i / cell[0]) as f32 + 0.5 - top);
            if x < 0.0 || y < 0.0 || x > width || y > height {
                continue;
            }
            // A little larger than the box, so that it is cut off at all sides, as displays do.
            let across = 1.04 * (2.0 * x / width - 1.0) * self.half_angle.sin();
            let down = high + (bottom - high) * (0.5 + 1.04 * (y / height - 0.5));
            let (radius, angle) = (across.hypot(down), across.atan2(down));
            if radius >= self.inner && radius <= 1.0 && angle.abs() <= self.half_angle {
                let speckle = (-2.0 * rng.range(1e-6, 1.0).ln()).sqrt();
                *pixel = (45.0 * self.gain * speckle).clamp(1.0, 255.0).round();
            }
        }
        picture
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fans {
    /// The same in each cell.
    Identical,
    /// Of different angles, radii and gains, each filling its cell.
    Differing,
    /// Of different sizes and at different places, too.
    Moving,
}

#[derive(Clone, Debug)]
struct Case {
    rows: usize,
    columns: usize,
    cell: [usize; 2],
    border: usize,
    around: bool,
    level: f32,
    margin: usize,
    fans: Fans,
    seed: u64,
}

impl Case {
    fn n_blanks(&self) -> usize {
        usize::from((self.rows, self.columns) == (6, 6))
    }

    fn compose(&self) -> (Gray, Vec<[usize; 2]>) {
        let start = if self.around { self.border } else { 0 };
        let [width, height] = [(self.columns, self.cell[0]), (self.rows, self.cell[1])]
            .map(|(n, cell)| n * cell + (n - 1) * self.border + 2 * start);
        let mut picture = Gray::new(width, height, vec![self.level; width * height]);
        let mut rng = Philox::new(self.seed, 0, 0, Purpose::Synth);
        let common = Fan::random(&mut rng);
        let n_cells = self.rows * self.columns;
        let corner = |i: usize| {
            [(i % self.columns, self.cell[0]), (i / self.columns, self.cell[1])].map(|(k, cell)| start + k * (cell + self.border))
        };
        let origins: Vec<[usize; 2]> = (0..n_cells).map(corner).collect();
        for [left, top] in &origins[..n_cells - self.n_blanks()] {
            let margin = self.margin as f32;
            let mut fan_box = [margin, margin, self.cell[0] as f32 - 2.0 * margin, self.cell[1] as f32 - 2.0 * margin];
            if self.fans == Fans::Moving {
                for axis in 0..2 {
                    let size = fan_box[2 + axis] * rng.range(0.85, 1.0);
                    fan_box[axis] += (fan_box[2 + axis] - size) * rng.range(0.0, 1.0);
                    fan_box[2 + axis] = size;
                }
            }
            let fan = if self.fans == Fans::Identical { common } else { Fan::random(&mut rng) };
            let cell = fan.draw(self.cell, fan_box, &mut rng);
            for (y, row) in cell.pixels.chunks_exact(cell.width).enumerate() {
                let to = (top + y) * width + left;
                picture.pixels[to..to + cell.width].copy_from_slice(row);
            }
        }
        (picture, origins)
    }

    /// Whether the pixels decide where the cells lie: borders of another intensity, or fans that fill their cells.
    fn is_decided(&self) -> bool {
        self.border > 0 && self.level > 0.0 || self.margin == 0 && self.fans != Fans::Moving
    }
}

fn check(case: &Case) {
    let (picture, origins) = case.compose();
    let found = detect(&picture);
    let grid = &found.grid;
    let found_it = format!(
        "{case:?}: {}; {} x {} cells of {:?}, border {}, first {:?}, last {:?}",
        found.reason,
        grid.rows,
        grid.columns,
        grid.cell,
        grid.border,
        grid.origins[0],
        grid.origins.last().unwrap()
    );
    assert_eq!((grid.rows, grid.columns), (case.rows, case.columns), "{found_it}");
    assert!(found.confidence >= if case.fans == Fans::Moving { 0.4 } else { 0.6 }, "{found_it}");
    let n_cells = origins.len();
    assert_eq!(grid.blank, (n_cells - case.n_blanks()..n_cells).collect::<Vec<_>>(), "{found_it}");
    let is_decided = case.is_decided();
    if is_decided || case.border == 0 && case.fans != Fans::Moving {
        assert_eq!((grid.cell, grid.border), (case.cell, case.border), "{found_it}");
        assert_eq!(grid.origins, origins, "{found_it}");
    }
    for axis in 0..2 {
        let span = |origins: &[[usize; 2]]| origins[n_cells - 1][axis] - origins[0][axis];
        let [n, drift] = [[case.columns, case.rows][axis], span(&grid.origins).abs_diff(span(&origins))];
        if is_decided || case.fans != Fans::Moving {
            assert_eq!(drift, 0, "{found_it}");
            assert!(grid.origins[0][axis].abs_diff(origins[0][axis]) <= case.margin, "{found_it}");
        } else {
            // Where fans move in their cells and nothing shows the border, the period is known to a pixel.
            assert!(drift < n, "{found_it}");
        }
    }
}

fn cases(fans: Fans) -> impl Strategy<Value = Case> {
    let shape = prop_oneof![Just((5, 7)), Just((7, 5)), Just((6, 6)), Just((1, 35))];
    let side = || prop_oneof![4 => 40usize..120, 1 => 120usize..241];
    let border = prop_oneof![1 => Just(0usize), 2 => 0usize..6];
    let level = prop_oneof![Just(0.0f32), Just(255.0f32), Just(128.0f32)];
    (shape, side(), 0.7f32..1.4, border, any::<bool>(), level, 0usize..9, any::<u64>()).prop_map(
        move |((rows, columns), width, aspect, border, around, level, margin, seed)| {
            let cell = [width, ((width as f32 / aspect) as usize).clamp(40, 240)];
            Case { rows, columns, cell, border, around: around && border > 0, level, margin, fans, seed }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn identical_fans_are_found(case in cases(Fans::Identical)) {
        check(&case);
    }

    #[test]
    fn differing_fans_are_found(case in cases(Fans::Differing)) {
        check(&case);
    }

    #[test]
    fn moving_fans_are_found(case in cases(Fans::Moving)) {
        check(&case);
    }
}

/// Cells of 90 x 70 pixels: without margins, with margins, and with a border in the margins.
#[test]
fn fans_on_black_are_cut_at_their_cells() {
    for (rows, columns) in [(5, 7), (7, 5), (6, 6)] {
        for (border, around, margin) in [(0, false, 0), (0, false, 4), (1, false, 4), (1, true, 4), (2, true, 0)] {
            for fans in [Fans::Identical, Fans::Differing] {
                check(&Case { rows, columns, cell: [90, 70], border, around, level: 0.0, margin, fans, seed: 3 });
            }
        }
    }
}

#[test]
fn a_strip_of_35_cells_is_found() {
    for border in [0, 2] {
        let case = Case {
            rows: 1,
            columns: 35,
            cell: [48, 48],
            border,
            around: false,
            level: 255.0,
            margin: 0,
            fans: Fans::Differing,
            seed: 5,
        };
        check(&case);
    }
}

/// JPEG rings around the fans and blurs the borders.
#[test]
fn fans_are_found_after_jpeg() {
    for (rows, columns, border, level, margin) in [(5, 7, 0, 0.0, 4), (7, 5, 2, 0.0, 3), (5, 7, 3, 255.0, 2), (6, 6, 0, 0.0, 0)] {
        let case = Case { rows, columns, cell: [96, 80], border, around: false, level, margin, fans: Fans::Differing, seed: 7 };
        let (picture, _) = case.compose();
        let bytes: Vec<u8> = picture.pixels.iter().map(|v| *v as u8).collect();
        let mut file = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 85);
        encoder.encode(&bytes, picture.width as u32, picture.height as u32, image::ExtendedColorType::L8).unwrap();
        let read = image::load_from_memory(&file).unwrap().into_luma8();
        let read = Gray::new(picture.width, picture.height, read.into_raw().into_iter().map(f32::from).collect());
        let found = detect(&read);
        assert_eq!((found.grid.rows, found.grid.columns), (rows, columns), "{case:?}: {}", found.reason);
        assert!(found.confidence >= 0.6, "{case:?}: {}", found.reason);
        let [width, height] = found.grid.origins[columns + 1];
        assert_eq!([width - found.grid.origins[0][0], height - found.grid.origins[0][1]], case.cell.map(|side| side + border));
    }
}

#[test]
fn a_single_fan_is_no_composite() {
    for (seed, size) in [[320, 240], [640, 480], [512, 512], [761, 632]].into_iter().cycle().take(16).enumerate() {
        let mut rng = Philox::new(seed as u64, 0, 0, Purpose::Synth);
        let [left, top] = [rng.range(0.0, 90.0), rng.range(0.0, 60.0)];
        let [width, height] = size.map(|side| side as f32);
        let fan_box = [left, top, width - left - rng.range(0.0, 90.0), height - top - rng.range(0.0, 60.0)];
        let fan = Fan::random(&mut rng);
        let found = detect(&fan.draw(size, fan_box, &mut rng));
        let is_single = found.grid.origins.len() == 1 || found.confidence < 0.4;
        assert!(is_single, "seed {seed}: {} x {} cells, {}", found.grid.rows, found.grid.columns, found.reason);
    }
}
