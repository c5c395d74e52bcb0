//! Matrix instructions against a plain product. The kernels find their elements by the tables of the PTX ISA.

use super::{open, operand, upload};
use half::f16;
use unet_engine::backend::cuda::driver::{Access, Driver, Emulator, Launch};
use unet_engine::random::{Philox, Purpose};

/// Small whole numbers, so that every product and sum is exact.
fn numbers(random: &mut Philox, n: usize) -> Vec<f32> {
    (0..n).map(|_| (random.uniform() * 17.0).floor() - 8.0).collect()
}

/// `batch` products of M x N x K by `kernel`.
fn check(emulator: &mut Emulator, kernel: &str, batch: usize, [m, n, k]: [usize; 3]) {
    let random = &mut Philox::new(7, 0, 0, Purpose::Bench);
    let [a, b, c] = [m * k, k * n, m * n].map(|len| numbers(random, batch * len));
    let halves = |numbers: &[f32]| numbers.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect::<Vec<u8>>();
    let (of_a, of_b) = (halves(&a), halves(&b));
    let places = [&of_a[..], &of_b, bytemuck::cast_slice(&c), bytemuck::cast_slice(&c)]
        .map(|bytes| (upload(emulator, bytes), bytes.len()));
    let access = |i| if i < 3 { Access::Read } else { Access::Write };
    let launch = Launch {
        module: "matrices",
        kernel: kernel.into(),
        grid: [1; 3],
        threads: 32,
        shared_bytes: 0,
        parameters: places.iter().flat_map(|(address, _)| address.to_le_bytes()).collect(),
        operands: places.iter().enumerate().map(|(i, &(address, bytes))| operand(address, bytes, access(i))).collect(),
        context: "a product".into(),
    };
    emulator.launch(&launch).expect("a sound kernel");
    let mut d = vec![0f32; c.len()];
    emulator.read(places[3].0, bytemuck::cast_slice_mut(&mut d)).expect("memory gives bytes");
    for (i, &found) in d.iter().enumerate() {
        let (at, row, column) = (i / (m * n), i / n % m, i % n);
        let product = |j: usize| a[(at * m + row) * k + j] * b[(at * k + j) * n + column];
        let expected = c[i] + (0..k).map(product).sum::<f32>();
        assert_eq!(found, expected, "{kernel}, product {at}, row {row}, column {column}");
    }
}

#[test]
fn products_are_plain_products() {
    let Some(mut emulator) = open(5) else { return };
    check(&mut emulator, "m16n8k16", 1, [16, 8, 16]);
    check(&mut emulator, "loaded_m16n8k16", 1, [16, 8, 16]);
    check(&mut emulator, "m16n8k8", 1, [16, 8, 8]);
    for kernel in ["m8n8k4_row_row", "m8n8k4_row_col", "m8n8k4_col_row", "m8n8k4_col_col"] {
        check(&mut emulator, kernel, 4, [8, 8, 4]);
    }
}
