//! After the last epoch: the operating point, chosen on the validation series, and the report.

use super::environment::pretty_json;
use super::fit::Trainer;
use super::state::Totals;
use crate::atomic_file;
use crate::dataset::Sample;
use crate::error::{Error, ErrorKind, Result};
use crate::image::letterbox::Letterbox;
use crate::metrics::calibrate::{Calibration, Prediction, calibrate};
use crate::report;

/// Predicts the validation images with the best weights, chooses the operating point and writes the report.
pub(super) fn finish(trainer: &mut Trainer<'_>, val: &[Sample]) -> Result<()> {
    trainer.store.load_best(&mut trainer.engine, &trainer.state)?;
    let predictions = predict(trainer, val)?;
    let calibration = calibrate(&predictions, trainer.config.min_precision);
    atomic_file::write(&trainer.store.files.calibration(), &pretty_json(&calibration)?)?;
    trainer.progress.say(&describe(&calibration));
    report::write_training(trainer.store.files.root(), &predictions)
}

/// The probabilities of the validation images in original pixels. The channels of an image are alternatives for the same pixel.
fn predict<'a>(trainer: &mut Trainer<'_>, val: &'a [Sample]) -> Result<Vec<Prediction<'a>>> {
    let (side, n_channels, batch) = (trainer.config.size, trainer.config.instances, trainer.config.batch);
    let mut map = vec![0.0; batch * side * side * n_channels];
    let mut totals = Totals::new(n_channels);
    let order: Vec<(u32, usize)> = (0..val.len()).map(|image| (0, image)).collect();
    trainer.validation.enqueue(&order);
    let mut predictions = Vec::with_capacity(val.len());
    while let Some(batch) = trainer.validation.next()? {
        trainer.engine.validate(batch, &mut totals)?;
        trainer.engine.probability(&mut map)?;
        for (&index, pixels) in batch.samples.iter().zip(map.chunks_exact(side * side * n_channels)) {
            let sample = &val[index];
            let letterbox = Letterbox::fit([sample.image.width, sample.image.height], [side; 2]);
            let any: Vec<f32> = pixels.chunks_exact(n_channels).map(any_channel).collect();
            predictions.push(Prediction { sample, probability: letterbox.resample_probability(&any) });
        }
        if (trainer.interrupt)() {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted after the last epoch; the model is saved")
                .at(trainer.store.files.root())
                .remedy("`train --resume` chooses the threshold and writes the report"));
        }
    }
    Ok(predictions)
}

/// The probability that a pixel belongs to any instance.
fn any_channel(channels: &[f32]) -> f32 {
    if let [only] = channels { *only } else { 1.0 - channels.iter().map(|p| 1.0 - p).product::<f32>() }
}

fn describe(calibration: &Calibration) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "none".into(), |value| format!("{value:.3}"));
    let point = &calibration.point;
    let text = format!(
        "threshold {:.2}, smallest object {} pixels: on the validation series F0.5 {}, pixel precision {}, object precision {}",
        point.threshold,
        point.min_area,
        number(calibration.f_half),
        number(calibration.pixel_precision),
        number(calibration.object_precision),
    );
    match calibration.min_precision {
        Some(asked) if !calibration.reached => {
            format!("{text}\nwarning: a precision of {asked} is not reachable on the validation series; this is the highest")
        }
        _ => text,
    }
}
