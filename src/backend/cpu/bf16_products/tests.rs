//! How the cases of the backend's tests are cut.

use super::weight_grad_cut::{Side, WeightGradCut};
use crate::backend::cpu::tests::CONVOLUTIONS;

fn sides([_, _, _, c0, c1, co, _]: [usize; 7]) -> [Side; 2] {
    [Side::new([c0, c1].into_iter()), Side::new([co].into_iter())]
}

/// Cases lose what they are there for when the cut changes.
#[test]
fn cases_are_cut_as_they_are_meant_to_be() {
    let cuts = CONVOLUTIONS.map(|case| WeightGradCut::new(case[6], sides(case), [case[0], case[1], case[2]]));
    let found = |is: fn(&WeightGradCut) -> bool| cuts.iter().filter(|cut| cut.window.kernel == 3 && is(cut)).count();
    assert!(found(|c| c.x_by_rows && c.dy_by_rows && c.grid().rows > 1 && c.bands() > 1) > 0, "several rows");
    assert!(found(|c| c.x_by_rows && c.dy_by_rows && c.grid().images > 1 && c.bands() > 1) > 0, "several images");
    assert!(found(|c| c.x_by_rows && !c.dy_by_rows) > 0 && found(|c| !c.x_by_rows && c.dy_by_rows) > 0, "one side by rows");
    assert!(found(|c| c.chunks() > 1 && c.bands() > c.chunks()) > 0, "several bands a chunk");
    assert!(found(|c| c.copies() == 1 && c.dy_by_rows) > 0, "all taps side by side");
}
