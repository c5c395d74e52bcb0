//! The models of one organ, together: probabilities are averaged, objects are cut out of the average.
//!
//! Output channels of different models are not comparable, so each model's channels are united first, p = 1 - prod_k (1 - p_k) per
//! original pixel, and the unions averaged. Objects that touch are split by the channels of the leading member: the one with the
//! best F0.5 on its validation series (ties: the first).

use crate::backend;
use crate::checkpoint::Model;
use crate::dataset::Sample;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Gray;
use crate::infer::{Maps, Network};
use crate::metrics::review::{Review, for_review};
use crate::segment::{Instance, OperatingPoint, instances_by_channel};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// What the user may set about inference.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// 0: as many as cores.
    pub threads: usize,
    /// In place of the models' own threshold.
    pub threshold: Option<f32>,
    /// In place of the models' own smallest object, in pixels.
    pub min_area: Option<usize>,
    /// In place of the models' own radius of the opening, in pixels; 0 for none.
    pub opening: Option<usize>,
    /// In place of the models' own radius of the closing, in pixels; 0 for none.
    pub closing: Option<usize>,
    /// In place of the models' own choice whether holes are filled.
    pub fill_holes: Option<bool>,
}

impl Settings {
    /// The models' own operating point on `device`.
    pub fn of_models(device: &str, threads: usize) -> Settings {
        let device = device.to_string();
        Settings { device, threads, threshold: None, min_area: None, opening: None, closing: None, fill_holes: None }
    }

    /// What is set here over `own`.
    fn over(&self, own: OperatingPoint) -> OperatingPoint {
        OperatingPoint {
            threshold: self.threshold.unwrap_or(own.threshold),
            min_area: self.min_area.unwrap_or(own.min_area),
            opening: self.opening.unwrap_or(own.opening),
            closing: self.closing.unwrap_or(own.closing),
            fill_holes: self.fill_holes.unwrap_or(own.fill_holes),
        }
    }
}

/// What was found in one sub-image.
pub struct Found {
    pub accepted: Vec<Instance>,
    /// Objects just below the threshold, which share no pixel with an accepted one.
    pub review: Vec<Instance>,
}

/// The models of one organ, loaded.
pub struct Ensemble {
    pub organ: String,
    pub models: Vec<Model>,
    /// Of the whole ensemble: the mean of the members' thresholds, all else from the leading member.
    pub point: OperatingPoint,
    /// From which lower threshold objects are worth a look, if any.
    pub review: Option<Review>,
    /// Whether the user set the operating point: then nothing measured on the validation series holds.
    is_point_given: bool,
    networks: Vec<Network>,
    leader: usize,
}

impl Ensemble {
    /// Opens the run directories, one ensemble per organ, in order of the organs' names.
    ///
    /// # Errors
    /// If a run directory is no finished run, or if the device is missing or too small.
    pub fn open_all(runs: &[PathBuf], settings: &Settings) -> Result<Vec<Ensemble>> {
        let mut by_organ: BTreeMap<String, Vec<Model>> = BTreeMap::new();
        for run in runs {
            let model = Model::open(run)?;
            by_organ.entry(model.organ.clone()).or_default().push(model);
        }
        by_organ.into_iter().map(|(organ, models)| Ensemble::new(organ, models, settings)).collect()
    }

    fn new(organ: String, models: Vec<Model>, settings: &Settings) -> Result<Ensemble> {
        let load = |model: &Model| {
            let backend = backend::open(&settings.device, settings.threads)?;
            Network::new(backend, &model.spec, model.size, model.normalization, &model.weights).map_err(|e| e.at(&model.path))
        };
        let networks = models.iter().map(load).collect::<Result<Vec<_>>>()?;
        let leader = leader(&models);
        let mean = models.iter().map(|m| m.calibration.point.threshold).sum::<f32>() / models.len() as f32;
        let own = OperatingPoint { threshold: mean, ..models[leader].calibration.point };
        let point = settings.over(own);
        let review = mean_review(&models, leader).filter(|review| review.threshold < point.threshold);
        Ok(Ensemble { organ, models, point, review, is_point_given: point != own, networks, leader })
    }

    /// The members' names, joined by `+`.
    pub fn name(&self) -> String {
        self.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join("+")
    }

    /// What an accepted object's ROI carries beside its outline. The expected precision is the share of objects that were right on the
    /// validation series of the leading member; absent where the user chose the operating point.
    pub fn properties(&self, object: &Instance) -> Vec<(&'static str, String)> {
        let expected = self.models[self.leader].calibration.object_precision;
        self.properties_of(object, self.point.threshold, expected.filter(|_| !self.is_point_given))
    }

    /// The same for an object for review.
    pub fn review_properties(&self, object: &Instance) -> Vec<(&'static str, String)> {
        let review = self.review;
        let expected = review.and_then(|review| review.object_precision).filter(|_| !self.is_point_given);
        self.properties_of(object, review.map_or(self.point.threshold, |review| review.threshold), expected)
    }

    fn properties_of(&self, object: &Instance, threshold: f32, expected: Option<f64>) -> Vec<(&'static str, String)> {
        let mut properties =
            vec![("score", format!("{:.3}", object.score)), ("model", self.name()), ("threshold", format!("{threshold:.3}"))];
        properties.extend(expected.map(|p| ("expected_precision", format!("{p:.3}"))));
        properties
    }

    /// The organ and what finds it, in words.
    pub fn describe(&self) -> String {
        let (organ, names, threshold) = (&self.organ, self.name(), self.point.threshold);
        format!("{organ}: {names}, threshold {threshold:.3}, smallest object {} pixels", self.point.min_area)
    }

    /// What it runs on, in words.
    pub fn device(&self) -> String {
        self.networks[0].device()
    }

    /// Whether a picture can enter all networks.
    ///
    /// # Errors
    /// If it is too narrow for one of them.
    pub fn check(&self, image: &Gray) -> Result<()> {
        self.networks.iter().try_for_each(|network| network.check(image))
    }

    /// The objects in each of `images`. `progress` hears after each batch how many images are done.
    ///
    /// # Errors
    /// If the device fails.
    pub fn objects(&mut self, images: &[&Gray], mut progress: impl FnMut(usize)) -> Result<Vec<Found>> {
        let n_members = self.networks.len();
        let mut members: Vec<Vec<Maps>> = Vec::with_capacity(n_members);
        for (m, network) in self.networks.iter_mut().enumerate() {
            members.push(network.probabilities(images, |done| progress((m * images.len() + done) / n_members))?);
        }
        let objects = |i: usize| {
            let maps: Vec<&Maps> = members.iter().map(|member| &member[i]).collect();
            let leading = maps[self.leader];
            let union = mean(&maps);
            let at = |threshold: f32| {
                let point = OperatingPoint { threshold, ..self.point };
                instances_by_channel(&union, &leading.channels, leading.width, leading.height, &point)
            };
            let accepted = at(self.point.threshold);
            let lower = self.review.map(|review| at(review.threshold));
            let review = for_review(&accepted, lower.unwrap_or_default());
            Found { accepted, review }
        };
        Ok((0..images.len()).map(objects).collect())
    }

    /// Refuses samples that any member has seen: in training, or in validation unless `allow_validation` (then those that are
    /// validation pictures for every member that saw them pass).
    ///
    /// # Errors
    /// If a sample was seen; names it, the member and the remedy.
    pub fn refuse_seen(&self, samples: &[&Sample], allow_validation: bool) -> Result<()> {
        for model in &self.models {
            let seen: HashSet<&str> = model.splits.seen.iter().map(String::as_str).collect();
            let is_allowed =
                |sample: &Sample| allow_validation && model.splits.part_of(sample) == Some(crate::dataset::splits::Part::Val);
            let offenders: Vec<_> = samples.iter().filter(|s| seen.contains(hex(&s.digest).as_str()) && !is_allowed(s)).collect();
            if let [first, ..] = offenders[..] {
                let text = format!(
                    "sub-image {} of series {} and {} more were used to train this model: its metrics on them would mean nothing",
                    first.sub_image,
                    first.series,
                    offenders.len() - 1
                );
                return Err(Error::new(ErrorKind::Data, text)
                    .at(&model.path)
                    .remedy("evaluate on series that no given model was trained on, or leave this model out"));
            }
        }
        Ok(())
    }
}

/// The digest as it is written in `splits.json`.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The member with the best validation F0.5; the first among equals.
fn leader(models: &[Model]) -> usize {
    let value = |m: usize| models[m].calibration.f_half.unwrap_or(-1.0);
    (0..models.len()).fold(0, |best, m| if value(m) > value(best) { m } else { best })
}

/// The review of the leading member at the mean of the members' review thresholds; `None` if any of them has none.
fn mean_review(models: &[Model], leader: usize) -> Option<Review> {
    let thresholds = models.iter().map(|m| m.calibration.review.map(|review| review.threshold)).collect::<Option<Vec<f32>>>()?;
    let threshold = thresholds.iter().sum::<f32>() / thresholds.len() as f32;
    models[leader].calibration.review.map(|review| Review { threshold, ..review })
}

/// The mean over members of the probability that a pixel belongs to any object.
fn mean(maps: &[&Maps]) -> Vec<f32> {
    let mut sum = maps[0].union();
    for other in &maps[1..] {
        sum.iter_mut().zip(other.union()).for_each(|(sum, p)| *sum += p);
    }
    let n = maps.len() as f32;
    if maps.len() > 1 {
        sum.iter_mut().for_each(|p| *p /= n);
    }
    sum
}
