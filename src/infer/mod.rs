//! The shared inference runner: sub-images of any size through a network, probabilities in original pixels.
//!
//! Below both `train`, which chooses the operating point with it, and `predict`.

pub mod flips;

use crate::augment::Normalization;
use crate::backend::{Backend, Session};
use crate::error::Result;
use crate::image::Gray;
use crate::image::letterbox::Letterbox;
use crate::model::NetworkSpec;
use crate::plan::{PlanOptions, Precision};
use crate::tape::Shape;
use std::collections::BTreeMap;

/// Sub-images in one run of an inference plan. More gain nothing on a CPU, and each costs memory.
pub const BATCH: usize = 4;

/// How sub-images enter a plan and leave it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Images in a run of the plan; the last one is padded with zeros.
    pub batch: usize,
    /// Width and height of the network's input.
    pub size: [usize; 2],
    /// Output channels K.
    pub channels: usize,
    pub normalization: Normalization,
}

/// The probabilities of one sub-image, in its own pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    pub width: usize,
    pub height: usize,
    /// One map per output channel, row by row.
    pub channels: Vec<Vec<f32>>,
}

impl Maps {
    /// The probability that any channel holds the pixel: p = 1 - prod_k (1 - p_k).
    pub fn union(&self) -> Vec<f32> {
        let [first, rest @ ..] = &self.channels[..] else { return vec![0.0; self.width * self.height] };
        if rest.is_empty() {
            return first.clone();
        }
        let absent = |i: usize| self.channels.iter().map(|channel| 1.0 - channel[i]).product::<f32>();
        (0..first.len()).map(|i| 1.0 - absent(i)).collect()
    }
}

/// Runs plan `plan` of `session` (input `image` [N, H, W, 1], output `probability` [N, H, W, K]) over `images`, in their order.
/// `progress` hears how many are done.
///
/// # Errors
/// If the device fails, the plan has other shapes, or a picture is too narrow for the input.
pub fn probabilities(
    session: &mut Session,
    plan: usize,
    frame: &Frame,
    images: &[&Gray],
    mut progress: impl FnMut(usize),
) -> Result<Vec<Maps>> {
    let [width, height] = frame.size;
    let area = width * height;
    let mut input = vec![0.0; frame.batch * area];
    let mut output = vec![0.0; frame.batch * area * frame.channels];
    let mut maps = Vec::with_capacity(images.len());
    for images in images.chunks(frame.batch) {
        input.fill(0.0);
        for (image, input) in images.iter().zip(input.chunks_exact_mut(area)) {
            Letterbox::check([image.width, image.height], frame.size)?;
            let letterbox = Letterbox::fit([image.width, image.height], frame.size);
            input.copy_from_slice(&letterbox.resample_image(&frame.normalization.standardise(image)));
        }
        session.write_input(plan, "image", &input)?;
        session.run(plan)?;
        session.read_output(plan, "probability", &mut output)?;
        let outputs = output.chunks_exact(area * frame.channels);
        maps.extend(images.iter().zip(outputs).map(|(image, output)| original(image, frame, output)));
        progress(maps.len());
    }
    Ok(maps)
}

/// The network's output [H, W, K] in the pixels of `image`.
fn original(image: &Gray, frame: &Frame, output: &[f32]) -> Maps {
    let letterbox = Letterbox::fit([image.width, image.height], frame.size);
    let channel = |k: usize| {
        let map: Vec<f32> = output.iter().skip(k).step_by(frame.channels).copied().collect();
        letterbox.resample_probability(&map)
    };
    Maps { width: image.width, height: image.height, channels: (0..frame.channels).map(channel).collect() }
}

/// A network with its weights, ready to predict.
pub struct Network {
    session: Session,
    frame: Frame,
}

impl Network {
    /// Records and plans inference, and loads the weights (by the names and in the layouts of [`NetworkSpec::parameters`]). `size`
    /// is the input's width and height, `calibrated` the precision in which its threshold was chosen.
    ///
    /// # Errors
    /// If the device lacks the memory or the weights do not fit.
    pub fn new(
        backend: Box<dyn Backend>,
        spec: &NetworkSpec,
        size: [usize; 2],
        normalization: Normalization,
        calibrated: Precision,
        weights: &BTreeMap<String, Vec<f32>>,
    ) -> Result<Network> {
        let [width, height] = size;
        let tape = spec.record_inference(BATCH, [height, width])?;
        let options = PlanOptions { precision: backend.inference_precision(calibrated), ..PlanOptions::default() };
        let mut session = Session::new(backend, &[&tape], options)?;
        for (name, values) in weights {
            session.write_persistent(name, values)?;
        }
        let output = session.plans()[0].output("probability").map_or(Shape([0; 4]), |slot| slot.shape);
        let frame = Frame { batch: BATCH, size, channels: output.0[3], normalization };
        Ok(Network { session, frame })
    }

    /// Whether a picture can enter the network.
    ///
    /// # Errors
    /// If it is so narrow that nothing of it would be left in the network's input.
    pub fn check(&self, image: &Gray) -> Result<()> {
        Letterbox::check([image.width, image.height], self.frame.size)
    }

    /// What it runs on, in words.
    pub fn device(&self) -> String {
        self.session.backend().describe()
    }

    /// The probabilities of `images`, in their order; see [`probabilities`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn probabilities(&mut self, images: &[&Gray], progress: impl FnMut(usize)) -> Result<Vec<Maps>> {
        probabilities(&mut self.session, 0, &self.frame, images, progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu;
    use crate::model::{Arch, initialise};

    fn picture(width: usize, height: usize, seed: usize) -> Gray {
        Gray::new(width, height, (0..width * height).map(|i| ((i * 7919 + seed * 104_729) % 251) as f32).collect())
    }

    /// Every picture gets its own answer, in its own size, whatever lies beside it in the batch and however the batch is padded.
    #[test]
    fn neighbours_in_a_batch_do_not_matter() {
        let spec = NetworkSpec { arch: Arch::Standard, base: 2, levels: 2, channels_in: 1, channels_out: 2 };
        let weights: BTreeMap<String, Vec<f32>> =
            spec.parameters().into_iter().enumerate().map(|(i, p)| (p.name.clone(), initialise(&p, i, 3))).collect();
        let normalization = Normalization { mean: 0.4, deviation: 0.3 };
        for precision in [Precision::F32, Precision::Bf16] {
            let backend = cpu::open(1).unwrap();
            let network = Network::new(backend, &spec, [24, 16], normalization, precision, &weights).unwrap();
            check_neighbours(network);
        }
    }

    fn check_neighbours(mut network: Network) {
        let pictures: Vec<Gray> = (0..6).map(|i| picture(20 + 5 * i, 30 - 3 * i, i)).collect();
        let mut heard = Vec::new();
        let together = network.probabilities(&pictures.iter().collect::<Vec<_>>(), |n| heard.push(n)).unwrap();
        assert_eq!(heard, [4, 6]);
        for (picture, maps) in pictures.iter().zip(&together) {
            assert_eq!((maps.width, maps.height, maps.channels.len()), (picture.width, picture.height, 2));
            assert_eq!(network.probabilities(&[picture], |_| ()).unwrap()[0], *maps);
        }
        assert_ne!(together[0].channels[0], together[0].channels[1]);
    }

    #[test]
    fn union_is_the_probability_of_any_channel() {
        let maps = Maps { width: 2, height: 1, channels: vec![vec![0.5, 0.0], vec![0.5, 0.25]] };
        assert_eq!(maps.union(), [0.75, 0.25]);
    }
}
