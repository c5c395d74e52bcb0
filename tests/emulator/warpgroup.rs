//! Hopper's products on the emulator: right where nothing is forgotten, and refused, with words that say why, where something is.

use super::{library, operand, upload};
use unet_engine::backend::cuda::driver::{Access, Driver, Emulator, Launch};

const THREADS: u32 = 128;
/// `Products` of tools/emulator/faults/warpgroup.cu.
const SHARED: u32 = 8192;

/// What a kernel wrote, and what went wrong if anything did.
fn run(emulator: &mut Emulator, kernel: &str, shared_bytes: u32) -> (Vec<f32>, Option<String>) {
    let bytes = 4 * THREADS as usize;
    let (from, to) = (upload(emulator, &vec![0; bytes]), upload(emulator, &vec![0xFF; bytes]));
    let launch = Launch {
        module: "warpgroup",
        kernel: kernel.into(),
        grid: [1; 3],
        threads: THREADS,
        shared_bytes,
        parameters: bytemuck::cast_slice(&[from, to, u64::from(THREADS)]).to_vec(),
        operands: vec![operand(from, bytes, Access::Read), operand(to, bytes, Access::Write)],
        context: "a product".into(),
    };
    let wrong = emulator.launch(&launch).err().map(|e| e.to_string());
    let mut out = vec![0f32; THREADS as usize];
    emulator.read(to, bytemuck::cast_slice_mut(&mut out)).expect("memory gives bytes");
    (out, wrong)
}

#[test]
fn products_of_warpgroups_are_held_to_their_rules() {
    let Some(library) = library("90") else { return };
    for seed in 0..4 {
        let mut emulator = Emulator::open(&library, seed).expect("the emulator opens");
        let (off, wrong) = run(&mut emulator, "product_sound", SHARED);
        assert_eq!(wrong, None);
        assert!(off.iter().all(|&off| off == 0.0), "{off:?}");
        let faults = [
            ("product_without_proxy_fence", "without fence.proxy.async between"),
            ("product_with_early_proxy_fence", "without fence.proxy.async between"),
            ("product_without_fence", "without wgmma.fence between"),
            ("product_without_wait", "ends with products in flight"),
            ("product_without_commit", "ends with products in flight"),
            ("product_overwritten", "overwrites what a product in flight reads"),
        ];
        for (kernel, words) in faults {
            let (_, wrong) = run(&mut emulator, kernel, SHARED);
            assert!(wrong.as_ref().is_some_and(|wrong| wrong.contains(words)), "{kernel}, seed {seed}: {wrong:?}");
        }
        let (_, wrong) = run(&mut emulator, "product_sound", SHARED + 128);
        assert!(wrong.is_some_and(|wrong| wrong.contains("bytes of dynamic shared memory")));
    }
}
