//! Models together: any mixture of architectures, mirror images, and an operating point chosen for exactly that use.

use super::{World, stderr, text, write_data, write_stack};
use crate::train::discs;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use unet_engine::image::Gray;
use unet_engine::infer::flips;
use unet_engine::predict::{Ensemble, Settings};
use unet_engine::roi::archive;

/// A second model of the same series and split, of another architecture and size.
fn residual() -> PathBuf {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let world = World::shared();
        let (data, run) = (world.path("data"), world.path("residual"));
        let options = "--organ disc --arch residual --base 3 --levels 1 --size 24 --batch 4 --epochs 8 --fine-tune-epochs 0 --lr 1e-2 --threads 1";
        let mut args = vec!["train", "--data", text(&data), "--out", text(&run)];
        args.extend(options.split(' '));
        let output = world.run(&args);
        assert!(output.status.success(), "{}", stderr(&output));
        run
    })
    .clone()
}

/// Runs `calibrate` with the shared model first; the exit code, the JSON and the messages.
fn calibrate(data: &str, out: &str, options: &[&str]) -> (i32, Value, String) {
    let world = World::shared();
    let (run, data, out) = (world.path("run"), world.path(data), world.path(out));
    let args = [&["calibrate", "--json", "--model", text(&run), "--data", text(&data), "--out", text(&out)], options].concat();
    let output = world.run(&args);
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap_or(-1), value, stderr(&output))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_model_alone_gets_the_point_that_its_training_chose() {
    let world = World::shared();
    let (code, written, errors) = calibrate("data", "alone.json", &[]);
    assert_eq!(code, 0, "{errors}");
    let mut own = json(&world.path("run/calibration.json"));
    let precision = own.as_object_mut().unwrap().remove("precision").expect("what it was computed in");
    assert!(["f32", "bf16"].map(Value::from).contains(&precision));
    assert_eq!(written["calibration"], own);
    assert_eq!(written, json(&world.path("alone.json")));
    assert_eq!((&written["flips"], written["images"].as_u64()), (&Value::Bool(false), Some(6)));
    assert_eq!(written["series"], json(&world.path("run/splits.json"))["val"]);
}

#[test]
fn architectures_mix_and_their_rois_say_what_was_measured_for_them_together() {
    let world = World::shared();
    let second = residual();
    let both = ["--model", text(&second)];
    let (code, written, errors) = calibrate("data", "both.json", &[&both[..], &["--flips"]].concat());
    assert_eq!(code, 0, "{errors}");
    let (run, stack, file) = (world.path("run"), world.path("both.tif"), world.path("both.json"));
    write_stack(&stack, &discs()[..12]);
    let predict = |out: &str, options: &[&str]| {
        let out = world.path(out);
        let models = ["predict", "--model", text(&run), "--model", text(&second), text(&stack), "--out", text(&out)];
        let output = world.run(&[&models, options].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let rois = archive::read(&out.join("both/disc_RoiSet.zip")).unwrap().rois;
        let rois: Vec<_> = rois.into_iter().map(|(_, roi)| roi.unwrap()).collect();
        assert!(!rois.is_empty());
        (rois, stderr(&output))
    };
    let (rois, messages) = predict("out-both", &["--calibration", text(&file)]);
    assert!(!messages.contains("calibrate"), "{messages}");
    let objects = &written["calibration"]["objects"];
    let [right, wrong] = ["true_positive", "false_positive"].map(|key| objects[key].as_f64().unwrap());
    let expected = format!("{:.3}", (right + 1.0) / (right + wrong + 2.0));
    let threshold = format!("{:.3}", written["calibration"]["point"]["threshold"].as_f64().unwrap());
    for roi in &rois {
        assert_eq!((roi.property("model"), roi.property("flips")), (Some("run+residual"), Some("true")));
        assert_eq!((roi.property("expected_precision"), roi.property("threshold")), (Some(&*expected), Some(&*threshold)));
    }
    // Without the file nothing was measured for these two together, and the user hears what to do.
    let (rois, messages) = predict("out-unjudged", &[]);
    assert!(messages.contains("the mean of its models' own") && messages.contains("calibrate"), "{messages}");
    assert!(rois.iter().all(|roi| roi.property("expected_precision").is_none() && roi.property("flips").is_none()));
}

#[test]
fn the_numbers_of_the_calibration_are_those_of_the_evaluation() {
    let world = World::shared();
    let (second, file) = (residual(), world.path("judged.json"));
    let (_, written, _) = calibrate("data", "judged.json", &["--model", text(&second), "--flips"]);
    let (run, data) = (world.path("run"), world.path("data"));
    let models = ["--model", text(&second), "--model", text(&run)];
    let rest = ["--data", text(&data), "--split", "val", "--calibration", text(&file)];
    let output = world.run(&[&["evaluate", "--json"], &models[..], &rest[..]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!(report["flips"], Value::Bool(true), "the file says so, whatever the order of the models");
    for kind in ["pixel", "object"] {
        let [a, b] = [&report[kind]["precision"], &written["calibration"][format!("{kind}_precision")]];
        assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-9, "{kind}: {a} and {b}");
    }
}

/// The mean over all mirror images of a picture is that of its mirror image, mirrored; without flips it is not.
#[test]
fn with_flips_a_mirror_image_gets_the_mirrored_answer() {
    let world = World::shared();
    let samples = discs();
    let images: Vec<&Gray> = samples[..3].iter().map(|sample| &sample.image).collect();
    for has_flips in [true, false] {
        let settings = Settings { flips: has_flips, ..Settings::of_models("cpu", 1) };
        let mut ensemble = Ensemble::open(&[world.path("run"), residual()], &settings).unwrap();
        let straight = ensemble.combined(&images, |_| ()).unwrap();
        for flip in &flips::ALL[1..] {
            let mirrored: Vec<Gray> = images.iter().map(|image| flip.picture(image).into_owned()).collect();
            let answers = ensemble.combined(&mirrored.iter().collect::<Vec<_>>(), |_| ()).unwrap();
            let mut largest = 0.0f32;
            for (straight, mut answer) in straight.iter().zip(answers) {
                flip.apply(&mut answer.union, answer.width);
                largest = straight.union.iter().zip(&answer.union).map(|(a, b)| (a - b).abs()).fold(largest, f32::max);
            }
            assert_eq!(largest < 1e-5, has_flips, "{flip:?}: they differ by {largest}");
        }
    }
}

#[test]
fn a_file_for_other_models_or_another_use_is_refused() {
    let world = World::shared();
    let second = residual();
    let (run, data, file) = (world.path("run"), world.path("data"), world.path("refused.json"));
    assert_eq!(calibrate("data", "refused.json", &[]).0, 0);
    let refused = |options: &[&str]| {
        let output = world.run(&[&["evaluate", "--data", text(&data), "--calibration", text(&file)], options].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output)
    };
    let errors = refused(&["--model", text(&second)]);
    assert!(errors.contains("made for the disc models run") && errors.contains("given are residual"), "{errors}");
    assert!(refused(&["--model", text(&run), "--flips"]).contains("made without --flips"));
    assert!(refused(&["--model", text(&run), "--calibration", text(&file)]).contains("found two"));
    let damaged = world.path("damaged.json");
    std::fs::write(&damaged, &std::fs::read(&file).unwrap()[..100]).unwrap();
    let output = world.run(&["evaluate", "--data", text(&data), "--model", text(&run), "--calibration", text(&damaged)]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("damaged.json"), "{}", stderr(&output));
}

#[test]
fn nothing_is_chosen_on_pictures_of_the_training_or_where_nothing_is_annotated() {
    let world = World::shared();
    write_data(&world.path("renamed-for-calibration"), &discs(), "other");
    let (code, _, errors) = calibrate("renamed-for-calibration", "leak.json", &[]);
    assert_eq!(code, 3, "{errors}");
    assert!(errors.contains("used to train") && !world.path("leak.json").exists(), "{errors}");
    let mut samples = discs()[..6].to_vec();
    for sample in &mut samples {
        sample.image.pixels.reverse();
        sample.instances.clear();
    }
    write_data(&world.path("bare"), &samples, "bare");
    let (code, _, errors) = calibrate("bare", "bare.json", &[]);
    assert_eq!(code, 3, "{errors}");
    assert!(errors.contains("expected an annotated disc") && !world.path("bare.json").exists(), "{errors}");
}

/// Mirrored pictures are other pictures: another lab's, say.
fn write_other_data(name: &str) {
    let mut samples = discs();
    for sample in &mut samples {
        sample.image.pixels.reverse();
        for mask in &mut sample.instances {
            let pixels = mask.pixels().iter().rev().copied().collect();
            *mask = unet_engine::geometry::Mask::from_pixels(mask.width(), mask.height(), pixels);
        }
    }
    write_data(&World::shared().path(name), &samples, "other-lab");
}

#[test]
fn on_other_data_all_series_are_used_and_not_judged_on_again() {
    let world = World::shared();
    write_other_data("other-lab");
    let (code, written, errors) = calibrate("other-lab", "other-lab.json", &["--min-precision", "0.999"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!((written["images"].as_u64(), written["series"].as_array().map(Vec::len)), (Some(30), Some(5)));
    assert_eq!(written["calibration"]["min_precision"].as_f64(), Some(0.999));
    assert!(errors.contains("a precision of 0.999 is"), "a few dozen discs cannot promise as much: {errors}");
    let (run, other, own, file) = (world.path("run"), world.path("other-lab"), world.path("data"), world.path("other-lab.json"));
    let evaluate = |data: &Path, options: &[&str]| {
        let args = ["evaluate", "--model", text(&run), "--data", text(data), "--calibration", text(&file)];
        let output = world.run(&[&args, options].concat());
        (output.status.code(), stderr(&output))
    };
    let (code, errors) = evaluate(&other, &[]);
    assert!(code == Some(3) && errors.contains("the threshold was chosen on sub-image"), "{errors}");
    let (code, errors) = evaluate(&own, &["--min-area", "3"]);
    assert!(code == Some(0) && !errors.contains("calibrate"), "no advice to do what was done: {errors}");
}

#[test]
fn nothing_is_overwritten_that_calibrate_did_not_write() {
    let world = World::shared();
    let own = world.path("run/calibration.json");
    let before = std::fs::read(&own).unwrap();
    for (out, expected) in
        [("run/calibration.json", "is not a file that `calibrate` wrote"), ("nowhere/a.json", "there is no folder")]
    {
        let (code, _, errors) = calibrate("data", out, &[]);
        assert!(code == 2 && errors.contains(expected), "{errors}");
    }
    assert_eq!(std::fs::read(&own).unwrap(), before);
    let run = world.path("run");
    let (code, _, errors) = calibrate("data", "twins.json", &["--model", text(&run)]);
    assert!(code == 2 && errors.contains("given twice"), "{errors}");
    for _ in 0..2 {
        assert_eq!(calibrate("data", "again.json", &[]).0, 0, "its own file is replaced");
    }
}
