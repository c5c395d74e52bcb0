//! What goes wrong is noticed and named.

use super::*;
use unet_engine::checkpoint;
use unet_engine::error::ErrorKind;

#[test]
fn a_diverging_training_is_named_and_keeps_the_last_good_state() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut request = tiny(&run);
    request.options.lr = Some(1e30);
    let error = train(&request).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Run);
    assert!(message.contains("NaN") || message.contains("inf"), "{message}");
    assert!(message.contains("--lr") && message.contains("epoch"), "{message}");
    let last = checkpoint::read(&run.join("checkpoints/last.safetensors")).unwrap();
    assert!(last.tensors.values().all(|tensor| tensor.data.iter().all(|x| x.is_finite())));
}

#[test]
fn an_existing_run_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("something"), "of value").unwrap();
    let error = train(&tiny(folder.path())).unwrap_err();
    assert!(error.kind() == ErrorKind::Usage && error.to_string().contains("--resume"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn resuming_needs_a_run() {
    let folder = tempfile::tempdir().unwrap();
    for out in [None, Some(folder.path().join("nothing"))] {
        let error = train(&Request { resume: true, out, ..tiny(folder.path()) }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    }
}

/// A run directory that cannot be made leaves nothing that a resume would mistake for a run.
#[test]
fn weights_that_do_not_fit_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&tiny(&run)).unwrap();
    let model = checkpoint::Model::open(&run).unwrap();
    let weights = folder.path().join("weights.safetensors");
    let bytes = checkpoint::pytorch::export(&model.spec, &model.weights, 1).unwrap();
    std::fs::write(&weights, bytes).unwrap();
    assert_eq!(checkpoint::pytorch::import(&weights, &model.spec).unwrap(), model.weights);
    let other = folder.path().join("other");
    let mut request = tiny(&other);
    request.options.init = Some(weights);
    request.options.base = Some(3);
    let error = train(&request).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Data
            && error.to_string().contains("down.0.c1.weight: expected [3, 1, 3, 3], found [2, 1, 3, 3]"),
        "{error}"
    );
    assert!(!other.exists());
    request.options.base = Some(2);
    train(&request).unwrap();
    assert!(log_of(&other)[0].val_loss < log_of(&run)[0].val_loss, "trained weights start lower");
}
