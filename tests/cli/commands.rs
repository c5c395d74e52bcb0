//! `bench`, `doctor` and `synth` as a user runs them.

use super::*;
use serde_json::Value;

/// The JSON that a successful command prints.
fn json(args: &[&str]) -> Value {
    let output = unet_engine(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}"))
}

const TINY: [&str; 11] = ["--json", "--base", "2", "--levels", "1", "--size", "16", "--batch", "1", "--steps", "1"];

#[test]
fn bench_prints_its_measurements() {
    for what in ["step", "infer", "augment"] {
        let report = json(&[&["bench", what, "--arch", "residual", "--threads", "1"], &TINY[..]].concat());
        let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{what}: {key} is a number in {report}"));
        for key in ["images_per_s", "step_ms_median", "arena_bytes"] {
            assert!(number(key) > 0.0 && number(key).is_finite(), "{what}: {key} in {report}");
        }
        let peak = report.get("peak_rss_bytes").unwrap_or_else(|| panic!("{what}: peak_rss_bytes in {report}"));
        assert!(peak.as_u64().is_some_and(|bytes| bytes > 1 << 20) || !cfg!(target_os = "linux"), "{what}: {peak}");
        assert_eq!((&report["arch"], &report["base"]), (&"residual".into(), &2.into()), "{what}");
        assert_eq!((&report["size"], &report["batch"]), (&16.into(), &1.into()), "{what}");
        assert!(report["device"].as_str().is_some_and(|d| d.starts_with("cpu")), "{what}: {report}");
    }
}

#[test]
fn bench_lists_operations_with_profile() {
    let report = json(&[&["bench", "step", "--profile"], &TINY[..]].concat());
    let rows = report["profile"].as_array().expect("a list");
    assert!(rows.iter().any(|row| row["operation"].as_str().is_some_and(|name| name.contains("conv2d"))), "{report}");
    let share: f64 = rows.iter().filter_map(|row| row["share"].as_f64()).sum();
    assert!((share - 1.0).abs() < 1e-3, "shares add up to {share}");
}

/// Numbers that no machine can serve are said to be so, not tried.
#[test]
fn bench_refuses_absurd_numbers() {
    let cases: [(&[&str], i32); 12] = [
        (&["augment", "--batch", "18446744073709551615", "--size", "16"], 2),
        (&["augment", "--size", "100000000", "--batch", "100000"], 2),
        (&["augment", "--steps", "99999999999999999"], 2),
        (&["augment", "--threads", "99999999999"], 2),
        (&["augment", "--size", "16384", "--batch", "4096"], 4),
        (&["step", "--steps", "99999999999999999"], 2),
        (&["step", "--batch", "18446744073709551615", "--size", "16"], 2),
        (&["step", "--size", "18446744073709551615"], 2),
        (&["step", "--base", "18446744073709551615"], 2),
        (&["step", "--levels", "64"], 2),
        (&["infer", "--threads", "99999999999"], 2),
        (&["infer", "--batch", "0"], 2),
    ];
    for (args, expected) in cases {
        let (code, stderr) = code_and_stderr(&[&["bench"], args].concat());
        assert!(code == expected && stderr.contains("what to do"), "{args:?}: {code}\n{stderr}");
    }
}

#[test]
fn doctor_prints_what_is_there() {
    let report = json(&["doctor", "--json"]);
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert!(report["target"].as_str().is_some_and(|t| t.contains('-')), "{report}");
    assert!(report["cpu"]["cores"].as_u64().is_some_and(|n| n > 0) && report["cpu"]["features"].is_array(), "{report}");
    let cuda = report["cuda"].as_object().expect("what is known of CUDA");
    for key in ["enabled", "driver", "driver_error", "gpus", "kernels", "kernel_compiler", "kernel_error", "cudnn"] {
        assert!(cuda.contains_key(key), "cuda.{key} in {report}");
    }
    assert_eq!(cuda["enabled"], cfg!(feature = "cuda"));
    assert!(cuda["gpus"].is_array() && cuda["kernels"].is_array() && report["advice"].is_array(), "{report}");
    // Kernels have a compiler; where there are none, there is a reason.
    let kernels = cuda["kernels"].as_array().is_some_and(|kernels| !kernels.is_empty());
    assert!(kernels == cuda["kernel_compiler"].is_string() && kernels == cuda["kernel_error"].is_null(), "{report}");
}

/// What `synth` writes, `inspect` finds: by its JSON.
#[test]
fn synth_writes_what_inspect_finds() {
    let folder = tempfile::tempdir().unwrap();
    for (layout, composite) in [("series", "stack"), ("lab", "grid")] {
        let out = folder.path().join(layout);
        let out = out.to_str().unwrap();
        let args = ["synth", "--out", out, "--series", "2", "--size", "96", "--layout", layout, "--composite", composite];
        let (code, stderr) = code_and_stderr(&args);
        assert!(code == 0 && stderr.contains("2 series of 35 sub-images"), "{code}\n{stderr}");
        let found = json(&["inspect", out, "--json"]);
        assert_eq!(found["organs"], serde_json::json!(["heart", "liver", "placenta"]), "{found}");
        let series = found["series"].as_array().expect("a list");
        assert_eq!(series.iter().map(|s| s["sub_images"].as_u64()).collect::<Vec<_>>(), [Some(35); 2]);
        for organ in ["heart", "liver", "placenta"] {
            assert!(series.iter().all(|s| s["organs"][organ]["rois"].as_u64().is_some_and(|n| n > 0)), "{organ}: {found}");
        }
        assert_eq!((&found["warnings"], &found["errors"]), (&serde_json::json!([]), &serde_json::json!([])));
        let (again, stderr) = code_and_stderr(&args);
        assert!(again != 0 && stderr.contains("what to do"), "nothing is written over: {again}\n{stderr}");
    }
}
