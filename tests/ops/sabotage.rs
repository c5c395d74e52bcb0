//! The harness is checked: a backend that writes where it must not is found out.

use super::harness::{Case, Random, run_case};
use crate::engine::reference_backend::ReferenceBackend;
use crate::reference::Array;
use unet_engine::backend::Backend;
use unet_engine::error::Result;
use unet_engine::ops::Instruction;
use unet_engine::ops::add::Add;
use unet_engine::plan::{Plan, Request, Scratch, Slot, Step};
use unet_engine::tape::Shape;

/// The f64 reference, and what is done to memory after each step.
struct Saboteur {
    inner: ReferenceBackend,
    after: fn(&mut ReferenceBackend, &Step),
}

impl Backend for Saboteur {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn architecture(&self) -> String {
        self.inner.architecture()
    }

    fn scratch(&self, request: &Request<'_>) -> Scratch {
        self.inner.scratch(request)
    }

    fn allocate(&mut self, persistent_bytes: usize, transient_bytes: usize) -> Result<()> {
        self.inner.allocate(persistent_bytes, transient_bytes)
    }

    fn write(&mut self, slot: Slot, bytes: &[u8]) -> Result<()> {
        self.inner.write(slot, bytes)
    }

    fn read(&self, slot: Slot, bytes: &mut [u8]) -> Result<()> {
        self.inner.read(slot, bytes)
    }

    fn run(&mut self, plan: &Plan) -> Result<()> {
        self.inner.run(plan)?;
        plan.steps().iter().for_each(|step| (self.after)(&mut self.inner, step));
        Ok(())
    }

    fn run_profiled(&mut self, plan: &Plan, _seconds: &mut Vec<f64>) -> Result<()> {
        self.run(plan)
    }
}

fn verdict(after: fn(&mut ReferenceBackend, &Step)) -> Result<(), String> {
    let random = &mut Random::new(1);
    let inputs = vec![random.symmetric([1, 3, 3, 5]), random.symmetric([1, 3, 3, 5])];
    let case = Case::linear("sabotage".into(), Instruction::Add(Add {}), inputs, 1);
    let mut backend = Saboteur { inner: ReferenceBackend::default(), after };
    run_case(&case, &mut backend).and_then(|outputs| case.judge(&outputs))
}

/// One element of `slot`'s type, `bytes` from its start.
fn poke(backend: &mut ReferenceBackend, slot: Slot, bytes: usize) {
    let element = Slot { offset: slot.offset + bytes, shape: Shape::scalar(), ..slot };
    backend.store(element, &Array::vector(vec![7.0]));
}

#[test]
fn an_honest_backend_passes() {
    assert_eq!(verdict(|_, _| ()), Ok(()));
}

#[test]
fn writing_past_the_end_is_found() {
    let message = verdict(|backend, step| poke(backend, step.outputs[0], step.outputs[0].bytes())).unwrap_err();
    assert!(message.contains("outside of"), "{message}");
}

#[test]
fn changing_an_input_is_found() {
    let message = verdict(|backend, step| poke(backend, step.inputs[1], 0)).unwrap_err();
    assert!(message.contains("changed its input 1"), "{message}");
}

#[test]
fn a_wrong_element_is_told_with_its_place() {
    let message = verdict(|backend, step| poke(backend, step.outputs[0], 4 * 7)).unwrap_err();
    assert!(message.contains("at [0, 0, 1, 2]") && message.contains("found 7e0"), "{message}");
}
