//! After the last epoch: the operating point, chosen on the validation series, and the report.

use super::environment::pretty_json;
use super::fit::Trainer;
use super::state::Collapse;
use crate::atomic_file;
use crate::dataset::Sample;
use crate::error::Result;
use crate::image::Gray;
use crate::infer::{Frame, Maps};
use crate::metrics::calibrate::{Prediction, calibrate};
use crate::report;

/// With fewer right objects than this, on the validation series, a model misleads.
const USELESS_PRECISION: f64 = 0.5;

/// Predicts the validation images with the best weights, chooses the operating point and writes the report.
pub(super) fn finish(trainer: &mut Trainer<'_>, val: &[Sample]) -> Result<()> {
    trainer.store.load_best(&mut trainer.engine, &trainer.state)?;
    let predictions = predict(trainer, val)?;
    let calibration = calibrate(&predictions, trainer.config.min_precision);
    atomic_file::write(&trainer.store.files.calibration(), &pretty_json(&calibration)?)?;
    trainer.progress.say(&calibration.describe());
    if calibration.pixel_precision.is_none() && val.iter().any(|sample| !sample.instances.is_empty()) {
        let remedy = Collapse::Nothing.remedy();
        trainer.progress.say(&format!("warning: the model has collapsed: it predicts nothing.\n  what to do: {remedy}"));
    }
    if calibration.object_precision.is_some_and(|p| p < USELESS_PRECISION) {
        trainer.progress.say(&format!(
            "warning: less than {:.0} % of the objects that the model finds on the validation series are right: do not rely on it.\n  \
             what to do: check the annotations with `inspect`, train for more epochs, or annotate more series",
            100.0 * USELESS_PRECISION
        ));
    }
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
