//! `evaluate`: its own split, other data, leakage, ensembles.

use super::{World, stderr, text, write_data};
use crate::train::discs;
use serde_json::Value;
use unet_engine::dataset::Sample;

fn evaluate(world: &World, data: &str, options: &[&str]) -> (i32, Value, String) {
    let (run, data) = (world.path("run"), world.path(data));
    let args = [&["evaluate", "--json", "--model", text(&run), "--data", text(&data)], options].concat();
    let output = world.run(&args);
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap_or(-1), value, stderr(&output))
}

#[test]
fn its_own_data_are_judged_by_its_split() {
    let world = World::shared();
    let splits: Value = serde_json::from_slice(&std::fs::read(world.path("run/splits.json")).unwrap()).unwrap();
    for (split, options) in [("test", &[][..]), ("val", &["--split", "val"][..])] {
        let (code, report, errors) = evaluate(world, "data", options);
        assert_eq!(code, 0, "{errors}");
        assert_eq!((report["split"].as_str(), report["images"].as_u64()), (Some(split), Some(6)));
        let names: Vec<&Value> = report["series"].as_array().unwrap().iter().map(|s| &s["series"]).collect();
        assert_eq!(names, splits[split].as_array().unwrap().iter().collect::<Vec<_>>());
        for kind in ["pixel", "object"] {
            for key in ["dice", "precision", "recall", "iou"] {
                let value = report[kind][key].as_f64().unwrap_or_else(|| panic!("{kind}.{key} is a number in {report}"));
                assert!((0.0..=1.0).contains(&value));
                assert_eq!(report["series"][0][kind][key].as_f64(), Some(value), "one series is all there is");
            }
        }
        let (with, without) = (report["images_with_organ"].as_u64().unwrap(), report["images_without_organ"].as_u64().unwrap());
        assert_eq!(with + without, 6);
        assert!(report["threshold"].as_f64().is_some() && report["mean_dice"].as_f64().is_some());
    }
}

#[test]
fn the_validation_numbers_are_those_of_the_calibration() {
    let world = World::shared();
    let calibration: Value = serde_json::from_slice(&std::fs::read(world.path("run/calibration.json")).unwrap()).unwrap();
    let (_, report, _) = evaluate(world, "data", &["--split", "val"]);
    let close = |a: &Value, b: &Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-9;
    assert!(close(&report["pixel"]["precision"], &calibration["pixel_precision"]), "{report} {calibration}");
    assert!(close(&report["object"]["precision"], &calibration["object_precision"]), "{report} {calibration}");
}

#[test]
fn pictures_that_were_trained_on_are_refused_whatever_they_are_called() {
    let world = World::shared();
    write_data(&world.path("renamed"), &discs(), "other");
    let (code, _, errors) = evaluate(world, "renamed", &[]);
    assert_eq!(code, 3, "{errors}");
    assert!(errors.contains("used to train") && errors.contains("what to do"), "{errors}");
}

#[test]
fn a_series_added_to_its_own_data_changes_nothing() {
    let world = World::shared();
    let (_, before, _) = evaluate(world, "data", &[]);
    write_data(&world.path("grown"), &discs(), "litter");
    write_data(&world.path("grown"), &mirrored(&discs()[..6]), "new");
    let (code, after, errors) = evaluate(world, "grown", &[]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(after["series_not_in_split"], serde_json::json!(["new-0"]));
    assert_eq!((&after["split"], &after["pixel"], &after["series"]), (&before["split"], &before["pixel"], &before["series"]));
}

/// Mirrored pictures are other pictures.
fn mirrored(samples: &[Sample]) -> Vec<Sample> {
    let mut samples = samples.to_vec();
    for sample in &mut samples {
        sample.image.pixels.reverse();
        for mask in &mut sample.instances {
            let pixels = mask.pixels().iter().rev().copied().collect();
            *mask = unet_engine::geometry::Mask::from_pixels(mask.width(), mask.height(), pixels);
        }
    }
    samples
}

#[test]
fn other_data_are_used_whole_even_under_the_same_names() {
    let world = World::shared();
    write_data(&world.path("mirrored"), &mirrored(&discs()), "litter");
    let (code, report, errors) = evaluate(world, "mirrored", &[]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!((report["split"].as_str(), report["images"].as_u64()), (Some("all"), Some(30)));
    assert_eq!(report["series"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_model_twice_is_the_model() {
    let world = World::shared();
    let run = world.path("run");
    let (_, alone, _) = evaluate(world, "data", &[]);
    let (code, twice, errors) = evaluate(world, "data", &["--model", text(&run)]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!((&alone["pixel"], &alone["object"]), (&twice["pixel"], &twice["object"]));
    assert_eq!(twice["models"].as_array().map(Vec::len), Some(2));
}

#[test]
fn nothing_predicted_has_no_precision() {
    let world = World::shared();
    let (code, report, errors) = evaluate(world, "data", &["--min-area", "100000"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!((&report["pixel"]["precision"], report["pixel"]["recall"].as_f64()), (&Value::Null, Some(0.0)));
    assert_eq!(report["object"]["precision"], Value::Null);
}
