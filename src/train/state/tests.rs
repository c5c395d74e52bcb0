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

fn mixed() -> State {
    State::new(&config(3, 1)).in_precision(Precision::Mixed)
}

#[test]
fn a_step_that_overflowed_counts_for_no_moment_and_lowers_the_scale() {
    let mut state = mixed();
    let mut take = |overflowed, loss| {
        let mut clock = state.clock;
        clock.tick(1.0);
        let result = state.take_step(clock, Step { loss, overflowed });
        (result, state.clock.t, state.step, state.skipped_steps, state.loss_scale())
    };
    assert_eq!(take(false, 0.5), (Ok(()), 1, 1, 0, 65_536.0));
    assert_eq!(take(true, 0.5), (Ok(()), 1, 2, 1, 32_768.0));
    // The forward pass may overflow with one batch and not with the next.
    assert_eq!(take(true, f32::NAN), (Ok(()), 1, 3, 2, 16_384.0));
    assert_eq!(take(false, 0.5), (Ok(()), 2, 4, 2, 16_384.0));
    assert_eq!(take(false, f32::NAN).0, Err(Diverged::Loss), "no gradient overflowed: a lower scale would not help");
    assert!((0..14).all(|_| take(true, 0.5).0 == Ok(())));
    assert_eq!(take(true, 0.5).0, Err(Diverged::Gradient));
    assert_eq!(take(true, f32::INFINITY).0, Err(Diverged::Loss));
    assert_eq!((state.loss_scale(), state.batches_done, state.skipped_steps), (1.0, 18, 16));
    state.advance(true, &config(3, 1));
    assert_eq!(state.skipped_steps, 0);
}

#[test]
fn in_f32_a_loss_that_is_no_number_ends_the_training() {
    let mut state = State::new(&config(3, 1));
    assert_eq!(state.take_step(AdamClock { t: 1 }, Step { loss: 0.5, overflowed: false }), Ok(()));
    assert_eq!((state.clock.t, state.step, state.loss_scale()), (1, 1, 1.0));
    assert_eq!(state.take_step(AdamClock { t: 2 }, Step { loss: f32::NAN, overflowed: false }), Err(Diverged::Loss));
}

/// In f32 the state is written as it always was; one from before there was a scaler is read, in either precision; and a run may go on
/// in the other precision.
#[test]
fn states_are_interchangeable_between_precisions() {
    let full = State::new(&config(3, 1));
    let text = serde_json::to_string(&full).unwrap();
    assert!(!text.contains("scale") && !text.contains("skipped"), "{text}");
    let read: State = serde_json::from_str(&text).unwrap();
    assert_eq!(read.clone().in_precision(Precision::F32), full);
    assert_eq!(read.in_precision(Precision::Mixed), mixed());
    let mut half = mixed();
    half.take_step(AdamClock::default(), Step { loss: 0.5, overflowed: true }).unwrap();
    let text = serde_json::to_string(&half).unwrap();
    let read: State = serde_json::from_str(&text).unwrap();
    assert_eq!(read.clone().in_precision(Precision::Mixed), half);
    let full = read.in_precision(Precision::F32);
    assert_eq!((full.loss_scale(), full.loss_scaler, full.skipped_steps, full.step), (1.0, None, 0, 1));
    assert!(half.check(&config(3, 1)).is_ok() && full.check(&config(3, 1)).is_ok());
    let broken: State = serde_json::from_str(&text.replace("32768.0", "3.0")).unwrap();
    assert!(broken.check(&config(3, 1)).unwrap_err().contains("loss_scaler"));
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
