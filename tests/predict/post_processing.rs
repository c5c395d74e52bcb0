//! Opening, closing and hole filling as the command line sets them.

use super::{World, stderr, text, write_grid};
use crate::train::discs;
use unet_engine::geometry::Mask;
use unet_engine::segment::{OperatingPoint, clean};

const COLUMNS: usize = 6;

/// The masks that `predict` writes at a threshold, with small objects kept.
fn masks(world: &World, case: &str, threshold: &str, options: &[&str]) -> Vec<Mask> {
    let (run, grid, out) = (world.path("run"), world.path("post.png"), world.path(&format!("out-post-{case}")));
    let args = ["predict", "--model", text(&run), text(&grid), "--out", text(&out), "--grid", "5x6", "--border", "3"];
    let point = ["--threshold", threshold, "--min-area", "0"];
    let output = world.run(&[&args[..], &point[..], options].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let mask = |number: usize| {
        let file = out.join(format!("post/masks/disc-s{number:02}.png"));
        let picture = image::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())).into_luma8();
        let (width, height) = picture.dimensions();
        Mask::from_pixels(width as usize, height as usize, picture.into_raw().iter().map(|p| u8::from(*p != 0)).collect())
    };
    (1..=discs().len()).map(mask).collect()
}

/// What the options do to the masks is what the library's operations do to the masks without them.
#[test]
fn opening_closing_and_hole_filling_are_set_by_options() {
    let world = World::shared();
    write_grid(&world.path("post.png"), &discs(), COLUMNS, 3);
    let none = OperatingPoint { threshold: 0.5, min_area: 0, opening: 0, closing: 0, fill_holes: false };
    let cases = [
        ("opening", ["2", "0", "false"], OperatingPoint { opening: 2, ..none }),
        ("closing", ["0", "3", "false"], OperatingPoint { closing: 3, ..none }),
        ("holes", ["0", "0", "true"], OperatingPoint { fill_holes: true, ..none }),
        ("all", ["1", "2", "true"], OperatingPoint { opening: 1, closing: 2, fill_holes: true, ..none }),
    ];
    let mut n_changed = [0; 4];
    for threshold in THRESHOLDS {
        let plain_options = ["--opening", "0", "--closing", "0", "--fill-holes", "false"];
        let plain = masks(world, &format!("plain-{threshold}"), threshold, &plain_options);
        for (case, (name, [opening, closing, fill_holes], point)) in cases.iter().enumerate() {
            let options = ["--opening", opening, "--closing", closing, "--fill-holes", fill_holes];
            let found = masks(world, &format!("{name}-{threshold}"), threshold, &options);
            for (number, (plain, found)) in plain.iter().zip(&found).enumerate() {
                assert_eq!(*found, clean(plain.clone(), point), "{name} at {threshold}, sub-image {}", number + 1);
                n_changed[case] += usize::from(found != plain);
            }
        }
    }
    assert!(n_changed.iter().all(|&n| n > 0), "each changes some mask: {n_changed:?}");
}

/// A threshold low enough for specks and holes, and one in the middle.
const THRESHOLDS: [&str; 2] = ["0.1", "0.5"];

#[test]
fn evaluation_says_what_was_set() {
    let world = World::shared();
    let (run, data) = (world.path("run"), world.path("data"));
    let args = ["evaluate", "--json", "--model", text(&run), "--data", text(&data)];
    let report = |options: &[&str]| {
        let output = world.run(&[&args[..], options].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let own = report(&[]);
    let set = report(&["--opening", "9", "--closing", "4", "--fill-holes", "false"]);
    assert_eq!((&set["opening"], &set["closing"], &set["fill_holes"]), (&9.into(), &4.into(), &false.into()));
    assert_eq!((&own["closing"], &own["fill_holes"]), (&0.into(), &true.into()));
    assert_ne!(own["pixel"], set["pixel"], "no disc survives an opening that is wider");
}

#[test]
fn impossible_radii_are_wrong_usage() {
    let world = World::shared();
    let (run, data) = (world.path("run"), world.path("data"));
    for (option, value) in [("--opening", "65"), ("--closing", "-1"), ("--closing", "1.5"), ("--fill-holes", "perhaps")] {
        let output = world.run(&["evaluate", "--model", text(&run), "--data", text(&data), option, value]);
        assert_eq!(output.status.code(), Some(2), "{option} {value}: {}", stderr(&output));
    }
}
