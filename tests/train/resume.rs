//! A training that was stopped goes on as if it never had been.

use super::*;
use std::cell::Cell;
use unet_engine::checkpoint;
use unet_engine::error::ErrorKind;
use unet_engine::train::config::{Options, PrecisionChoice};

/// Trains, interrupted at every `every`-th batch (of training or validation), until it is done. Returns the number of interruptions.
pub fn train_in_pieces(request: &Request, samples: fn() -> Vec<Sample>, every: usize) -> usize {
    let mut request = request.clone();
    for interruptions in 0..200 {
        let asked = Cell::new(0);
        let interrupt = || {
            asked.set(asked.get() + 1);
            asked.get() == every
        };
        match run_on(&request, samples(), &interrupt) {
            Ok(_) => return interruptions,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}"),
        }
        request.resume = true;
    }
    panic!("the training does not come to an end");
}

#[test]
fn stopped_at_any_batch_it_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    train(&tiny(&whole)).unwrap();
    assert_eq!(log_of(&whole).len(), 5, "three epochs and two of fine-tuning");
    for every in [3, 4, 7] {
        let pieces = folder.path().join(format!("every-{every}"));
        let interruptions = train_in_pieces(&tiny(&pieces), discs, every);
        assert!(interruptions > 3, "{interruptions} interruptions");
        assert_same_run(&whole, &pieces);
    }
}

/// A crash between two saves: `last` is older than the log and than `best`.
#[test]
fn a_crash_before_last_is_written_costs_nothing_but_time() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, crashed) = (folder.path().join("whole"), folder.path().join("crashed"));
    train(&tiny(&whole)).unwrap();
    train(&tiny(&crashed)).unwrap();
    // As if the last epoch's `last` had never been written.
    for suffix in ["", ".sha256"] {
        std::fs::remove_file(crashed.join(format!("checkpoints/last.safetensors{suffix}"))).unwrap();
    }
    train(&Request { resume: true, ..tiny(&crashed) }).unwrap();
    assert_same_run(&whole, &crashed);
}

fn in_precision(precision: PrecisionChoice, out: &Path) -> Request {
    let request = tiny(out);
    Request { options: Options { precision: Some(precision), ..request.options }, ..request }
}

#[test]
fn on_bf16_it_goes_on_bit_for_bit_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, pieces, f32] = ["whole", "pieces", "f32"].map(|name| folder.path().join(name));
    train(&in_precision(PrecisionChoice::Bf16, &whole)).unwrap();
    assert!(train_in_pieces(&in_precision(PrecisionChoice::Bf16, &pieces), discs, 5) > 2);
    assert_same_run(&whole, &pieces);
    train(&in_precision(PrecisionChoice::F32, &f32)).unwrap();
    let last = |run: &Path| log_of(run).last().expect("epochs").train_loss;
    let distance = (last(&whole) / last(&f32) - 1.0).abs();
    assert!(distance > 0.0 && distance < 0.1, "the losses part by {distance:e}");
}

/// A run that was stopped in mixed precision goes on in f32 where it is told to, with its parameters, moments and counts; the loss scale
/// of before does not go with it. On the CPU it goes on in no other way.
#[test]
fn a_mixed_run_goes_on_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, mixed) = (folder.path().join("whole"), folder.path().join("mixed"));
    let tiny = |out: &Path| in_precision(PrecisionChoice::F32, out);
    train(&tiny(&whole)).unwrap();
    let asked = Cell::new(0);
    let second_epoch = || {
        asked.set(asked.get() + 1);
        asked.get() == 8
    };
    run_on(&tiny(&mixed), discs(), &second_epoch).unwrap_err();
    // As a GPU leaves it behind.
    let config = std::fs::read_to_string(mixed.join("config.toml")).unwrap();
    std::fs::write(mixed.join("config.toml"), config.replace("precision = \"f32\"", "precision = \"mixed\"")).unwrap();
    let path = mixed.join("checkpoints/last.safetensors");
    let mut last = checkpoint::read(&path).unwrap();
    last.state["loss_scaler"] = serde_json::json!({"scale": 4096.0, "clean_steps": 3});
    last.state["skipped_steps"] = 1.into();
    last.tensors.get_mut("loss_scale").unwrap().data = vec![4096.0];
    checkpoint::write(&path, &last).unwrap();
    let go_on = |precision| {
        let options = Options { precision, ..tiny(&mixed).options };
        train(&Request { options, resume: true, ..tiny(&mixed) })
    };
    for precision in [None, Some(PrecisionChoice::Auto), Some(PrecisionChoice::Mixed)] {
        let error = go_on(precision).unwrap_err();
        assert!(error.kind() == ErrorKind::Device && error.to_string().contains("--precision f32"), "{error}");
    }
    go_on(Some(PrecisionChoice::F32)).unwrap();
    assert_same_run(&whole, &mixed);
}

#[test]
fn a_damaged_last_falls_back_to_previous() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, damaged) = (folder.path().join("whole"), folder.path().join("damaged"));
    train(&tiny(&whole)).unwrap();
    train(&tiny(&damaged)).unwrap();
    damage(&damaged, "last");
    train(&Request { resume: true, ..tiny(&damaged) }).unwrap();
    assert_same_run(&whole, &damaged);
    damage(&damaged, "last");
    damage(&damaged, "previous");
    let error = train(&Request { resume: true, ..tiny(&damaged) }).unwrap_err();
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("last.safetensors"), "{error}");
}

/// A crash after `best` was written and before the `last` that names it, then another machine, on which the epoch does not improve.
#[test]
fn the_best_that_last_names_survives_one_that_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let asked = Cell::new(0);
    // Stopped in the third epoch, when there is a best one.
    let third_epoch = || {
        asked.set(asked.get() + 1);
        asked.get() == 16
    };
    run_on(&tiny(&run), discs(), &third_epoch).unwrap_err();
    let named = checkpoint(&run, "best");
    for suffix in ["", ".sha256"] {
        let path = |name: &str| run.join(format!("checkpoints/{name}.safetensors{suffix}"));
        std::fs::copy(path("best"), path("former-best")).unwrap();
        // Any other whole checkpoint: what matters is that `last` does not name it.
        std::fs::copy(path("previous"), path("best")).unwrap();
    }
    let mut request = Request { resume: true, ..tiny(&run) };
    request.options.threads = Some(1);
    train(&request).unwrap();
    assert!(checkpoint(&run, "former-best") == named || checkpoint(&run, "best") == named);
}

fn damage(run: &Path, name: &str) {
    let path = run.join(format!("checkpoints/{name}.safetensors"));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

/// The data is not even looked for.
#[test]
fn resuming_a_finished_run_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&tiny(&run)).unwrap();
    let before = checkpoint(&run, "last");
    let request = Request { resume: true, out: Some(run.clone()), ..Request::default() };
    unet_engine::train::run(&request, &|| false).unwrap();
    assert!(before == checkpoint(&run, "last"));
}

#[test]
fn a_resumed_run_keeps_its_configuration_and_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let stopped = run_on(&tiny(&run), discs(), &|| true).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Interrupted);
    let mut other = Request { resume: true, ..tiny(&run) };
    other.options.lr = Some(0.5);
    let error = train(&other).unwrap_err();
    assert!(error.kind() == ErrorKind::Usage && error.to_string().contains("--lr"), "{error}");
    let changed: Vec<Sample> = discs().into_iter().map(|s| Sample { digest: [7; 32], ..s }).collect();
    let error = run_on(&Request { resume: true, ..tiny(&run) }, changed, &|| false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    let mut threads = Request { resume: true, ..tiny(&run) };
    threads.options.threads = Some(2);
    train(&threads).unwrap();
}

/// Half a training, stopped by the user.
fn begun(run: &Path) {
    let asked = Cell::new(0);
    let interrupt = || {
        asked.set(asked.get() + 1);
        asked.get() == 12
    };
    let error = run_on(&tiny(run), discs(), &interrupt).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
}

#[test]
fn a_run_goes_on_only_with_the_annotations_that_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    begun(&run);
    let mut samples = discs();
    let text = std::fs::read_to_string(run.join("splits.json")).unwrap();
    let splits: serde_json::Value = serde_json::from_str(&text).unwrap();
    let is_used = |s: &Sample| splits["test"].as_array().unwrap().iter().all(|test| test.as_str() != Some(&*s.series));
    samples.iter_mut().find(|s| is_used(s) && !s.instances.is_empty()).unwrap().instances.clear();
    let request = Request { resume: true, ..tiny(&run) };
    let error = run_on(&request, samples, &|| false).unwrap_err();
    assert!(error.to_string().contains("the annotations are not those that the run began with"), "{error}");
    train(&request).unwrap();
}

/// Every checkpoint's `.sha256` names its own file, as `sha256sum -c` expects; no name of a write is left.
#[test]
fn checksums_name_their_files() {
    let folder = tempfile::tempdir().unwrap();
    train(&tiny(folder.path())).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(folder.path().join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let stems: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".sha256")).collect();
    assert!(stems.len() >= 3 && names.len() == 2 * stems.len(), "{names:?}");
    for stem in stems {
        let path = folder.path().join("checkpoints").join(stem);
        let sum = unet_engine::checkpoint::checksum(&std::fs::read(&path).unwrap());
        let text = std::fs::read_to_string(path.with_file_name(format!("{stem}.sha256"))).unwrap();
        assert_eq!(text, format!("{sum}  {stem}\n"));
    }
}

/// A power cut between `best` and its checksum: the new file under the old checksum must not become the former best.
#[test]
fn a_best_without_its_checksum_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, torn) = (folder.path().join("whole"), folder.path().join("torn"));
    train(&tiny(&whole)).unwrap();
    begun(&torn);
    let best = torn.join("checkpoints/best.safetensors");
    for suffix in ["", ".sha256"] {
        let name = |stem: &str| torn.join(format!("checkpoints/{stem}.safetensors{suffix}"));
        std::fs::copy(name("best"), name("former-best")).unwrap();
    }
    let mut bytes = std::fs::read(&best).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::remove_file(&best).unwrap();
    std::fs::write(&best, bytes).unwrap();
    train(&Request { resume: true, ..tiny(&torn) }).unwrap();
    assert_same_run(&whole, &torn);
    for name in ["best", "former-best"] {
        assert!(unet_engine::checkpoint::read(&torn.join(format!("checkpoints/{name}.safetensors"))).is_ok(), "{name}");
    }
}
