//! The commands on the real series beside the project; without them this test says so and passes.

use super::*;
use crate::dataset::real::shared;
use serde_json::Value;
use unet_engine::roi::archive;

fn run(args: &[&str]) -> String {
    let output = unet_engine(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn real_ultrasound_is_trained_on_evaluated_and_predicted() {
    let Some(data) = shared("usgra-series") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (data, model, out) = (data.to_str().unwrap().to_string(), path("nerve"), path("predictions"));
    let tiny = ["--preset", "quick", "--epochs", "1", "--base", "2", "--levels", "2", "--size", "32"];
    run(&[&["train", "--data", &data, "--organ", "nerve", "--out", &model], &tiny[..]].concat());

    let splits: Value = serde_json::from_slice(&std::fs::read(folder.path().join("nerve/splits.json")).unwrap()).unwrap();
    let test: Vec<&str> = splits["test"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(test.len(), 1, "a third of three series: {splits}");
    let report: Value = serde_json::from_str(&run(&["evaluate", "--model", &model, "--data", &data, "--json"])).unwrap();
    assert_eq!((&report["organ"], &report["split"], &report["images"]), (&"nerve".into(), &"test".into(), &35.into()));
    assert_eq!(report["series"][0]["series"], test[0]);
    assert!(report["images_with_organ"].as_u64().is_some_and(|n| n > 20), "{report}");
    assert!(report["pixel"]["recall"].as_f64().is_some_and(|r| (0.0..=1.0).contains(&r)), "{report}");

    let input = format!("{data}/{}", test[0]);
    let found = run(&["predict", "--model", &model, &input, "--out", &out, "--threshold", "0.3", "--min-area", "1", "--json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["series"], &found["sub_images"]), (&1.into(), &35.into()), "{found}");
    let rois = archive::read(&folder.path().join("predictions").join(test[0]).join("nerve_RoiSet.zip")).unwrap().rois;
    assert_eq!(found["objects"]["nerve"], rois.len(), "{found}");
    assert!(rois.iter().all(|(_, roi)| roi.as_ref().is_ok_and(|roi| roi.mask_area_px() > 0)));
}
