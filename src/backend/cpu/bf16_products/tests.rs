//! How the cases of the backend's tests are cut.

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
    for beside in [Beside::All, Beside::Row] {
        assert!(cuts.iter().any(|c| c.dy_by_rows && c.copies() == 1 && c.window.beside == beside), "{beside:?}");
    }
}
