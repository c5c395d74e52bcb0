//! `bench kernels`, `bench roofline` and `bench step` on the CUDA backend, as a user runs them.

use super::*;
use crate::ops::emulator;
use serde_json::{Value, json};
use std::path::Path;

const TINY: [&str; 8] = ["--base", "8", "--levels", "1", "--size", "16", "--batch", "2"];

/// The JSON that a successful command prints.
fn json_of(args: &[&str]) -> Value {
    let output = unet_engine(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}"))
}

fn device() -> Option<String> {
    emulator::library(80).map(|library| format!("emulator:{}", library.display()))
}

/// The whole way on the emulator: every layer of a network, in both types, is run, timed and judged.
#[test]
fn every_kernel_is_timed_and_judged() {
    let Some(device) = device() else { return };
    for (precision, arch) in [("mixed", "residual"), ("f32", "standard")] {
        let options = ["bench", "kernels", "--device", &device, "--arch", arch, "--precision", precision, "--json"];
        let report = json_of(&[&options[..], &TINY[..]].concat());
        assert!(report["setup"]["device"].as_str().is_some_and(|name| name.contains("emulated")), "{report}");
        assert!(report["setup"]["peaks"].is_null() && report["setup"]["cudnn"].is_null(), "{}", report["setup"]);
        let rows = report["rows"].as_array().expect("rows");
        let listed =
            json_of(&[&["bench", "kernels", "--list", "--arch", arch, "--precision", precision, "--json"], &TINY[..]].concat());
        let ids = |rows: &[Value]| rows.iter().map(|row| row["id"].to_string()).collect::<Vec<_>>();
        assert_eq!(ids(rows), ids(listed.as_array().expect("a list")));
        let (mut convolutions, mut others) = (0, 0);
        for row in rows {
            let ours = &row["ours"];
            assert!(
                ours["ms"].as_f64().is_some_and(|ms| ms > 0.0) && ours["gb_per_s"].as_f64().is_some_and(|rate| rate > 0.0),
                "{row}"
            );
            if row["convolution"].is_null() {
                others += 1;
                continue;
            }
            convolutions += 1;
            assert_eq!(ours["within"], true, "{row}");
            assert!(ours["samples"].as_u64().is_some_and(|n| (1..=4096).contains(&n)), "{row}");
            let most = if precision == "mixed" { 2e-3 } else { 1e-5 };
            assert!(ours["error"].as_f64().is_some_and(|error| error < most), "{row}");
        }
        assert!(convolutions >= 15 && others >= 8, "{convolutions} convolutions, {others} others");
    }
}

#[test]
fn times_of_pytorch_are_taken_for_their_device() {
    let Some(device) = device() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("torch.json");
    let id = "conv2d 3x3 16x16 8 -> 8 n2 f16";
    let write = |name: &str| {
        let text = json!({ "torch": "2.9", "device": name, "rows": [{ "id": id, "ms": 0.5 }] });
        std::fs::write(&file, text.to_string()).unwrap();
    };
    let file_name = file.to_str().unwrap();
    let options = ["bench", "kernels", "--device", &device, "--only", id, "--torch", file_name, "--json"];
    let args = [&options[..], &TINY[..]].concat();
    write("emulated GPU (sm_80)");
    let report = json_of(&args);
    let rows = report["rows"].as_array().unwrap();
    assert!(rows.len() == 1 && rows[0]["torch_ms"] == 0.5 && rows[0]["counts"].is_null(), "{report}");
    let none = json_of(&[&args[..], &["--limit", "0"]].concat());
    assert_eq!((&none["rows"], &none["left_out"]), (&json!([]), &json!([id])), "no time was left");
    write("NVIDIA H100 80GB HBM3");
    let (code, stderr) = code_and_stderr(&args);
    assert!(code == 3 && stderr.contains("H100"), "{code} {stderr}");
}

#[test]
fn without_a_gpu_it_says_so() {
    for device in ["cpu", "cuda:99"] {
        let (code, stderr) = code_and_stderr(&[&["bench", "kernels", "--device", device], &TINY[..]].concat());
        assert!(code == 4 && stderr.contains("what to do"), "{device}: {code} {stderr}");
    }
    let (code, stderr) = code_and_stderr(&["bench", "kernels", "--list", "--only", "no such kernel"]);
    assert!(code == 2 && stderr.contains("no such kernel"), "{code} {stderr}");
}

/// A whole training step through the program, in both precisions.
#[test]
fn a_step_runs_on_the_cuda_backend() {
    let Some(device) = device() else { return };
    for (what, precision) in [("step", "f32"), ("step", "auto"), ("infer", "auto")] {
        let network = ["--base", "8", "--levels", "1", "--size", "8", "--batch", "2"];
        let options = ["bench", what, "--device", &device, "--precision", precision, "--steps", "1", "--json"];
        let report = json_of(&[&options[..], &network[..]].concat());
        assert_eq!(report["precision"], if precision == "auto" { "mixed" } else { precision }, "{report}");
        assert!(report["device"].as_str().is_some_and(|name| name.contains("emulated")), "{report}");
        assert!(report["images_per_s"].as_f64().is_some_and(|speed| speed > 0.0), "{report}");
    }
    let (code, stderr) = code_and_stderr(&[&["bench", "step", "--device", "cpu", "--precision", "mixed"], &TINY[..]].concat());
    assert!(code == 4 && stderr.contains("mixed"), "{code} {stderr}");
}

fn roofline(args: &[&str]) -> Output {
    program(&[&["bench", "roofline"], args].concat())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program starts")
}

/// The tables in the documents are those of the kernels as they are.
#[test]
fn the_rooflines_in_the_documents_are_current() {
    let output = roofline(&["--check", "docs/kernels.md"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("kernels.md");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kernels.md")).unwrap();
    std::fs::write(&copy, text.replacen("| 154.62 |", "| 154.63 |", 1)).unwrap();
    let name = copy.to_str().unwrap();
    let output = roofline(&["--check", name]);
    assert_eq!(output.status.code(), Some(3), "a number was changed");
    assert!(roofline(&["--write", name]).status.success());
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), text);
}

#[test]
fn rooflines_are_counted_for_known_gpus() {
    let output = roofline(&["--gpu", "h200", "--only", "conv2d 3x3", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["gpu"]["name"], &report["measured"]), (&"H200".into(), &false.into()));
    assert!(
        report["rows"].as_array().is_some_and(|rows| rows.len() == 14 && rows.iter().all(|row| row["warps"].is_u64())),
        "{report}"
    );
    assert_eq!(roofline(&["--gpu", "h300"]).status.code(), Some(2));
    assert_eq!(roofline(&["--resources", "no/such/file.tsv"]).status.code(), Some(3));
}
