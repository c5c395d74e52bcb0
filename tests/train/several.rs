//! Several trainings with one command.

use crate::predict::{World, stderr, text};
use serde_json::Value;
use std::path::Path;

const TINY: &str = "--base 2 --levels 1 --size 16 --batch 4 --epochs 1 --fine-tune-epochs 0 --lr 1e-2 --threads 1";

fn train(world: &World, organ: &str, out: &Path, more: &[&str]) -> std::process::Output {
    let data = world.path("data");
    let mut args = vec!["train", "--data", text(&data), "--organ", organ, "--out", text(out)];
    args.extend(TINY.split(' '));
    args.extend(more);
    world.run(&args)
}

fn summary(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap()
}

#[test]
fn folds_judge_every_series_once_by_a_model_that_has_not_seen_it() {
    let world = World::shared();
    let out = world.path("folds");
    let output = train(world, "disc", &out, &["--folds", "3"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = summary(&out);
    let runs = summary["runs"].as_array().unwrap();
    let mut tested: Vec<String> = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let splits: Value =
            serde_json::from_slice(&std::fs::read(out.join(format!("fold-{}/splits.json", i + 1))).unwrap()).unwrap();
        assert_eq!(run["test"], splits["test"]);
        tested.extend(run["test"].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()));
    }
    tested.sort();
    assert_eq!(tested, ["litter-0", "litter-1", "litter-2", "litter-3", "litter-4"]);
    assert_eq!(summary["pooled"]["images"].as_u64(), Some(30));
    let recalls: Vec<f64> = runs.iter().filter_map(|run| run["pixel"]["recall"].as_f64()).collect();
    let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
    assert!((summary["mean"]["pixel"]["recall"].as_f64().unwrap() - mean).abs() < 1e-12);
    // What is there is not trained again, and says the same.
    let again = train(world, "disc", &out, &["--folds", "3", "--resume"]);
    assert!(again.status.success() && stderr(&again).matches("is finished").count() == 3, "{}", stderr(&again));
    assert_eq!(self::summary(&out), summary);
    assert_eq!(train(world, "disc", &out, &["--folds", "3"]).status.code(), Some(2), "it is there already");
    // One that had not begun is trained as the others were, without being told again how.
    std::fs::remove_dir_all(out.join("fold-2")).unwrap();
    let bare = stderr(&world.run(&["train", "--resume", "--out", text(&out)]));
    assert!(bare.contains("give --folds"), "{bare}");
    let short = world.run(&["train", "--resume", "--folds", "3", "--out", text(&out)]);
    assert!(short.status.success(), "{}", stderr(&short));
    assert_eq!(self::summary(&out), summary);
    let differs = train(world, "disc", &out, &["--folds", "2", "--resume"]);
    assert_eq!(differs.status.code(), Some(2), "other folds are another training: {}", stderr(&differs));
    assert_eq!(train(world, "disc", &world.path("too-many"), &["--folds", "9"]).status.code(), Some(2));
}

#[test]
fn seeds_share_the_split() {
    let world = World::shared();
    let out = world.path("seeds");
    let output = train(world, "disc", &out, &["--seeds", "2", "--seed", "5"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = summary(&out);
    let splits = |seed: u32| -> Value {
        let splits: Value =
            serde_json::from_slice(&std::fs::read(out.join(format!("seed-{seed}/splits.json"))).unwrap()).unwrap();
        serde_json::json!([splits["train"], splits["val"], splits["test"]])
    };
    assert_eq!(splits(5), splits(6));
    std::fs::remove_dir_all(out.join("seed-6")).unwrap();
    let short = world.run(&["train", "--resume", "--seeds", "2", "--out", text(&out)]);
    assert!(short.status.success(), "{}", stderr(&short));
    assert_eq!(self::summary(&out), summary, "the seed is that of the first");
    assert_eq!(summary["runs"].as_array().map(Vec::len), Some(2));
    assert!(summary["pooled"].is_null(), "the same pictures twice are not more pictures");
}

#[test]
fn all_organs_are_trained_one_after_another() {
    let world = World::shared();
    let out = world.path("all-organs");
    let output = train(world, "all", &out, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), text(&out.join("disc")));
    assert!(out.join("disc/report.html").is_file());
    let again = train(world, "all", &out, &["--resume"]);
    assert!(again.status.success() && stderr(&again).contains("is finished"), "{}", stderr(&again));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = World::shared().run(&["completions", shell]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("min-precision") && text.contains("predict"), "{shell}");
    }
}
