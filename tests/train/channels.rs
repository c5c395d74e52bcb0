//! Several output channels: instances that touch are told apart, and all that holds for one channel holds for several.

use super::resume::train_in_pieces;
use super::*;
use unet_engine::backend::cpu;
use unet_engine::checkpoint::{self, Model};
use unet_engine::dataset::splits::Part;
use unet_engine::infer::Network;
use unet_engine::metrics::{Counts, match_objects};
use unet_engine::ops::assign::Assignment;
use unet_engine::segment::instances_by_channel;
use unet_engine::train::config::Instances;

/// Five series of eight sub-images, 32 x 32: two bright discs that touch, one above the other; in every fourth one only one.
fn pairs() -> Vec<Sample> {
    (0..40).map(|i| pair(&format!("litter-{}", i / 8), i % 8 + 1, i)).collect()
}

fn pair(series: &str, sub_image: usize, index: usize) -> Sample {
    let mut random = Philox::new(6, 0, index as u32, Purpose::Synth);
    let (x, y, tilt, radius) =
        (random.range(12.0, 20.0), random.range(11.0, 21.0), random.range(-2.0, 2.0), random.range(5.0, 6.0));
    let centres = if index % 4 == 3 { vec![(x, y)] } else { vec![(x - tilt, y - 0.8 * radius), (x + tilt, y + 0.8 * radius)] };
    let mut instances = vec![Mask::new(32, 32); centres.len()];
    let mut pixels = Vec::new();
    for i in 0..32 * 32 {
        let distance = |&(x, y): &(f32, f32)| ((i % 32) as f32 + 0.5 - x).hypot((i / 32) as f32 + 0.5 - y);
        let nearest = (0..centres.len()).min_by(|&a, &b| distance(&centres[a]).total_cmp(&distance(&centres[b]))).unwrap_or(0);
        let inside = distance(&centres[nearest]) < radius + 0.5;
        instances[nearest].set(i % 32, i / 32, inside);
        pixels.push((60.0 + 90.0 * f32::from(u8::from(inside)) + 12.0 * random.normal()).clamp(0.0, 255.0));
    }
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(index as u64).to_le_bytes());
    Sample { series: series.into(), sub_image, image: Gray::new(32, 32, pixels), instances, digest }
}

fn with_channels(out: &Path, channels: usize, assignment: Assignment) -> Request {
    let mut request = tiny(out);
    request.options.instances = Some(Instances::Count(channels));
    request.options.assignment = Some(assignment);
    request
}

/// Trains on [`pairs`] and counts the objects that are found in the test series.
fn found_in_pairs(folder: &Path, channels: usize, assignment: Assignment) -> Counts {
    let run = folder.join(format!("{channels}-{assignment:?}"));
    let mut request = with_channels(&run, channels, assignment);
    request.options.base = Some(4);
    request.options.levels = Some(3);
    request.options.epochs = Some(if channels == 1 { 12 } else { 36 });
    request.options.stop_patience = Some(40);
    request.options.fine_tune_epochs = Some(0);
    request.options.threads = Some(2);
    run_on(&request, pairs(), &|| false).unwrap();
    let model = Model::open(&run).unwrap();
    let samples: Vec<Sample> = pairs().into_iter().filter(|s| model.splits.part_of(s) == Some(Part::Test)).collect();
    let images: Vec<&Gray> = samples.iter().map(|s| &s.image).collect();
    let backend = cpu::open(2).unwrap();
    let mut network =
        Network::new(backend, &model.spec, model.size, model.normalization, model.precision, &model.weights).unwrap();
    let mut counts = Counts::default();
    for (sample, maps) in samples.iter().zip(network.probabilities(&images, |_| {}).unwrap()) {
        let found = instances_by_channel(&maps.union(), &maps.channels, 32, 32, &model.calibration.point);
        counts.add(match_objects(&found.iter().map(|f| &f.mask).collect::<Vec<_>>(), &sample.instances));
    }
    counts
}

#[test]
fn two_channels_tell_touching_discs_apart_and_one_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let f1 = |channels, assignment| {
        let counts = found_in_pairs(folder.path(), channels, assignment);
        counts.f_beta(1.0).unwrap_or(0.0)
    };
    let one = f1(1, Assignment::LeastCost);
    let [least_cost, spatial] = [Assignment::LeastCost, Assignment::Spatial].map(|assignment| f1(2, assignment));
    // One object for a pair can match one of its discs, which gives 8 / 11 where three pairs come with one single disc.
    assert!(one < 0.73, "one channel merges them: F1 {one}");
    assert!(least_cost > 0.9, "two channels, assigned at least cost: F1 {least_cost}");
    assert!(spatial > 0.9, "two channels, assigned by place: F1 {spatial}");
}

/// More instances than channels: the training says so and goes on.
#[test]
fn surplus_instances_have_no_weight() {
    let folder = tempfile::tempdir().unwrap();
    let mut samples = pairs();
    for sample in &mut samples {
        let mut speck = Mask::new(32, 32);
        speck.set(1, 1, true);
        sample.instances.push(speck);
    }
    let [with, without] = [("with", samples), ("without", pairs())].map(|(name, samples)| {
        let run = folder.path().join(name);
        run_on(&with_channels(&run, 2, Assignment::LeastCost), samples, &|| false).unwrap();
        log_of(&run)
    });
    // One pixel without weight in each picture changes little, but something.
    assert_ne!(with, without);
    assert!((with[0].train_loss - without[0].train_loss).abs() < 0.05);
}

#[test]
fn several_channels_give_the_same_bytes_for_all_threads_and_after_a_resume() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| folder.path().join(name);
    for assignment in [Assignment::LeastCost, Assignment::Spatial] {
        let [one, two, pieces] = ["one", "two", "pieces"].map(|name| run(&format!("{name}-{assignment:?}")));
        run_on(&with_channels(&one, 3, assignment), pairs(), &|| false).unwrap();
        let mut request = with_channels(&two, 3, assignment);
        request.options.threads = Some(2);
        run_on(&request, pairs(), &|| false).unwrap();
        assert_same_run(&one, &two);
        let interruptions = train_in_pieces(&with_channels(&pieces, 3, assignment), pairs, 5);
        assert!(interruptions > 3, "{interruptions} interruptions");
        assert_same_run(&one, &pieces);
        let calibration = |run: &Path| std::fs::read(run.join("calibration.json")).unwrap();
        assert_eq!(calibration(&one), calibration(&pieces));
    }
    assert_ne!(log_of(&run("one-LeastCost")), log_of(&run("one-Spatial")), "they are two ways");
}

#[test]
fn the_assignment_of_a_run_cannot_change() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    run_on(&with_channels(&run, 2, Assignment::Spatial), pairs(), &|| true).unwrap_err();
    let other = Request { resume: true, ..with_channels(&run, 2, Assignment::LeastCost) };
    let error = run_on(&other, pairs(), &|| false).unwrap_err().to_string();
    assert!(error.contains("--assignment") && error.contains("spatial"), "{error}");
    let model = checkpoint::read(&run.join("checkpoints/last.safetensors")).unwrap();
    assert_eq!(model.description.network.channels_out, 2);
}
