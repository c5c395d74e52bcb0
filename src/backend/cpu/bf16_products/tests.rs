//! How the cases of the backend's tests, and hostile ones, are cut.

use super::cut::{Cut, MIN_ROWS, MIN_TASKS, PACKED_LEN, Shared};
use super::weight_grad_cut::{Side, WeightGradCut};
use super::window::Beside;
use crate::backend::cpu::tests::CONVOLUTIONS;

fn sides([_, _, _, c0, c1, co, _]: [usize; 7]) -> [Side; 2] {
    [Side::new([c0, c1].into_iter()), Side::new([co].into_iter())]
}

/// Cases lose what they are there for when the cut changes.
#[test]
fn cases_are_cut_as_they_are_meant_to_be() {
    let cuts = CONVOLUTIONS.map(|case| WeightGradCut::new(case[6], sides(case), [case[0], case[1], case[2]]));
    let found = |is: fn(&WeightGradCut) -> bool| cuts.iter().any(|cut| cut.window.kernel == 3 && is(cut));
    let rows = |c: &WeightGradCut| c.x_by_rows && c.dy_by_rows && c.grid().images == 1 && c.grid().rows > 1 && c.bands() > 1;
    let images = |c: &WeightGradCut| c.x_by_rows && c.dy_by_rows && c.grid().images > 1 && c.bands() > 1;
    assert!(found(rows), "several rows");
    assert!(cuts.iter().any(|c| rows(c) && !c.size[1].is_multiple_of(c.grid().rows)), "fewer rows in the last band");
    assert!(found(images), "several images");
    assert!(cuts.iter().any(|c| images(c) && !c.size[0].is_multiple_of(c.grid().images)), "fewer images in the last band");
    assert!(found(|c| c.x_by_rows && !c.dy_by_rows) && found(|c| !c.x_by_rows && c.dy_by_rows), "one side by rows");
    assert!(found(|c| c.x_by_rows && c.chunks() > 1 && c.bands() > c.chunks()), "several bands a chunk");
    assert!(found(|c| c.x_by_rows && c.group[0] > 1), "several blocks of x");
    assert!(found(|c| c.dy_by_rows && c.copies() == 2 && c.group[1] > 1), "several blocks of both copies of dy");
    let panels = |c: &WeightGradCut| !c.x_by_rows && c.bands() > 1;
    let short_rows = |c: &WeightGradCut| c.grid().rows > 1 && !c.size[1].is_multiple_of(c.grid().rows);
    assert!(cuts.iter().any(|c| panels(c) && short_rows(c)), "fewer rows in the last panel");
    let short_images = |c: &WeightGradCut| c.grid().images > 1 && !c.size[0].is_multiple_of(c.grid().images);
    assert!(cuts.iter().any(|c| panels(c) && short_images(c)), "fewer images in the last panel");
    for beside in [Beside::All, Beside::Row] {
        assert!(cuts.iter().any(|c| c.dy_by_rows && c.copies() == 1 && c.window.beside == beside), "{beside:?}");
    }
}

#[test]
fn convolutions_are_cut_as_they_are_meant_to_be() {
    let cut = |&[n, h, w, c0, c1, co, kernel]: &[usize; 7]| Cut::new(1, kernel, c0 + c1, [n, h, w], [co].into_iter());
    let cuts: Vec<Cut> = CONVOLUTIONS.iter().map(cut).collect();
    let bands = |c: &Cut| c.height.div_ceil(c.rows);
    let groups = |c: &Cut| c.column_blocks.div_ceil(c.group);
    let found = |is: &dyn Fn(&Cut) -> bool| cuts.iter().any(|c| c.shared == Shared::Bands && is(c));
    assert!(found(&|c| bands(c) == 1 && c.rows > 2), "a whole image");
    assert!(found(&|c| bands(c) > 1 && c.rows > 2), "bands of several rows");
    assert!(found(&|c| bands(c) > 1 && !c.height.is_multiple_of(c.rows)), "fewer rows in the last band");
    assert!(found(&|c| bands(c) > 1 && groups(c) > 1), "several groups of columns that go through several bands");
    assert!(found(&|c| c.group > 1 && !c.column_blocks.is_multiple_of(c.group)), "fewer columns in the last group");
    let by_weights = |c: &Cut| groups(c) > 1 && c.packed_len() > PACKED_LEN && c.images * bands(c) >= MIN_TASKS;
    assert!(found(&by_weights), "groups because of their weights");
    assert!(cuts.iter().any(|c| c.shared == Shared::Columns && c.images > 1), "columns shared out");
}

/// Whatever the shape and the number of threads, bands and groups cover all rows and columns, and there are as many tasks as asked for, or
/// as many as rows and columns allow.
#[test]
fn any_convolution_is_covered_by_its_tasks() {
    for (threads, images, height, width) in
        [1, 2, 3, 64].into_iter().flat_map(|t| [(t, 1, 1, 1), (t, 1, 1, 5000), (t, 300, 1, 2), (t, 2, 3001, 1), (t, 1, 37, 40)])
    {
        for (kernel, features, channels) in [(1, 1, 1), (3, 1, 1), (3, 16, 33), (3, 500, 700), (1, 2048, 32)] {
            let cut = Cut::new(threads, kernel, features, [images, height, width], [channels].into_iter());
            let case =
                format!("{threads} threads, {images} images {height}x{width}, {features} -> {channels}, {kernel}x{kernel}");
            assert_eq!(cut.column_blocks, channels.div_ceil(32), "{case}");
            assert!((1..=height).contains(&cut.rows) && (1..=cut.column_blocks).contains(&cut.group), "{case}");
            let (bands, groups) = (height.div_ceil(cut.rows), cut.column_blocks.div_ceil(cut.group));
            let most = images * height.div_ceil(MIN_ROWS) * cut.column_blocks;
            match cut.shared {
                Shared::Columns => assert!(groups == cut.column_blocks && groups >= 4 * threads && bands == 1, "{case}"),
                // Groups are even, so that there may be fewer of them than asked for, down to half.
                Shared::Bands => assert!(2 * images * bands * groups >= MIN_TASKS.min(most), "{case}"),
            }
        }
    }
}

/// Of the network whose prepared weights are tested: both kinds, and transposed convolutions by columns for two threads as well.
#[test]
fn prepared_weights_are_cut_both_ways() {
    let shared = |threads, kernel, features, size, channels: &[usize]| {
        Cut::new(threads, kernel, features, [1, size, size], channels.iter().copied()).shared == Shared::Columns
    };
    assert!(!shared(1, 3, 32, 16, &[32]) && !shared(2, 3, 32, 16, &[32]));
    assert!(shared(1, 3, 128, 4, &[128]));
    assert!(shared(2, 1, 128, 4, &[64; 4]));
}
