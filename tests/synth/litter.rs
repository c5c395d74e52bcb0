//! What is drawn.

use unet_engine::dataset::synth::render::picture;
use unet_engine::dataset::synth::scene::{Litter, MAX_IN_VIEW, N_ANGLES};

/// Over a data set there are empty sub-images and crowded ones, and organs that go out of view.
#[test]
fn fetuses_and_organs_come_and_go() {
    let (mut counts, mut with_organ, mut n) = ([0; MAX_IN_VIEW + 1], [0; 3], 0);
    let mut several = 0;
    for series in 0..8 {
        let litter = Litter::draw(3, series);
        for angle in (0..N_ANGLES).step_by(3) {
            let picture = picture(&litter, 3, series, angle, 48);
            counts[picture.n_fetuses] += 1;
            n += 1;
            for (with_organ, organs) in with_organ.iter_mut().zip(&picture.organs) {
                *with_organ += usize::from(!organs.is_empty());
                several += usize::from(organs.len() > 1);
                assert!(organs.len() <= litter.fetuses.len());
            }
        }
    }
    assert!(counts[0] > 0, "no sub-image is empty: {counts:?}");
    assert!(counts[4..].iter().sum::<usize>() > 0, "no sub-image is crowded: {counts:?}");
    for with_organ in with_organ {
        assert!(with_organ > n / 4 && with_organ < n, "{with_organ} of {n} sub-images show the organ");
    }
    assert!(several > n / 4, "{several} of {n}: too few sub-images show an organ twice");
}

#[test]
fn instances_do_not_overlap_and_are_of_one_piece() {
    for series in 0..3 {
        let litter = Litter::draw(5, series);
        for angle in (0..N_ANGLES).step_by(5) {
            let picture = picture(&litter, 5, series, angle, 64);
            let mut covered = vec![0; 64 * 64];
            for mask in picture.organs.iter().flatten() {
                assert!(mask.area() >= 18, "an instance of {} pixels", mask.area());
                covered.iter_mut().zip(mask.pixels()).for_each(|(n, &p)| *n += p);
            }
            assert!(covered.iter().all(|&n| n <= 1));
        }
    }
}

#[test]
fn the_same_seed_draws_the_same_and_another_does_not() {
    let draw = |seed, series| picture(&Litter::draw(seed, series), seed, series, 10, 48).image;
    assert_eq!(draw(1, 2), draw(1, 2));
    assert_ne!(draw(1, 2), draw(1, 3));
    assert_ne!(draw(1, 2), draw(2, 2));
}
