use super::*;
use crate::train::config::{Facts, Options};

fn config(epochs: usize, fine_tune_epochs: usize) -> Config {
    let options = Options {
        data: Some("d".into()),
        organ: Some("heart".into()),
        epochs: Some(epochs),
        fine_tune_epochs: Some(fine_tune_epochs),
        lr: Some(1.0),
        plateau_patience: Some(2),
        stop_patience: Some(5),
        ..Options::default()
    };
    Config::resolve(&options, Facts { median_side: 32, n_train: 8 }).unwrap()
}

/// Sums of one image and channel: `[I, P, T, CE, W, TP, FP, FN]`.
const IMAGE: [f32; N_SUMS] = [3.0, 5.0, 4.0, 20.0, 100.0, 2.0, 3.0, 2.0];

#[test]
fn loss_and_metrics_are_pooled_over_images_and_padding_adds_nothing() {
    let parameters = LossParameters { alpha: 0.25, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    let mut totals = Totals::new(1);
    totals.add(&[IMAGE, [0.0; N_SUMS]].concat());
    totals.add(&IMAGE);
    let dice = 1.0 - (2.0 * 6.0 + 1.0) / (10.0 + 8.0 + 1.0);
    assert!((totals.loss(&parameters) - (0.25 * dice + 0.75 * 0.2)).abs() < 1e-12);
    assert_eq!(totals.dice(), Some(8.0 / 18.0));
    assert_eq!(totals.precision(), Some(0.4));
    assert_eq!(totals.recall(), Some(0.5));
}

#[test]
fn nothing_predicted_has_no_precision_and_is_a_collapse() {
    let mut totals = Totals::new(1);
    totals.add(&[0.0, 0.1, 4.0, 20.0, 100.0, 0.0, 0.0, 4.0]);
    assert_eq!((totals.precision(), totals.recall()), (None, Some(0.0)));
    assert_eq!(totals.collapse(), Some(Collapse::Nothing));
    let mut everything = Totals::new(1);
    everything.add(&[4.0, 99.0, 4.0, 20.0, 100.0, 4.0, 96.0, 0.0]);
    assert_eq!(everything.collapse(), Some(Collapse::Everything));
    let (empty, full) = ([0.0, 0.1, 0.0, 2.0, 100.0, 0.0, 0.0, 0.0], [4.0, 99.0, 4.0, 20.0, 100.0, 4.0, 96.0, 0.0]);
    let collapse = |image: [[f32; N_SUMS]; 3]| {
        let mut totals = Totals::new(3);
        totals.add(image.as_flattened());
        totals.collapse()
    };
    assert_eq!(collapse([empty, full, empty]), Some(Collapse::Everything), "one channel spoils the union");
    assert_eq!(collapse([empty, IMAGE, empty]), None, "channels without instances stay empty");
    let mut healthy = Totals::new(1);
    healthy.add(&IMAGE);
    assert_eq!((healthy.collapse(), Totals::new(1).collapse()), (None, None));
}

#[test]
fn phases_follow_each_other() {
    let config = config(2, 1);
    let mut state = State::new(&config);
    state.clock.tick(1.0);
    assert!(!state.advance(true, &config));
    assert!(state.advance(true, &config));
    assert_eq!((state.phase, state.epoch, state.phase_epoch), (Phase::FineTune, 2, 0));
    assert_eq!((state.learning_rate, state.clock.t), (config.fine_tune_lr, 0));
    assert!(state.advance(false, &config));
    assert_eq!(state.phase, Phase::Done);
}

#[test]
fn a_plateau_reduces_and_early_stopping_ends_the_phase() {
    let config = config(100, 0);
    let mut state = State::new(&config);
    assert!(!state.advance(true, &config));
    let rates: Vec<f64> = (0..4).map(|_| (state.advance(false, &config), state.learning_rate).1).collect();
    assert_eq!(rates, [1.0, 1.0, 0.1, 0.1]);
    assert!(state.advance(false, &config) && state.phase == Phase::Done, "five epochs without improvement");
}

#[test]
fn state_survives_json_bit_for_bit() {
    let config = config(3, 1);
    let mut state = State::new(&config);
    state.learning_rate = 0.1 + 0.2;
    state.totals.add(&IMAGE.map(|x| x / 3.0));
    state.best = Some(Best { loss: 1.0 / 3.0, epoch: 2, checksum: "ab".into() });
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}
