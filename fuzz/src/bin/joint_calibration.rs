#![no_main]

use unet_engine_fuzz::targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    targets::joint_calibration(bytes);
});
