//! ImageJ and roifile read the archives that `predict` writes.

use super::{World, stderr, text, write_grid};
use crate::roi::foreign::{READERS, described};
use crate::train::discs;
use serde_json::Value;
use std::path::Path;

const COLUMNS: usize = 6;
const BORDER: usize = 3;
const CELL: [usize; 2] = [30, 26];

/// The number of set pixels by place, of one or several ROIs: `runs` in the box of each.
fn filled(lines: &[&Value], origin: [i64; 2]) -> Vec<u8> {
    let mut mask = vec![0; CELL[0] * CELL[1]];
    for line in lines {
        let bounds: Vec<i64> = line["bounds"].as_array().expect("a box").iter().filter_map(Value::as_i64).collect();
        let runs = line["runs"].as_array().expect("pixels").iter().filter_map(Value::as_i64);
        let (mut at, mut inside) = (0, false);
        for run in runs {
            for i in at..at + run {
                let (x, y) = (bounds[0] + i % bounds[2] - origin[0], bounds[1] + i / bounds[2] - origin[1]);
                if inside {
                    mask[y as usize * CELL[0] + x as usize] = 255;
                }
            }
            (at, inside) = (at + run, !inside);
        }
    }
    mask
}

/// The rows of `summary.csv` as name, area and score.
fn summary(out: &Path) -> Vec<(String, u64, f64)> {
    let text = std::fs::read_to_string(out.join("summary.csv")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (format!("{}-s{:0>2}-{}", cells[2], cells[1], cells[3]), cells[4].parse().unwrap(), cells[7].parse().unwrap())
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn other_programs_read_what_predict_writes() {
    let world = World::shared();
    write_grid(&world.path("foreign.png"), &discs(), COLUMNS, BORDER);
    let (run, grid, out) = (world.path("run"), world.path("foreign.png"), world.path("out-foreign"));
    let output = world.run(&["predict", "--model", text(&run), text(&grid), "--out", text(&out)]);
    assert!(output.status.success(), "{}", stderr(&output));
    let (series, rows) = (out.join("foreign"), summary(&out));
    assert!(rows.len() >= 10, "{} objects", rows.len());
    for reader in READERS {
        for (file, is_composite) in [("disc_RoiSet.zip", false), ("disc_composite_RoiSet.zip", true)] {
            let Some(lines) = described(reader, &series, &[file]) else { continue };
            assert_eq!(lines.len(), rows.len(), "{reader}, {file}");
            for (line, (name, area, score)) in lines.iter().zip(&rows) {
                check(line, name, *area, *score, is_composite);
            }
            for number in 1..=discs().len() {
                let mask = image::open(series.join(format!("masks/disc-s{number:02}.png"))).unwrap().into_luma8();
                let prefix = format!("disc-s{number:02}-");
                let of_it: Vec<&Value> =
                    lines.iter().filter(|line| line["name"].as_str().is_some_and(|n| n.starts_with(&prefix))).collect();
                let place = |i: usize, n: usize| (n * (CELL[i] + BORDER)) as i64;
                let origin = [place(0, (number - 1) % COLUMNS), place(1, (number - 1) / COLUMNS)];
                let origin = if is_composite { origin } else { [0, 0] };
                assert_eq!(filled(&of_it, origin), mask.into_raw(), "{reader}, {file}, sub-image {number}");
            }
        }
    }
}

/// One ROI as the README promises it: name, position, group, colour, properties.
fn check(line: &Value, name: &str, area: u64, score: f64, is_composite: bool) {
    assert_eq!((&line["name"], &line["entry"]), (&name.into(), &format!("{name}.roi").into()));
    let number: u64 = name.split("-s").nth(1).and_then(|rest| rest.split('-').next()).and_then(|n| n.parse().ok()).unwrap();
    let position = if is_composite { 0 } else { number };
    assert_eq!((&line["position"], &line["group"]), (&position.into(), &4.into()), "{name}");
    // The first colour of an organ without one of its own; ImageJ shows that of the group.
    let color = line["strokeColor"].as_str().unwrap_or_default();
    assert!(color == "ffffd000" || line.get("class").is_some() && !color.is_empty(), "{name}: {color}");
    let properties = line["props"].as_str().unwrap_or_default();
    let property = |key: &str| {
        let line = properties.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name}: {key} in {properties}")).trim().to_string()
    };
    assert_eq!(property("model"), "run");
    let found: f64 = property("score").parse().unwrap();
    assert!((found - score).abs() < 6e-4, "{name}: {found} and {score}");
    assert!(property("threshold").parse::<f64>().is_ok_and(|t| t > 0.0 && t < 1.0));
    let inside: u64 = line["runs"].as_array().expect("pixels").iter().skip(1).step_by(2).filter_map(Value::as_u64).sum();
    assert_eq!(inside, area, "{name}");
}
