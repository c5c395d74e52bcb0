//! After the last epoch: the operating point, chosen on the validation series, and the report.

use super::environment::pretty_json;
use super::fit::Trainer;
use crate::atomic_file;
use crate::checkpoint::CalibrationFile;
use crate::dataset::Sample;
use crate::error::Result;
use crate::image::Gray;
use crate::infer::{Frame, Maps};
use crate::metrics::calibrate::{Prediction, calibrate};
use crate::report;

/// Predicts the validation images with the best weights, chooses the operating point and writes the report.
pub(super) fn finish(trainer: &mut Trainer<'_>, val: &[Sample]) -> Result<()> {
    trainer.store.load_best(&mut trainer.engine, &trainer.state)?;
    let predictions = predict(trainer, val)?;
    let calibration = calibrate(&predictions, trainer.config.min_precision);
    let file = CalibrationFile { calibration: calibration.clone(), precision: trainer.config.precision };
    atomic_file::write(&trainer.store.files.calibration(), &pretty_json(&file)?)?;
    trainer.progress.say(&calibration.describe("on the validation series"));
    calibration.warnings().iter().for_each(|warning| trainer.progress.say(&format!("warning: {warning}")));
    report::write_training(trainer.store.files.root(), &predictions)
}

/// The probabilities of the validation images in original pixels.
fn predict<'a>(trainer: &mut Trainer<'_>, val: &'a [Sample]) -> Result<Vec<Prediction<'a>>> {
    let config = trainer.config;
    let normalization = trainer.store.description.normalization;
    let frame = Frame { batch: config.batch, size: [config.size; 2], channels: config.instances, normalization };
    let images: Vec<&Gray> = val.iter().map(|sample| &sample.image).collect();
    let maps = trainer.engine.probabilities(&frame, &images)?;
    let prediction = |(sample, maps): (&'a Sample, Maps)| {
        let probability = maps.union();
        Prediction { sample, probability, channels: if config.instances > 1 { maps.channels } else { Vec::new() } }
    };
    Ok(val.iter().zip(maps).map(prediction).collect())
}
