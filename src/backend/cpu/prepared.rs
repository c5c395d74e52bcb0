//! Whether what a plan's steps make of their parameters ([`crate::plan::Step::prepared`]) is there.

use super::arena::overlap;
use crate::plan::{Plan, Region, Slot};

/// Which plan has run, and nothing has touched since what it depends on.
#[derive(Default)]
pub(super) struct PreparedPlan {
    /// The plan's number, and the place of all that it prepares.
    made: Option<(u64, Slot)>,
}

impl PreparedPlan {
    /// Whether all is there that the steps of `plan` prepare. Its run is about to begin: should it fail, nothing is.
    pub fn begin(&mut self, plan: &Plan) -> bool {
        self.made.take().is_some_and(|(id, _)| id == plan.id())
    }

    /// `plan` has run.
    pub fn end(&mut self, plan: &Plan) {
        self.made = place(plan).map(|slot| (plan.id(), slot));
    }

    /// The host is about to write: parameters, or what may lie where steps of the plan that has run keep something.
    pub fn note_write(&mut self, slot: Slot) {
        if self.made.is_some_and(|(_, place)| slot.region == Region::Persistent || overlap(place, slot)) {
            self.forget();
        }
    }

    /// Nothing is there any more.
    pub fn forget(&mut self) {
        self.made = None;
    }
}

/// From the first to the last byte of what the steps of a plan prepare.
fn place(plan: &Plan) -> Option<Slot> {
    let slots = || plan.steps().iter().filter_map(|step| step.prepared);
    let (first, end) = (slots().map(|s| s.offset).min()?, slots().map(|s| s.offset + s.bytes()).max()?);
    let slot = slots().next()?;
    Some(Slot { offset: first, shape: crate::tape::Shape::channels(end - first), ..slot })
}
