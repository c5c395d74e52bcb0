//! The f64 reference as a backend that runs plans: values lie where the plan puts them, so that a wrong place gives a wrong result.

use super::interpreter::{execute, stored};
use crate::reference::Array;
use half::{bf16, f16};
use unet_engine::backend::Backend;
use unet_engine::error::Result;
use unet_engine::plan::{Plan, Region, Request, Scratch, Slot};
use unet_engine::tape::DType;

/// One f64 for each byte of a region: an element lies at the address of its first byte.
#[derive(Default)]
pub struct ReferenceBackend {
    persistent: Vec<f64>,
    transient: Vec<f64>,
}

impl ReferenceBackend {
    pub fn load(&self, slot: Slot) -> Array {
        let region = match slot.region {
            Region::Persistent => &self.persistent,
            Region::Transient => &self.transient,
        };
        let address = |i: usize| slot.offset + i * slot.dtype.size();
        Array::new(slot.shape.0, (0..slot.shape.len()).map(|i| region[address(i)]).collect())
    }

    pub fn store(&mut self, slot: Slot, array: &Array) {
        let region = match slot.region {
            Region::Persistent => &mut self.persistent,
            Region::Transient => &mut self.transient,
        };
        for (i, x) in stored(array.clone(), slot.dtype).data.into_iter().enumerate() {
            region[slot.offset + i * slot.dtype.size()] = x;
        }
    }
}

impl Backend for ReferenceBackend {
    fn describe(&self) -> String {
        "f64 reference".into()
    }

    fn architecture(&self) -> String {
        "reference".into()
    }

    fn normalises_convolutions(&self) -> bool {
        true
    }

    /// Some scratch memory for every other instruction, so that a plan has to place it.
    fn scratch(&self, request: &Request<'_>) -> Scratch {
        Scratch::workspace((request.inputs[0].len() * 7 + request.outputs[0].len()) % 2 * 999)
    }

    fn allocate(&mut self, persistent_bytes: usize, transient_bytes: usize) -> Result<()> {
        self.persistent = vec![0.0; persistent_bytes];
        self.transient = vec![f64::NAN; transient_bytes];
        Ok(())
    }

    fn write(&mut self, slot: Slot, bytes: &[u8]) -> Result<()> {
        let data: Vec<f64> = match slot.dtype {
            DType::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(bytes).into_iter().map(f64::from).collect(),
            DType::F16 => bytemuck::pod_collect_to_vec::<u8, f16>(bytes).into_iter().map(f64::from).collect(),
            DType::Bf16 => bytemuck::pod_collect_to_vec::<u8, bf16>(bytes).into_iter().map(f64::from).collect(),
            DType::U8 => bytes.iter().map(|&b| f64::from(b)).collect(),
        };
        self.store(slot, &Array::new(slot.shape.0, data));
        Ok(())
    }

    fn read(&self, slot: Slot, bytes: &mut [u8]) -> Result<()> {
        let data = self.load(slot).data;
        let out: Vec<u8> = match slot.dtype {
            DType::F32 => data.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            DType::F16 => data.iter().flat_map(|&x| f16::from_f64(x).to_le_bytes()).collect(),
            DType::Bf16 => data.iter().flat_map(|&x| bf16::from_f64(x).to_le_bytes()).collect(),
            DType::U8 => data.iter().map(|&x| x as u8).collect(),
        };
        bytes.copy_from_slice(&out);
        Ok(())
    }

    fn run(&mut self, plan: &Plan) -> Result<()> {
        for step in plan.steps() {
            if let Some(workspace) = step.workspace {
                self.store(workspace, &Array::new(workspace.shape.0, vec![f64::NAN; workspace.shape.len()]));
            }
            let inputs: Vec<Array> = step.inputs.iter().map(|&slot| self.load(slot)).collect();
            let before: Vec<Array> = step.outputs.iter().map(|&slot| self.load(slot)).collect();
            for (&slot, output) in step.outputs.iter().zip(execute(&step.instruction, &inputs, &before)) {
                self.store(slot, &output);
            }
        }
        Ok(())
    }

    fn run_profiled(&mut self, plan: &Plan, seconds: &mut Vec<f64>) -> Result<()> {
        seconds.resize(plan.steps().len(), 0.0);
        self.run(plan)
    }
}
