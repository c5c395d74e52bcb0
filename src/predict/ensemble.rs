//! The models of one organ, together: probabilities are averaged, objects are cut out of the average.
//!
//! Output channels of different models, and of mirror images, are not comparable, so the channels of each are united first,
//! p = 1 - prod_k (1 - p_k) per original pixel, and the unions averaged. Objects that touch are split by the channels of the leading
//! member: the one with the best F0.5 on its validation series (ties: the first).

use super::joint::JointCalibration;
use crate::backend;
use crate::checkpoint::Model;
use crate::dataset::Sample;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Gray;
use crate::infer::flips::{self, Flip};
use crate::infer::{Maps, Network};
use crate::metrics::Counts;
use crate::metrics::review::{Review, for_review};
use crate::segment::{Instance, OperatingPoint, instances_by_channel};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// What the user may set about inference.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// 0: as many as cores.
    pub threads: usize,
    /// Average over the mirror images of each picture too.
    pub flips: bool,
    /// Files with operating points of models that were judged together, one an organ at most.
    pub calibrations: Vec<PathBuf>,
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
        Settings {
            device: device.to_string(),
            threads,
            flips: false,
            calibrations: Vec::new(),
            threshold: None,
            min_area: None,
            opening: None,
            closing: None,
            fill_holes: None,
        }
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

/// What all members together say of one picture.
pub struct Combined {
    pub width: usize,
    pub height: usize,
    /// The mean over members and mirror images of the probability that a pixel belongs to any object.
    pub union: Vec<f32>,
    /// The leading member's maps, by which objects that touch are told apart; empty where it has a single one.
    pub channels: Vec<Vec<f32>>,
}

/// The models of one organ, loaded.
pub struct Ensemble {
    pub organ: String,
    pub models: Vec<Model>,
    /// Of the whole ensemble: as chosen for its members together, or else the mean of their thresholds and the rest from the leading one.
    pub point: OperatingPoint,
    /// From which lower threshold objects are worth a look, if any.
    pub review: Option<Review>,
    /// The validation objects on which exactly this was judged; `None` where it was not: where the user set the operating point, and
    /// for members and mirror images that were never judged together.
    judged: Option<Counts>,
    /// The digests of the pictures on which the operating point was chosen for its members together.
    chosen_on: HashSet<String>,
    has_joint: bool,
    flips: &'static [Flip],
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
        let mut joint = JointCalibration::read_all(&settings.calibrations, &by_organ, settings.flips)?;
        let open = |(organ, models): (String, Vec<Model>)| {
            let joint = joint.remove(&organ);
            Ensemble::new(organ, models, joint, settings)
        };
        by_organ.into_iter().map(open).collect()
    }

    /// Opens the run directories of one organ.
    ///
    /// # Errors
    /// As [`Ensemble::open_all`], and if the models are of several organs.
    pub fn open(runs: &[PathBuf], settings: &Settings) -> Result<Ensemble> {
        let mut ensembles = Ensemble::open_all(runs, settings)?;
        if ensembles.len() != 1 {
            let organs: Vec<&str> = ensembles.iter().map(|e| e.organ.as_str()).collect();
            return Err(Error::usage(format!("expected models of one organ, found {}", organs.join(", ")))
                .remedy("judge each organ by itself; models of one organ form an ensemble"));
        }
        Ok(ensembles.remove(0))
    }

    fn new(organ: String, models: Vec<Model>, joint: Option<JointCalibration>, settings: &Settings) -> Result<Ensemble> {
        let load = |model: &Model| {
            let backend = backend::open(&settings.device, settings.threads)?;
            Network::new(backend, &model.spec, model.size, model.normalization, model.precision, &model.weights)
                .map_err(|e| e.at(&model.path))
        };
        let networks = models.iter().map(load).collect::<Result<Vec<_>>>()?;
        let leader = leader(&models);
        let leading = &models[leader].calibration;
        let has_flips = joint.as_ref().map_or(settings.flips, |joint| joint.flips);
        let (own, review, judged) = match &joint {
            Some(JointCalibration { calibration, .. }) => (calibration.point, calibration.review, Some(calibration.objects)),
            None if models.len() == 1 => (leading.point, leading.review, Some(leading.objects).filter(|_| !has_flips)),
            None => (OperatingPoint { threshold: mean_threshold(&models), ..leading.point }, mean_review(&models, leader), None),
        };
        let point = settings.over(own);
        let chosen_on = joint.as_ref().map(|joint| joint.seen.iter().cloned().collect()).unwrap_or_default();
        Ok(Ensemble {
            organ,
            models,
            point,
            review: review.filter(|review| review.threshold < point.threshold),
            judged: judged.filter(|_| point == own),
            chosen_on,
            has_joint: joint.is_some(),
            flips: if has_flips { &flips::ALL } else { &flips::AS_IT_IS },
            networks,
            leader,
        })
    }

    /// The members' names, joined by `+`.
    pub fn name(&self) -> String {
        self.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join("+")
    }

    /// Whether its mirror images are averaged over too.
    pub fn has_flips(&self) -> bool {
        self.flips.len() > 1
    }

    /// Whether its operating point was chosen for these models together, as they are used here.
    pub fn is_judged(&self) -> bool {
        self.judged.is_some()
    }

    /// What an accepted object's ROI carries beside its outline. The expected precision is [`Counts::expected_precision`] of the objects
    /// on the validation series; absent where nothing was measured for exactly these models at this operating point.
    pub fn properties(&self, object: &Instance) -> Vec<(&'static str, String)> {
        self.properties_of(object, self.point.threshold, self.judged)
    }

    /// The same for an object for review.
    pub fn review_properties(&self, object: &Instance) -> Vec<(&'static str, String)> {
        let objects = self.review.map(|review| review.objects).filter(|_| self.is_judged());
        self.properties_of(object, self.review.map_or(self.point.threshold, |review| review.threshold), objects)
    }

    fn properties_of(&self, object: &Instance, threshold: f32, judged: Option<Counts>) -> Vec<(&'static str, String)> {
        let mut properties =
            vec![("score", format!("{:.3}", object.score)), ("model", self.name()), ("threshold", format!("{threshold:.3}"))];
        if self.has_flips() {
            properties.push(("flips", "true".to_string()));
        }
        let expected = judged.and_then(|objects| objects.expected_precision());
        properties.extend(expected.map(|p| ("expected_precision", format!("{p:.3}"))));
        properties
    }

    /// What to do where the operating point is a guess: several models, or mirror images, that were never judged together.
    pub fn advice(&self, settings: &Settings) -> Option<String> {
        if self.has_joint || settings.threshold.is_some() || (self.models.len() == 1 && !self.has_flips()) {
            return None;
        }
        let whose = if self.models.len() == 1 { "for pictures without flips" } else { "the mean of its models' own" };
        let threshold = self.point.threshold;
        Some(format!("{}: threshold {threshold:.3} is {whose}; `unet-engine calibrate` chooses one for this use", self.organ))
    }

    /// The organ and what finds it, in words.
    pub fn describe(&self) -> String {
        let flips = if self.has_flips() { " with flips" } else { "" };
        format!("{}: {}{flips}, {}", self.organ, self.name(), self.point.describe())
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

    /// What the members together say of each of `images`. `progress` hears after each batch how many images are done.
    ///
    /// # Errors
    /// If the device fails.
    pub fn combined(&mut self, images: &[&Gray], mut progress: impl FnMut(usize)) -> Result<Vec<Combined>> {
        let n_passes = self.networks.len() * self.flips.len();
        let empty = |image: &&Gray| {
            let (width, height) = (image.width, image.height);
            Combined { width, height, union: vec![0.0; width * height], channels: Vec::new() }
        };
        let mut combined: Vec<Combined> = images.iter().map(empty).collect();
        // Sums of floats depend on their order: it must not be that in which the models were given.
        let mut order: Vec<usize> = (0..self.networks.len()).collect();
        order.sort_by_key(|&m| &self.models[m].checksum);
        for (i, &m) in order.iter().enumerate() {
            for (f, flip) in self.flips.iter().enumerate() {
                let pictures: Vec<Cow<'_, Gray>> = images.iter().map(|image| flip.picture(image)).collect();
                let pictures: Vec<&Gray> = pictures.iter().map(AsRef::as_ref).collect();
                let pass = i * self.flips.len() + f;
                let seen = |done| progress((pass * images.len() + done) / n_passes);
                let maps = self.networks[m].probabilities(&pictures, seen)?;
                for (combined, maps) in combined.iter_mut().zip(maps) {
                    // The first flip is the picture as it is.
                    combined.add(maps, *flip, m == self.leader && f == 0);
                }
            }
        }
        combined.iter_mut().for_each(|combined| combined.union.iter_mut().for_each(|p| *p /= n_passes as f32));
        Ok(combined)
    }

    /// The objects in each of `images`. `progress` hears after each batch how many images are done.
    ///
    /// # Errors
    /// If the device fails.
    pub fn objects(&mut self, images: &[&Gray], progress: impl FnMut(usize)) -> Result<Vec<Found>> {
        let combined = self.combined(images, progress)?;
        let objects = |c: Combined| {
            let at = |threshold: f32| {
                let point = OperatingPoint { threshold, ..self.point };
                instances_by_channel(&c.union, &c.channels, c.width, c.height, &point)
            };
            let accepted = at(self.point.threshold);
            let lower = self.review.map(|review| at(review.threshold));
            let review = for_review(&accepted, lower.unwrap_or_default());
            Found { accepted, review }
        };
        Ok(combined.into_iter().map(objects).collect())
    }

    /// Refuses samples on which the operating point was chosen: numbers on them flatter it.
    ///
    /// # Errors
    /// If there are any.
    pub fn refuse_chosen_on(&self, samples: &[&Sample]) -> Result<()> {
        let offenders: Vec<_> = samples.iter().filter(|s| self.chosen_on.contains(&hex(&s.digest))).collect();
        let [first, ..] = offenders[..] else { return Ok(()) };
        let text = format!(
            "the threshold was chosen on sub-image {} of series {} and {} more of these: metrics on them would flatter it",
            first.sub_image,
            first.series,
            offenders.len() - 1
        );
        Err(Error::new(ErrorKind::Data, text).remedy(
            "evaluate on other series, or leave --calibration out; `calibrate` itself says what it reaches on its series",
        ))
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
                    "sub-image {} of series {} and {} more were used to train this model: what it reaches on them means nothing",
                    first.sub_image,
                    first.series,
                    offenders.len() - 1
                );
                return Err(Error::new(ErrorKind::Data, text).at(&model.path).remedy(
                    "give series that no given model was trained on, or leave this model out; models that share --val-series and \
                         --test-series, or come from `train --seeds`, can be judged together",
                ));
            }
        }
        Ok(())
    }
}

impl Combined {
    /// Adds what one network says of one mirror image; `is_leading`: by its channels objects are told apart.
    fn add(&mut self, maps: Maps, flip: Flip, is_leading: bool) {
        let mut union = maps.union();
        flip.apply(&mut union, self.width);
        self.union.iter_mut().zip(union).for_each(|(sum, p)| *sum += p);
        if is_leading && maps.channels.len() > 1 {
            self.channels = maps.channels;
        }
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

fn mean_threshold(models: &[Model]) -> f32 {
    models.iter().map(|m| m.calibration.point.threshold).sum::<f32>() / models.len() as f32
}

/// The review of the leading member at the mean of the members' review thresholds; `None` if any of them has none.
fn mean_review(models: &[Model], leader: usize) -> Option<Review> {
    let thresholds = models.iter().map(|m| m.calibration.review.map(|review| review.threshold)).collect::<Option<Vec<f32>>>()?;
    let threshold = thresholds.iter().sum::<f32>() / thresholds.len() as f32;
    models[leader].calibration.review.map(|review| Review { threshold, ..review })
}
