//! Augmentation: against the f64 reference, and against what the loader's threads make of the same draw, to the last bit.

#[cfg(feature = "cuda")]
use super::emulator;
use super::harness::{Case, EPS, check, run_case};
use crate::engine::interpreter::{execute, pictures};
use crate::reference::Array;
use proptest::prelude::*;
use unet_engine::augment::{Address, AugmentConfig, Buffers, Normalization, Prepared, RawBatch, Sampler, upper_quantiles};
use unet_engine::backend::{Backend, cpu};
use unet_engine::dataset::Sample;
use unet_engine::geometry::Mask;
use unet_engine::image::Gray;
use unet_engine::ops::Instruction;
use unet_engine::ops::augment::{Augment, Draw, Pictures, SURPLUS};
use unet_engine::random::{Philox, Purpose};

const NORMALIZATION: Normalization = Normalization { mean: 0.43, deviation: 0.21 };
/// Labels are numbered up to this; a sample has one instance more.
const CHANNELS: usize = 3;

/// Noise, and instances in columns, of which the smallest is surplus.
fn sample([width, height]: [usize; 2], seed: u32) -> Sample {
    let mut random = Philox::new(8, 0, seed, Purpose::Bench);
    let image = Gray::new(width, height, (0..width * height).map(|_| random.uniform()).collect());
    let instance = |i: i64| {
        let mut mask = Mask::new(width, height);
        let column = |i: i64| i * (9 - i) * width as i64 / 20;
        (0..height as i64).for_each(|y| mask.set_span(y, column(i), column(i + 1) - i64::from(width > 12)));
        mask
    };
    let instances = (0..=CHANNELS as i64).map(instance).collect();
    Sample { series: "s".into(), sub_image: 1, image, instances, digest: [0; 32] }
}

/// Everything at once, strongly.
fn everything() -> AugmentConfig {
    AugmentConfig {
        rotation_degrees: 60.0,
        translation: 0.2,
        shear_degrees: 10.0,
        elastic_amplitude: 5.0,
        elastic_spacing: 17.5,
        crop: 0.3,
        pad: 0.4,
        noise: [0.02, 0.1],
        speckle: [0.05, 0.3],
        ..AugmentConfig::default()
    }
}

/// Each kind of change alone, and with the others.
fn configs() -> Vec<Option<AugmentConfig>> {
    let none = AugmentConfig::none;
    vec![
        None,
        Some(none()),
        Some(AugmentConfig { rotation_degrees: 90.0, scale: [0.5, 2.0], ..none() }),
        Some(AugmentConfig { elastic_amplitude: 1.3, elastic_spacing: 4.0, ..none() }),
        Some(AugmentConfig { brightness: 0.3, contrast: 0.5, ..none() }),
        Some(AugmentConfig { noise: [0.1, 0.2], ..none() }),
        Some(AugmentConfig { speckle: [0.1, 0.2], ..none() }),
        Some(everything()),
    ]
}

/// A batch of pictures of these sizes; `None` is padding.
struct Data {
    operation: Augment,
    raw: RawBatch,
    pictures: Pictures,
    /// What the loader's threads would make of it: image, target, weight.
    sampled: [Vec<f32>; 3],
    name: String,
}

fn data(sources: &[Option<[usize; 2]>], size: [usize; 2], augment: Option<&AugmentConfig>, seed: u32) -> Data {
    let n = sources.len();
    let samples: Vec<Sample> = sources.iter().flatten().zip(seed..).map(|(&source, seed)| sample(source, seed)).collect();
    let pictures = Pictures::of(&samples, size, augment);
    let mut sampler = Sampler::new(size, augment.cloned(), NORMALIZATION);
    let mut raw = RawBatch::new(&pictures, n);
    let n_pixels = size[0] * size[1];
    let mut sampled = [(); 3].map(|()| vec![0.0; n * n_pixels]);
    let mut samples = samples.iter();
    for (i, source) in sources.iter().enumerate() {
        let prepared = source.map(|_| Prepared::new(samples.next().expect("one each"), size, NORMALIZATION, CHANNELS));
        let address = Address { seed: u64::from(seed) << 17 | 5, epoch: 3, image: seed.wrapping_add(i as u32) };
        raw.set([i, n], &mut sampler, prepared.as_ref().map(|prepared| (prepared, address)));
        if let Some(prepared) = &prepared {
            let [image, target, weight] = sampled.each_mut().map(|values| &mut values[i * n_pixels..][..n_pixels]);
            sampler.fill(prepared, address, image, target, weight);
        }
    }
    let name = format!("sources {sources:?} to {size:?}, seed {seed}, {augment:?}");
    Data { operation: pictures.augment, raw, pictures, sampled, name }
}

impl Data {
    fn inputs(&self) -> Vec<Array> {
        let draws: &[u8] = bytemuck::cast_slice(&self.raw.draws);
        let shapes = self.pictures.inputs(self.raw.draws.len()).map(|(_, shape, _)| shape.0);
        let floats = |shape, values: &[f32]| Array::new(shape, values.iter().map(|&x| f64::from(x)).collect());
        let bytes = |shape, values: &[u8]| Array::new(shape, values.iter().map(|&x| f64::from(x)).collect());
        vec![
            floats(shapes[0], &self.raw.content),
            bytes(shapes[1], &self.raw.labels),
            bytes(shapes[2], draws),
            floats(shapes[3], &self.raw.control),
            Array::vector(upper_quantiles().iter().map(|&q| f64::from(q)).collect()),
        ]
    }

    /// The case in which the loader's own result is expected, and no error.
    fn as_sampled(&self) -> Case {
        let shape = [self.raw.draws.len(), self.operation.height, self.operation.width, 1];
        let outputs = self.sampled.iter().map(|values| Array::new(shape, values.iter().map(|&v| f64::from(v)).collect()));
        let expected: Vec<Array> = outputs.collect();
        let allowed = vec![Array::zeros(shape); 3];
        let (name, instruction) = (self.name.clone(), Instruction::Augment(self.operation));
        Case { name, instruction, inputs: self.inputs(), before: Vec::new(), expected, allowed, half: None }
    }

    /// The case judged by the reference, and how many pixels of it lie too near to a border to be judged.
    fn by_reference(&self) -> (Case, usize) {
        let inputs = self.inputs();
        let instruction = Instruction::Augment(self.operation);
        let expected = execute(&instruction, &inputs, &[]);
        let mut allowed = vec![Array::zeros(expected[0].shape); 3];
        let mut n_unjudged = 0;
        for (n, picture) in pictures(&self.operation, &inputs).iter().enumerate() {
            for (y, x) in (0..self.operation.height).flat_map(|y| (0..self.operation.width).map(move |x| (y, x))) {
                let bounds = bounds(picture, y, x);
                n_unjudged += usize::from(bounds[1].is_infinite());
                allowed.iter_mut().zip(bounds).for_each(|(allowed, bound)| *allowed.at_mut([n, y, x, 0]) = bound);
            }
        }
        let name = format!("{} by the reference", self.name);
        (Case { name, instruction, inputs, before: Vec::new(), expected, allowed, half: None }, n_unjudged)
    }
}

/// The errors allowed in image, target and weight of a pixel.
///
/// The map is computed in f64; what is rounded to f32 is its result and the displacement: a point of the source is off by some roundings of
/// what is added up for it. A bilinear picture changes by at most its range a pixel. A label, and what lies outside, changes at once at a
/// pixel's border: nearer to it than the point's error nothing is said.
fn bounds(picture: &crate::reference::augment::Picture<'_>, y: usize, x: usize) -> [f64; 3] {
    let draw = &picture.draw;
    if draw.source.contains(&0) {
        return [0.0; 3];
    }
    let at = picture.source_point(y, x);
    let reach = if draw.is_elastic { 64.0 } else { 0.0 };
    let linear = draw.map[0].abs() + draw.map[1].abs() + draw.map[3].abs() + draw.map[4].abs();
    let error = [0, 1].map(|axis| 8.0 * EPS * (at[axis].abs() + reach * linear));
    let is_near = |axis: usize, border: f64| (at[axis] - border).abs() <= error[axis];
    if (0..2).any(|axis| is_near(axis, 0.0) || is_near(axis, draw.source[axis] as f64)) {
        return [f64::INFINITY; 3];
    }
    // Standardised intensities lie within 1 / deviation of one another, and so do the errors of their places.
    let range = 1.0 / f64::from(NORMALIZATION.deviation);
    let step = |axis: usize| draw.content[axis] as f64 / draw.source[axis] as f64;
    let place = |axis: usize| error[axis] * step(axis) + 4.0 * EPS * draw.content[axis] as f64;
    let mut image = range * (place(0) + place(1) + 16.0 * EPS);
    if draw.changes_intensity {
        let [n1, n2] = picture.normals(y, x).map(f64::abs);
        let speckle = 1.0 + draw.speckle * n1;
        let magnitude = (range * draw.gain + draw.offset.abs()) * speckle + draw.noise * n2 + draw.mean.abs();
        image = (image * draw.gain * speckle + 8.0 * EPS * magnitude) * draw.factor;
    }
    let is_at_border = (0..2).any(|axis| is_near(axis, at[axis].round()));
    let label = if is_at_border { f64::INFINITY } else { 0.0 };
    [image, label, label]
}

/// Fails where a device's outputs are not the expected ones to the last bit, so that -0 is not 0; gives the CPU's.
fn check_bits(case: &Case) -> Vec<Array> {
    let bits = |outputs: &[Array]| outputs.iter().flat_map(|o| &o.data).map(|x| x.to_bits()).collect::<Vec<_>>();
    let check_on = |device: &str, backend: &mut dyn Backend| {
        let outputs = run_case(case, backend).expect("it runs");
        assert!(bits(&outputs) == bits(&case.expected), "{}: other bits on the {device}", case.name);
        outputs
    };
    #[cfg(feature = "cuda")]
    if emulator::with_gpu(|gpu| check_on("GPU", gpu)).is_none() {
        emulator::open(80, 1).iter_mut().for_each(|gpu| drop(check_on("emulator", gpu)));
    }
    check_on("CPU", &mut *cpu::open(2).expect("a CPU backend"))
}

/// Against the loader, bit for bit, and against the reference. Says how many pixels the latter could not judge.
fn check_all(data: &Data) -> usize {
    let case = data.as_sampled();
    check(&case);
    let outputs = check_bits(&case);
    let (case, n_unjudged) = data.by_reference();
    if let Err(message) = case.judge(&outputs) {
        panic!("{message}");
    }
    n_unjudged
}

/// A picture as large as its input, and noise.
#[cfg(feature = "cuda")]
pub fn unmoved() -> Case {
    let config = AugmentConfig { noise: [0.1, 0.1], ..AugmentConfig::none() };
    data(&[Some([128, 64])], [128, 64], Some(&config), 1).as_sampled()
}

/// Inputs of one pixel, odd widths, tiles of the kernel that are cut short; sources smaller and larger; batches of one and three, and padding.
#[test]
fn hostile_shapes() {
    let sources: [&[Option<[usize; 2]>]; 5] = [
        &[Some([1, 1])],
        &[Some([7, 5]), None, Some([1, 9])],
        &[Some([90, 70])],
        &[Some([33, 64]), Some([200, 3]), Some([64, 33])],
        &[None],
    ];
    for (seed, sources) in sources.into_iter().enumerate() {
        for size in [[1, 1], [3, 2], [65, 33], [30, 41], [128, 7]] {
            for config in configs() {
                check_all(&data(sources, size, config.as_ref(), seed as u32));
            }
        }
    }
}

/// Larger ones, of which nearly all pixels can be judged.
#[test]
fn whole_pictures() {
    for (seed, config) in configs().iter().enumerate() {
        let data = data(&[Some([130, 90]), Some([60, 47])], [96, 80], config.as_ref(), 20 + seed as u32);
        let n_unjudged = check_all(&data);
        assert!(n_unjudged < 2 * 96 * 80 / 100, "{}: {n_unjudged} pixels are not judged", data.name);
        let has = |values: &[f32], wanted: f32| values.iter().filter(|&&v| v == wanted).count() > 100;
        let [_, target, weight] = &data.sampled;
        assert!((0..=CHANNELS).all(|label| has(target, label as f32)), "{}: not all labels are there", data.name);
        assert!(has(weight, 0.0) && has(weight, 1.0) && !target.contains(&f32::from(SURPLUS)), "{}", data.name);
    }
}

/// The judgement can fail: a neighbour's pixel, another pixel's noise.
#[test]
fn planted_errors_are_found() {
    let data = data(&[Some([50, 40])], [48, 48], Some(&everything()), 2);
    let (case, _) = data.by_reference();
    for output in 0..3 {
        let mut wrong = case.expected.clone();
        wrong[output].data.rotate_left(1);
        assert!(case.judge(&wrong).is_err(), "output {output}");
    }
    let mut other = case.inputs.clone();
    // A byte of the noise's seed.
    let at = std::mem::offset_of!(Draw, seed);
    other[2].data[at] = 255.0 - other[2].data[at];
    assert!(case.judge(&execute(&case.instruction, &other, &[])).is_err());
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let data = data(&[Some([5, 5])], [8, 8], None, 1);
    let shapes: Vec<_> = data.inputs().iter().map(|input| unet_engine::tape::Shape(input.shape)).collect();
    let infer = |spacing, shapes: &[_]| {
        let op = Augment { spacing, ..data.operation };
        Instruction::Augment(op).op().infer(shapes).map(|outputs| outputs.len()).map_err(|e| e.to_string())
    };
    assert_eq!(infer(data.operation.spacing, &shapes), Ok(3));
    assert!(infer(3.9, &shapes).unwrap_err().contains("3.9"));
    assert!(infer(f32::NAN, &shapes).is_err() && infer(f32::INFINITY, &shapes).is_err());
    assert!(infer(4.0, &shapes).is_err(), "more control points");
    assert!(infer(data.operation.spacing, &shapes[..4]).unwrap_err().contains("augment"));
    for wrong in 0..5 {
        let mut shapes = shapes.clone();
        shapes[wrong].0[if wrong < 2 { 1 } else { 3 }] += 1;
        assert!(infer(data.operation.spacing, &shapes).is_err(), "input {wrong}");
    }
}

prop_compose! {
    fn any_source()(width in 1..70usize, height in 1..70usize, is_there in prop::bool::weighted(0.9)) -> Option<[usize; 2]> {
        is_there.then_some([width, height])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_shape(
        sources in prop::collection::vec(any_source(), 1..4),
        size in [1..80usize, 1..80],
        config in 0..8usize,
        spacing in 4.0f32..90.0,
        seed: u32,
    ) {
        let config = configs().remove(config).map(|config| AugmentConfig { elastic_spacing: spacing, ..config });
        let config = config.filter(|config| config.validate().is_ok());
        check_all(&data(&sources, size, config.as_ref(), seed));
    }
}
